"""Maps of a whole image from an encoder's tokens: the head of the dense prediction transformer.

Four stages of the encoder are put back on the grid, each at a resolution of its own: early ones
finer, the last one coarser. From the coarsest on, each is mended by residual convolutions, added to
what came before it and doubled in size (Ranftl, Bochkovskiy and Koltun, "Vision transformers for
dense prediction", ICCV 2021, section 3). Stages come as the residual stream has them, so each is
normed first.

Shapes: B samples, N tokens of a grid, C channels of the encoder, D of the head, H = W any map's
side, K maps.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from training.heads.placed_tokens import TokenMap
from training.tasks.task import EncoderSize, Features

Size = Literal["tiny", "small", "base"]
WIDTHS: dict[Size, int] = {"tiny": 64, "small": 128, "base": 256}  # of heads, by encoders' size
GROUP = 16  # channels that are normed together
GAINS = (4, 2, 1)  # of the first three stages over the grid; the last is halved


@dataclass(frozen=True, kw_only=True)
class DenseHeadConfig:
    """Size of the head."""

    width: int = 128  # D, of all maps within; a multiple of 16
    stride_px: int = 4  # pixels of the image for each pixel of the output, along a side

    def __post_init__(self) -> None:
        if self.width < GROUP or self.width % GROUP:
            raise ValueError(f"head.width must be a multiple of {GROUP}, got {self.width}")
        if self.stride_px < 1:
            raise ValueError(f"head.stride_px must be 1 or more, got {self.stride_px}")

    def output_px(self, image_px: int) -> int:
        """The side of the output. Raises ValueError unless the image is a multiple of stride_px."""
        if image_px % self.stride_px:
            raise ValueError(
                f"an image of {image_px} px has no whole number of {self.stride_px} px strides: "
                "change head.stride_px"
            )
        return image_px // self.stride_px


class DenseHead(nn.Module):
    """`Features` to K maps, (B, K, S, S) with S = image_px / stride_px."""

    def __init__(self, config: DenseHeadConfig, encoder: EncoderSize, num_maps: int) -> None:
        super().__init__()
        self.output_px = config.output_px(encoder.image_px)
        # A stage finer than the output would be computed only to be shrunk again.
        most = max(1, self.output_px // encoder.grid)
        gains = [min(gain, most) for gain in GAINS]
        self.stages = nn.ModuleList(
            [_Reassemble(encoder, config.width, gain) for gain in gains]
            + [_Reassemble(encoder, config.width, 0.5)]
        )
        self.fusions = nn.ModuleList(_Fusion(config.width) for _ in self.stages)
        self.maps = nn.Sequential(
            nn.Conv2d(config.width, config.width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(config.width, num_maps, 1),
        )

    def forward(self, features: Features) -> Tensor:
        """Fuse the stages from the last to the first."""
        pairs = zip(self.stages, features.stages, strict=True)
        levels = [stage(tokens_BNC) for stage, tokens_BNC in pairs]
        sizes = [self.output_px, *(level.shape[3] for level in levels[:-1])]
        x_BDHW = None
        for fusion, level_BDHW, size in zip(
            reversed(self.fusions), reversed(levels), reversed(sizes), strict=True
        ):
            x_BDHW = fusion(level_BDHW, x_BDHW, size)
        maps_BKHW: Tensor = self.maps(x_BDHW)
        return maps_BKHW


class _Reassemble(nn.Module):
    """One stage's tokens as a map, `gain` times as fine as the grid."""

    def __init__(self, encoder: EncoderSize, width: int, gain: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(encoder.width)
        self.enter = TokenMap(encoder, width)
        self.resample: nn.Module = nn.Identity()
        if gain > 1:
            self.resample = nn.ConvTranspose2d(width, width, int(gain), stride=int(gain))
        elif gain < 1:
            self.resample = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        x_BDHW = self.enter(self.norm(tokens_BNC))
        smooth_BDHW: Tensor = self.smooth(self.resample(x_BDHW))
        return smooth_BDHW


class _Fusion(nn.Module):
    """Add a stage to what the coarser ones gave, and bring the sum to the next one's size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mend_stage = _Residual(width)
        self.mend_sum = _Residual(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, stage_BDHW: Tensor, coarser_BDHW: Tensor | None, size: int) -> Tensor:
        x_BDHW = self.mend_stage(stage_BDHW)
        if coarser_BDHW is not None:
            x_BDHW = x_BDHW + coarser_BDHW
        x_BDHW = self.project(self.mend_sum(x_BDHW))  # before growing, where it costs a quarter
        if x_BDHW.shape[3] == size:
            return x_BDHW
        return F.interpolate(x_BDHW, size=(size, size), mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        # Normed over each sample alone, not over the batch: its neighbours do not change it.
        self.norms = nn.ModuleList(nn.GroupNorm(width // GROUP, width) for _ in range(2))
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x_BDHW: Tensor) -> Tensor:
        y_BDHW = self.first(F.gelu(self.norms[0](x_BDHW)))
        return x_BDHW + self.second(F.gelu(self.norms[1](y_BDHW)))
