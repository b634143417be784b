"""The published checkpoint files of CroCo v1 and v2: read into our model, written from it.

Such a file is a pickled dict: `model` holds the tensors, under the names our model has, too; a
release adds `croco_kwargs`, a training run `args`, a Namespace whose `model` is a line of Python.
Only tensors, plain values and Namespaces are unpickled, and that line is parsed, never run. Sizes
come from the tensors' shapes; the numbers of heads leave no trace there, so they come from the
file's keywords, else from the sizes that were published, else from the caller.
"""

import argparse
import ast
import io
import math
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from catalog import storage
from training.models.croco import Croco, CrocoConfig
from training.models.fit import check_fit

PREFIXES = (
    *("patch_embed.", "enc_pos_embed", "enc_blocks.", "enc_norm.", "decoder_embed.", "mask_token"),
    *("dec_pos_embed", "dec_blocks.", "dec_norm.", "prediction_head."),
)
ENCODER_PREFIXES = PREFIXES[:4]
ENCODER_HEADS = {768: 12, 1024: 16}  # of the published sizes, by width
DECODER_HEADS = {512: 16, 768: 12}
IMAGE_PX = 224  # of the published models; rotary weights do not show it
ROPE_BASE = 100.0


class Published(NamedTuple):
    """A model from a file: its sizes, and tensors that fit `Croco` of these sizes exactly."""

    config: CrocoConfig
    weights: dict[str, Tensor]


def load_published(
    url: str, encoder_heads: int | None = None, decoder_heads: int | None = None
) -> Published:
    """Read a published checkpoint; heads are needed only where the file does not tell them.

    Raises ValueError when it holds objects, is damaged, or is not the whole of such a model.
    """
    saved = read_plain_pickle(url)
    model = saved.get("model") if isinstance(saved, dict) else None
    if not isinstance(model, dict) or not all(isinstance(v, Tensor) for v in model.values()):
        raise ValueError(f"{url} is not a checkpoint of CroCo: it has no tensors under `model`")
    weights = {name.removeprefix("module."): tensor for name, tensor in model.items()}
    config = _infer_config(weights, _keywords(saved), encoder_heads, decoder_heads, url)
    with torch.device("meta"):
        expected = Croco(config).state_dict()
    check_fit(weights, expected, url)
    return Published(config, weights)


def save_published(url: str, config: CrocoConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a file as CroCo's releases are: `model` and `croco_kwargs`, tensors and plain values.

    What a model has beyond the published one is left out. Raises ValueError for a model without
    cross-attention: the layout has no place for it.
    """
    if not any(".cross_attn." in name for name in weights):
        raise ValueError(
            "a model without a second image is no CroCo, so the published layout cannot hold it: "
            "use --layout timm"
        )
    is_rope = config.positions == "rope"
    croco_kwargs = {
        "img_size": config.image_px,
        "patch_size": config.patch_px,
        "enc_embed_dim": config.encoder_width,
        "enc_depth": config.encoder_depth,
        "enc_num_heads": config.encoder_heads,
        "dec_embed_dim": config.decoder_width,
        "dec_depth": config.decoder_depth,
        "dec_num_heads": config.decoder_heads,
        "mlp_ratio": config.mlp_ratio,
        "pos_embed": f"RoPE{config.rope_base:g}" if is_rope else "cosine",
    }
    model = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in weights.items()
        if name.startswith(PREFIXES)
    }
    buffer = io.BytesIO()
    torch.save({"model": model, "croco_kwargs": croco_kwargs}, buffer)
    storage.write_bytes(url, buffer.getvalue())


def read_plain_pickle(url: str) -> Any:
    """Read a file of `torch.save` that holds tensors, plain values and Namespaces, on the CPU.

    Raises ValueError when it holds anything else, none of which is built, or is damaged.
    """
    try:
        with storage.open_read(url) as file, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object of {named[1]}" if named else "what torch does not read as plain values"
        raise ValueError(
            f"{url} holds {what}, not tensors and plain values alone, so it was not loaded: "
            "save its tensors again with torch.save or safetensors"
        ) from None
    except (RuntimeError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{url} is damaged, or not a file of torch.save: {error}") from None


def _keywords(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The model's keywords that a file holds, as plain values, by their published names."""
    if isinstance(saved.get("croco_kwargs"), dict):
        return dict(saved["croco_kwargs"])
    line = getattr(saved.get("args"), "model", None)
    return dict(_parse_keywords(line)) if isinstance(line, str) else {}


def _parse_keywords(line: str) -> Iterator[tuple[str, Any]]:
    """The literal keywords of a line such as `Net(depth=12, norm=partial(f))`: depth."""
    try:
        call = ast.parse(line.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return
    for keyword in call.keywords if isinstance(call, ast.Call) else []:
        if keyword.arg and isinstance(keyword.value, ast.Constant):
            yield keyword.arg, keyword.value.value


def _infer_config(
    weights: Mapping[str, Tensor],
    keywords: Mapping[str, Any],
    encoder_heads: int | None,
    decoder_heads: int | None,
    url: str,
) -> CrocoConfig:
    try:
        encoder_width, _, patch_px, _ = weights["patch_embed.proj.weight"].shape
        decoder_width = weights["mask_token"].shape[2]
        hidden_width = weights["enc_blocks.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise ValueError(
            f"{url} is not a checkpoint of CroCo: its `model` lacks patch_embed.proj.weight, "
            "mask_token or enc_blocks, or they have other dimensions"
        ) from None
    positions: Literal["sincos", "rope"] = "sincos" if "enc_pos_embed" in weights else "rope"
    image_px = _whole(keywords, "img_size") or IMAGE_PX
    if positions == "sincos":
        image_px = patch_px * math.isqrt(weights["enc_pos_embed"].shape[0])
    rotation = re.fullmatch(r"RoPE(\d+\.?\d*)", str(keywords.get("pos_embed")))
    found_heads = (
        _whole(keywords, "enc_num_heads") or ENCODER_HEADS.get(encoder_width) or encoder_heads,
        _whole(keywords, "dec_num_heads") or DECODER_HEADS.get(decoder_width) or decoder_heads,
    )
    if found_heads[0] is None or found_heads[1] is None:
        raise ValueError(
            f"{url} does not say how many heads its attention has, and widths {encoder_width} "
            f"(encoder) and {decoder_width} (decoder) are not the published ones: give the numbers"
        )
    return CrocoConfig(
        image_px=image_px,
        patch_px=patch_px,
        positions=positions,
        rope_base=float(rotation[1]) if rotation else ROPE_BASE,
        encoder_depth=_depth(weights, "enc_blocks"),
        encoder_width=encoder_width,
        encoder_heads=found_heads[0],
        decoder_depth=_depth(weights, "dec_blocks"),
        decoder_width=decoder_width,
        decoder_heads=found_heads[1],
        mlp_ratio=hidden_width / encoder_width,
    )


def _whole(keywords: Mapping[str, Any], name: str) -> int | None:
    value = keywords.get(name)
    return value if type(value) is int and value > 0 else None


def _depth(weights: Mapping[str, Tensor], blocks: str) -> int:
    return len({name.split(".")[1] for name in weights if name.startswith(f"{blocks}.")})
