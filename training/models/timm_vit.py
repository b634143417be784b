"""The encoder as a ViT of timm: its name there, its arguments, and its weights.

CroCo v1's encoder is timm's plain ViT without a class token, v2's is timm's rotary one. That one
differs in three ways, none of which changes what is computed: the first half of a head turns with
the column there and with the row here; channels that turn together are neighbours there and half
apart here; and it has layer scales, which are one for us.

Shapes: D channels of the encoder, H heads, C channels of one head.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.loading.colour import IMAGENET_MEAN, IMAGENET_STD
from training.models.croco import CrocoConfig

SIZES = {384: "small", 1024: "large"}  # in timm's names, by width; all others are `base`


class TimmModel(NamedTuple):
    """What `timm.create_model` needs, apart from the weights; plain values."""

    name: str
    kwargs: dict[str, Any]


def describe_timm(config: CrocoConfig) -> TimmModel:
    """Say which timm model the encoder is: its `forward_features` equals `Croco.encode`."""
    is_rope = config.positions == "rope"
    size = SIZES.get(config.encoder_width, "base")
    kwargs: dict[str, Any] = {
        "num_classes": 0,
        "img_size": config.image_px,
        "patch_size": config.patch_px,
        "embed_dim": config.encoder_width,
        "depth": config.encoder_depth,
        "num_heads": config.encoder_heads,
        "mlp_ratio": config.mlp_ratio,
        "class_token": False,
        "global_pool": "avg",
        "pretrained_cfg_overlay": {
            "input_size": [3, config.image_px, config.image_px],
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "crop_pct": 1.0,
            "num_classes": 0,
        },
    }
    # With average pooling timm moves the last norm behind it unless told to leave it in its place.
    if not is_rope:
        return TimmModel(f"vit_{size}_patch16_224", {**kwargs, "fc_norm": False})
    rope = {"use_fc_norm": False, "rope_temperature": config.rope_base}
    return TimmModel(f"vit_{size}_patch16_rope_224", {**kwargs, **rope})


def to_timm(config: CrocoConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder of our weights under timm's names, for the model `describe_timm` names."""
    ours = {name: weights[name] for name in weights if name.startswith(("patch_embed.", "enc_"))}
    tensors = {name.removeprefix("enc_"): value.detach() for name, value in ours.items()}
    if config.positions == "sincos":
        return {**tensors, "pos_embed": tensors["pos_embed"][None]}
    order_3D = qkv_order(config)
    for i in range(config.encoder_depth):
        for kind in ("weight", "bias"):
            name = f"blocks.{i}.attn.qkv.{kind}"
            tensors[name] = tensors[name][order_3D]
        for scale in ("gamma_1", "gamma_2"):
            tensors[f"blocks.{i}.{scale}"] = torch.ones_like(tensors[f"blocks.{i}.norm1.weight"])
    return tensors


def qkv_order(config: CrocoConfig) -> Tensor:
    """For each output of timm's qkv layer, the output of ours that it is: (3 D,) int64.

    Our head is row low, row high, column low, column high, a quarter each; timm's is the column's
    half, then the row's, with low and high in turns.
    """
    order_3HC = torch.arange(3 * config.encoder_width).view(3, config.encoder_heads, -1)
    row_low, row_high, column_low, column_high = order_3HC[:2].chunk(4, dim=2)
    column_2HC, row_2HC = (
        torch.stack(pair, dim=3).flatten(2)
        for pair in ((column_low, column_high), (row_low, row_high))
    )
    return torch.cat([torch.cat([column_2HC, row_2HC], dim=2), order_3HC[2:]]).flatten()
