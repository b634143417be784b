"""Any encoder behind one interface: images in, tokens of a square grid out.

Ours is CroCo's encoder, with the decoder where a task sees two views; the other kind is any plain
vision transformer of timm. Every input is normalized as ImageNet is; a timm model that wants other
means gets them.

Shapes: B samples, V images of a sample, N tokens, C channels, H = W = image_px.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import timm
import torch
from torch import Tensor, nn

from training.initialize import InitConfig, initialize, read_sizes
from training.loading.colour import IMAGENET_MEAN, IMAGENET_STD
from training.models.blocks import NORM_EPS, DecoderBlock, norm_memory
from training.models.croco import Croco, CrocoConfig, patchify
from training.models.from_timm import load_timm
from training.tasks.task import EncoderSize, Features

NUM_STAGES = 4  # of a dense head
NOT_NEEDED = ("prediction_head", "keypoint_head", "mask_token")  # of CroCo, beside the decoder
DECODER = ("decoder_embed", "dec_blocks", "dec_norm", "dec_pos_embed")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Which encoder, and what of it is trained; `init` says with what weights it starts."""

    timm: str = ""  # a model's name there; empty: CroCo's encoder
    model: CrocoConfig = field(default_factory=CrocoConfig)  # CroCo's sizes; image_px is for both
    frozen: bool = False  # train the head alone
    layer_decay: float = 1.0  # of the learning rate, from each block to the one before it

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"encoder.layer_decay must lie in (0, 1], got {self.layer_decay}")


def resolve_encoder(
    config: EncoderConfig, init: InitConfig, image_px: int | None = None
) -> EncoderConfig:
    """Take the sizes from where the weights come from, so that a run is described without it.

    Raises ValueError for a source that cannot be read.
    """
    if init.timm:
        config = replace(config, timm=init.timm)
    elif init.checkpoint:
        config = replace(config, model=read_sizes(init))
    if image_px is not None:
        config = replace(config, model=replace(config.model, image_px=image_px))
    return config


def encoder_width(config: EncoderConfig) -> int:
    """The channels of an encoder. Raises ValueError as `make_encoder`."""
    return _make_vit(config.timm).embed_dim if config.timm else config.model.encoder_width


class Encoder(Protocol):
    """What the encoders have in common."""

    size: EncoderSize

    def __call__(self, images_BV3HW: Tensor) -> Features:
        """Encode the first image of each sample, with the help of the second where there is one."""

    def layers(self) -> Iterator[tuple[int, nn.Parameter]]:
        """Every parameter with its depth: 0 before the first block."""

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks."""


def make_encoder(config: EncoderConfig, num_images: int) -> nn.Module:
    """Build an encoder with fresh weights for samples of one image or two.

    Raises ValueError for a timm model that there is not or that is no plain vision transformer.
    """
    if config.timm:
        return TimmEncoder(config, num_images)
    return CrocoEncoder(config.model, num_images)


class CrocoEncoder(nn.Module):
    """CroCo's encoder; with two images also its decoder, which sees all patches of both."""

    def __init__(self, config: CrocoConfig, num_images: int) -> None:
        super().__init__()
        self.num_images = num_images
        self.config = replace(config, second_image=True, keypoint_head=False)
        self.croco = Croco(self.config)
        for name in (*NOT_NEEDED, *(() if num_images == 2 else DECODER)):
            if hasattr(self.croco, name):
                delattr(self.croco, name)
        width = config.decoder_width if num_images == 2 else config.encoder_width
        self.size = EncoderSize(width, config.grid, config.image_px)

    def forward(self, images_BV3HW: Tensor) -> Features:
        """See Encoder."""
        if self.num_images == 1:
            return self._encode(images_BV3HW[:, 0])
        a_BND, b_BND = (self._encode(images_BV3HW[:, v]).tokens_BNC for v in range(2))
        croco = self.croco
        x_BND, memory_BND = croco.decoder_embed(a_BND), croco.decoder_embed(b_BND)
        rope_21NC = None
        if self.config.positions == "rope":
            rope_21NC = croco.dec_pos_embed.to(x_BND.dtype)[:, None]
        else:
            x_BND, memory_BND = x_BND + croco.dec_pos_embed, memory_BND + croco.dec_pos_embed
        stages, memory_BND = [], norm_memory(memory_BND)
        for block in croco.dec_blocks:
            x_BND = block(x_BND, memory_BND, rope_21NC)
            stages.append(x_BND)
        return Features(croco.dec_norm(x_BND), pick_stages(stages))

    def load(self, init: InitConfig) -> str:
        """Give it the weights of a source; say which. Raises ValueError as `initialize`."""
        whole = Croco(self.config)
        is_paired = bool(init.checkpoint) and read_sizes(init).second_image
        part: Literal["encoder", "all"] = "encoder"
        if self.num_images == 2 and is_paired and init.part == "all":
            part = "all"
        said = initialize(whole, replace(init, part=part))
        weights = whole.state_dict()
        self.croco.load_state_dict({name: weights[name] for name in self.croco.state_dict()})
        return said

    def layers(self) -> Iterator[tuple[int, nn.Parameter]]:
        """See Encoder; the decoder's blocks come after the encoder's."""
        depth = self.config.encoder_depth
        for name, parameter in self.croco.named_parameters():
            yield _depth_of(name, "enc_blocks", "dec_blocks", depth), parameter

    def blocks(self) -> list[nn.Module]:
        """See Encoder."""
        return [*self.croco.enc_blocks, *(self.croco.dec_blocks if self.num_images == 2 else [])]

    def _encode(self, image_B3HW: Tensor) -> Features:
        croco = self.croco
        patches_BNP = patchify(image_B3HW, self.config.patch_px)
        places_1N = torch.arange(patches_BNP.shape[1], device=patches_BNP.device)[None]
        x_BND, rope_2BNC = croco.embed(patches_BNP, places_1N)
        stages = []
        for block in croco.enc_blocks:
            x_BND = block(x_BND, rope_2BNC, [x_BND.shape[1]])
            stages.append(x_BND)
        return Features(croco.enc_norm(x_BND), pick_stages(stages))


class TimmEncoder(nn.Module):
    """A plain vision transformer of timm; with two images, fresh decoder blocks behind it."""

    mean_311: Tensor  # what turns ImageNet's normalization into the model's own
    std_311: Tensor

    def __init__(self, config: EncoderConfig, num_images: int) -> None:
        super().__init__()
        self.name, self.num_images = config.timm, num_images
        image_px = config.model.image_px
        self.vit = _make_vit(config.timm, image_px)
        patch_px = self.vit.patch_embed.patch_size[0]
        width, depth = self.vit.embed_dim, len(self.vit.blocks)
        self.size = EncoderSize(width, image_px // patch_px, image_px)
        self._stages = [math.ceil(depth * (i + 1) / NUM_STAGES) - 1 for i in range(NUM_STAGES)]
        own = self.vit.pretrained_cfg
        mean_3, std_3 = (torch.tensor(own[name]) for name in ("mean", "std"))
        imagenet_mean_3, imagenet_std_3 = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        shift = ((mean_3 - imagenet_mean_3) / imagenet_std_3)[:, None, None]
        self.register_buffer("mean_311", shift, persistent=False)
        scale = (std_3 / imagenet_std_3)[:, None, None]
        self.register_buffer("std_311", scale, persistent=False)
        heads = self.vit.blocks[0].attn.num_heads
        count = config.model.decoder_depth if num_images == 2 else 0
        self.dec_blocks = nn.ModuleList(DecoderBlock(width, heads, 4.0) for _ in range(count))
        self.dec_norm = nn.LayerNorm(width, eps=NORM_EPS) if count else nn.Identity()

    def forward(self, images_BV3HW: Tensor) -> Features:
        """See Encoder."""
        if self.num_images == 1:
            return self._encode(images_BV3HW[:, 0])
        x_BNC, memory_BNC = (self._encode(images_BV3HW[:, v]).tokens_BNC for v in range(2))
        stages, memory_BNC = [], norm_memory(memory_BNC)
        for block in self.dec_blocks:
            x_BNC = block(x_BNC, memory_BNC, None)
            stages.append(x_BNC)
        return Features(self.dec_norm(x_BNC), pick_stages(stages))

    def load(self, init: InitConfig) -> str:
        """Give it the weights that timm publishes, or those of a file; say which."""
        load_timm(self.vit, init.timm or self.name, init.timm_weights)
        return f"the encoder is timm's {self.name}" + (
            f" with the weights of {init.timm_weights}" if init.timm_weights else ""
        )

    def layers(self) -> Iterator[tuple[int, nn.Parameter]]:
        """See Encoder."""
        depth = len(self.vit.blocks)
        for name, parameter in self.named_parameters():
            inner = name.removeprefix("vit.")
            yield _depth_of(inner, "blocks", "dec_blocks", depth), parameter

    def blocks(self) -> list[nn.Module]:
        """See Encoder."""
        return [*self.vit.blocks, *self.dec_blocks]

    def _encode(self, image_B3HW: Tensor) -> Features:
        x_B3HW = (image_B3HW - self.mean_311) / self.std_311
        last_BTC, stages = self.vit.forward_intermediates(
            x_B3HW, indices=self._stages, norm=False, output_fmt="NLC"
        )
        # Models made to pool tokens have their last norm behind the pooling.
        last_BTC = self.vit.fc_norm(last_BTC)
        return Features(last_BTC[:, self.vit.num_prefix_tokens :], tuple(stages))


def pick_stages(outputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Four of the blocks' outputs, evenly from early to late; the last one always."""
    last = [math.ceil(len(outputs) * (i + 1) / NUM_STAGES) - 1 for i in range(NUM_STAGES)]
    return tuple(outputs[max(0, place)] for place in last)


def _make_vit(name: str, image_px: int | None = None) -> Any:
    """Timm's model with fresh weights, for images of its own size where no other is given."""
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm {timm.__version__} has no model {name!r}: see timm.list_models()")
    vit = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_px)
    if not all(
        hasattr(vit, name) for name in ("forward_intermediates", "num_prefix_tokens", "fc_norm")
    ):
        raise ValueError(f"timm's {name} is not a plain vision transformer")
    patch_px = vit.patch_embed.patch_size[0]
    if image_px is not None and image_px % patch_px:
        nearest_px = max(1, round(image_px / patch_px)) * patch_px
        raise ValueError(
            f"images of {image_px} px are no whole number of {name}'s {patch_px} px patches: set "
            f"encoder.model.image_px={nearest_px}"
        )
    return vit


def _depth_of(name: str, blocks: str, later_blocks: str, depth: int) -> int:
    """How deep a parameter lies: 0 before the first block, and those after the last all at once."""
    kind, _, rest = name.partition(".")
    if kind == blocks:
        return int(rest.split(".")[0]) + 1
    if kind == later_blocks or kind in ("enc_norm", "norm", "fc_norm", "dec_norm", "decoder_embed"):
        return depth + 1
    return 0
