"""Maps of a whole image from the last tokens alone: a few transposed convolutions.

Much cheaper than `dense.py`, and more of what it finds must already be in the encoder (Xiao et al.,
"Simple baselines for human pose estimation and tracking", ECCV 2018; Xu et al., "ViTPose", NeurIPS
2022, for tokens).

Shapes: B samples, N tokens of a grid, C channels of the encoder, D of the head, H = W any map's
side, K maps.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from training.heads.dense import GROUP, DenseHeadConfig
from training.heads.placed_tokens import TokenMap
from training.tasks.task import EncoderSize, Features


class LightHead(nn.Module):
    """`Features` to K maps, (B, K, S, S) with S = image_px / stride_px."""

    def __init__(self, config: DenseHeadConfig, encoder: EncoderSize, num_maps: int) -> None:
        super().__init__()
        self.output_px = config.output_px(encoder.image_px)
        self.enter = TokenMap(encoder, config.width)
        doublings = max(1, (self.output_px // encoder.grid).bit_length() - 1)
        layers: list[nn.Module] = []
        for _ in range(doublings):
            layers += [
                nn.ConvTranspose2d(config.width, config.width, 4, stride=2, padding=1),
                # Not over the batch, so that a sample's output does not depend on its neighbours.
                nn.GroupNorm(config.width // GROUP, config.width),
                nn.GELU(),
            ]
        self.grow = nn.Sequential(*layers)
        self.maps = nn.Conv2d(config.width, num_maps, 1)

    def forward(self, features: Features) -> Tensor:
        """Double the grid until it is the output's size or the one before."""
        maps_BKHW: Tensor = self.maps(self.grow(self.enter(features.tokens_BNC)))
        size = self.output_px
        if maps_BKHW.shape[3] == size:
            return maps_BKHW
        return F.interpolate(maps_BKHW, size=(size, size), mode="bilinear", align_corners=False)
