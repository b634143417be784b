"""An encoder that starts as a ViT of timm: which weights become ours, and what does not fit.

Class and register tokens are dropped, learned positions are resampled to our grid, and a layer
scale is multiplied into the layer it scales. All else must fit exactly.

Shapes: D channels of the encoder, N patches.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import timm
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from training.models.croco import CrocoConfig
from training.models.fit import check_fit
from training.models.published import read_plain_pickle
from training.models.tensors import read_tensors
from training.models.timm_vit import qkv_order

LAYER_SCALES = {  # and the linear layer that each scales
    **{"ls1.gamma": "attn.proj", "ls2.gamma": "mlp.fc2"},  # in timm's plain ViT
    **{"gamma_1": "attn.proj", "gamma_2": "mlp.fc2"},  # in its rotary one
}
TOKENS = ("cls_token", "dist_token", "reg_token")  # before the patches
NOT_ENCODER = ("head.", "head_dist.", "attn_pool.", "mask_token", *TOKENS)


class FromTimm(NamedTuple):
    """Weights of our encoder, and a note on what of the source they are not."""

    weights: dict[str, Tensor]
    note: str


def read_timm(name: str, weights_url: str = "") -> tuple[nn.Module, dict[str, Tensor]]:
    """Create a timm model; return it with weights under timm's names: its published ones, or those
    in a file of safetensors or torch.save.

    Raises ValueError for a name timm does not know, weights that cannot be fetched, and a file that
    holds no weights.
    """
    if ":" not in name and not timm.is_model(name.split(".")[0]):
        raise ValueError(f"timm {timm.__version__} has no model {name!r}: see timm.list_models()")
    if weights_url:
        return timm.create_model(name, pretrained=False, num_classes=0), _read_weights(weights_url)
    try:
        vit = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client raises a family of its own, by version
        raise ValueError(
            f"the weights of {name} could not be fetched ({type(error).__name__}: {error}): check "
            "the name and the connection, or give a local file as init.timm_weights"
        ) from None
    return vit, vit.state_dict()


def load_timm(vit: nn.Module, name: str, weights_url: str = "") -> None:
    """Fill a timm model with its published weights, or those of a file, resampling positions to its
    image size as timm does. Raises ValueError as `read_timm`, and for weights that do not fit.
    """
    _, weights = read_timm(name, weights_url)
    expected = vit.state_dict()
    weights = {key: value for key, value in weights.items() if not key.startswith("head.")}
    filtered = checkpoint_filter_fn(dict(weights), vit)
    check_fit(filtered, expected, weights_url or name)
    vit.load_state_dict(filtered)


def from_timm(
    config: CrocoConfig,
    vit: nn.Module,
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    source: str,
) -> FromTimm:
    """Turn `weights` of the timm model `vit` into those of our encoder, which `expected` holds.

    Raises ValueError where the two differ in size or in kind, naming what does not fit.
    """
    _check_kind(config, vit, source)
    notes = []
    tensors = _fold_layer_scales(
        {name: value.float() for name, value in weights.items() if not name.startswith(NOT_ENCODER)}
    )
    positions_1ND = tensors.pop("pos_embed", None)
    pooled_norm = {name: tensors.pop(name) for name in list(tensors) if name.startswith("fc_norm.")}
    if pooled_norm and "norm.weight" not in tensors:
        tensors |= {name.removeprefix("fc_"): value for name, value in pooled_norm.items()}
        notes.append("its norm behind the pooling became enc_norm")
    ours = {
        f"enc_{name}" if name.startswith(("blocks.", "norm.")) else name: value
        for name, value in tensors.items()
    }
    if config.positions == "sincos":
        if positions_1ND is None:
            notes.append("it has no absolute positions, so the sine-cosine ones stay")
            ours["enc_pos_embed"] = expected["enc_pos_embed"]
        else:
            prefix = sum(weights[name].shape[1] for name in TOKENS if name in weights)
            if getattr(vit, "no_embed_class", False):
                prefix = 0
            ours["enc_pos_embed"] = resample_positions(positions_1ND[0], config.grid, prefix)
    elif positions_1ND is not None:
        notes.append("its absolute positions were left out, as this model has rotary ones")
    check_fit(ours, expected, source)
    if getattr(vit, "rope", None) is not None:
        order_3D = qkv_order(config).argsort()
        for i in range(config.encoder_depth):
            for kind in ("weight", "bias"):
                name = f"enc_blocks.{i}.attn.qkv.{kind}"
                ours[name] = ours[name][order_3D]
    return FromTimm(ours, "; ".join(notes))


def resample_positions(positions_ND: Tensor, grid: int, prefix: int = 0) -> Tensor:
    """Resample the positions of a square grid to another, dropping `prefix` tokens before them."""
    count = positions_ND.shape[0] - prefix
    if count < 1 or math.isqrt(count) ** 2 != count:
        raise ValueError(f"positions of {count} patches are not those of a square image")
    resampled_1ND: Tensor = resample_abs_pos_embed(
        positions_ND[None, prefix:], new_size=[grid, grid], num_prefix_tokens=0
    )
    return resampled_1ND[0]


def _check_kind(config: CrocoConfig, vit: Any, source: str) -> None:
    """Raise ValueError for what shapes do not show: heads, activation, rotary positions."""
    if not hasattr(vit, "patch_embed") or not hasattr(vit, "blocks"):
        raise ValueError(
            f"{source} is not a plain vision transformer, so no encoder starts from it"
        )
    blocks: Any = vit.blocks
    block = blocks[0]
    heads = getattr(getattr(block, "attn", None), "num_heads", None)
    if heads != config.encoder_heads:
        raise ValueError(
            f"{source} does not fit: it has {heads} heads in its attention, and "
            f"model.encoder_heads is {config.encoder_heads}"
        )
    activation = type(getattr(block.mlp, "act", None)).__name__
    if activation != "GELU":
        raise ValueError(f"{source} does not fit: its activation is {activation}, ours GELU")
    rope = getattr(vit, "rope", None)
    if rope is None:
        return
    if config.positions != "rope":
        raise ValueError(
            f"{source} does not fit: it has rotary positions, and model.positions is "
            f"{config.positions}: set it to rope"
        )
    wanted = {
        "temperature": config.rope_base,
        "in_pixels": False,
        "ref_feat_shape": None,
        "grid_offset": 0.0,
        "grid_indexing": "xy",
        "rotate_half": False,
    }
    for name, value in wanted.items():
        found = getattr(rope, name, None if value is None else "unknown")
        if found != value and not (name == "rotate_half" and found == "unknown"):
            raise ValueError(
                f"{source} does not fit: its rotary positions have {name} {found}, ours {value}"
            )


def _fold_layer_scales(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply each layer scale into the linear layer before it."""
    folded = dict(weights)
    for name, scale_D in weights.items():
        for ending, scaled in LAYER_SCALES.items():
            layer = name.removesuffix(ending) + scaled
            if name.endswith(f".{ending}") and f"{layer}.weight" in weights:
                folded[f"{layer}.weight"] = weights[f"{layer}.weight"] * scale_D[:, None]
                folded[f"{layer}.bias"] = weights[f"{layer}.bias"] * scale_D
                del folded[name]
    return folded


def _read_weights(url: str) -> dict[str, Tensor]:
    saved: Any = read_tensors(url) if url.endswith(".safetensors") else read_plain_pickle(url)
    for wrapper in ("model", "state_dict"):
        if isinstance(saved, dict) and isinstance(saved.get(wrapper), dict):
            saved = saved[wrapper]
    if not isinstance(saved, dict) or not all(isinstance(v, Tensor) for v in saved.values()):
        raise ValueError(f"{url} holds no weights: expected tensors by name")
    return {name.removeprefix("module."): tensor for name, tensor in saved.items()}
