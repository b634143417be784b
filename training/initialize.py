"""Start a model from weights that are there already: a ViT of timm, a run of ours, or a published
CroCo.

What is loaded must fit exactly, in shapes and in what shapes do not show (heads, positions),
except for v1's positions, which are resampled to the model's image size. What the source does not
have keeps its fresh values.
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from catalog import storage
from catalog.config import override_from_table
from training.checkpoint import find_checkpoint, read_progress
from training.models.croco import Croco, CrocoConfig
from training.models.fit import check_fit, check_same
from training.models.from_timm import from_timm, read_timm, resample_positions
from training.models.published import ENCODER_PREFIXES, PREFIXES, load_published
from training.models.tensors import read_tensors

PICKLED = (".pth", ".pt", ".bin")  # endings of published files
FINETUNED = "encoder.croco."  # before the names of a fine-tuned model's encoder
ENCODER_FIELDS = ("positions", "encoder_heads")
ALL_FIELDS = (*ENCODER_FIELDS, "decoder_heads")


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Where a model's first weights come from; with no source they are random."""

    timm: str = ""  # a model's name there, as `vit_base_patch16_224.mae`; gives the encoder alone
    timm_weights: str = ""  # file with weights for it; empty: the ones timm publishes
    checkpoint: str = ""  # a run, a checkpoint of ours, or a published file (.pth)
    part: Literal["encoder", "all"] = "all"  # of the checkpoint


def initialize(model: Croco, config: InitConfig) -> str:
    """Fill the model from the source that is set; return a sentence that says with what.

    Raises ValueError for two sources, one that cannot be read, and weights that do not fit.
    """
    if config.timm and config.checkpoint:
        raise ValueError("init.timm and init.checkpoint are both set: a model starts from one")
    if config.timm_weights and not config.timm:
        raise ValueError("init.timm_weights needs init.timm, the timm model that they are for")
    if config.timm:
        return _from_timm(model, config)
    if config.checkpoint:
        return _from_checkpoint(model, config)
    return "random weights"


def read_sizes(init: InitConfig) -> CrocoConfig:
    """The sizes of the model that a checkpoint holds. Raises ValueError when it cannot be read."""
    source = init.checkpoint
    if source.endswith(PICKLED):
        return load_published(source).config
    return _sizes_of_run(find_checkpoint(source))


def _from_timm(model: Croco, config: InitConfig) -> str:
    vit, weights = read_timm(config.timm, config.timm_weights)
    source = config.timm_weights or config.timm
    loaded = from_timm(model.config, vit, weights, _select(model, ENCODER_PREFIXES), source)
    model.load_state_dict(loaded.weights, strict=False)
    weights_from = f" with the weights of {config.timm_weights}" if config.timm_weights else ""
    note = f" ({loaded.note})" if loaded.note else ""
    return f"the encoder starts as timm's {config.timm}{weights_from}{note}; the rest is random"


def _from_checkpoint(model: Croco, config: InitConfig) -> str:
    source, wanted = config.checkpoint, model.config
    if source.endswith(PICKLED):
        found, weights = load_published(source, wanted.encoder_heads, wanted.decoder_heads)
    else:
        source = find_checkpoint(source)
        found, weights = _read_own(source)
    is_encoder = config.part == "encoder"
    prefixes = ENCODER_PREFIXES if is_encoder else PREFIXES
    check_same(found, wanted, ENCODER_FIELDS if is_encoder else ALL_FIELDS, source)
    if wanted.positions == "rope":
        check_same(found, wanted, ("rope_base",), source)
    expected = _select(model, prefixes)
    chosen = {name: weights[name] for name in weights if name.startswith(prefixes)}
    if not is_encoder:  # what only our models have, where both have it
        shared = weights.keys() & model.state_dict().keys()
        chosen |= {name: weights[name] for name in shared}
        expected |= {name: model.state_dict()[name] for name in shared}
    for name in ("enc_pos_embed", "dec_pos_embed"):
        if name in chosen and chosen[name].shape[0] != expected[name].shape[0]:
            chosen[name] = resample_positions(chosen[name], wanted.grid)
    check_fit(chosen, expected, source)
    model.load_state_dict(chosen, strict=False)
    part = "the encoder starts" if is_encoder else "the model starts"
    rest = "; the rest is random" if len(chosen) < len(model.state_dict()) else ""
    return f"{part} as {source}{rest}"


def _read_own(checkpoint: str) -> tuple[CrocoConfig, dict[str, Tensor]]:
    weights = read_tensors(storage.join(checkpoint, "model.safetensors"))
    ours = {name.removeprefix(FINETUNED): x for name, x in weights.items() if FINETUNED in name}
    return _sizes_of_run(checkpoint), ours or weights


def _sizes_of_run(checkpoint: str) -> CrocoConfig:
    """The sizes of a pre-trained model, or of the encoder of a fine-tuned one, which is to help no
    decoder.
    """
    config = read_progress(checkpoint).config
    if "model" in config:
        return override_from_table(CrocoConfig(), config["model"])
    encoder = config.get("encoder", {})
    if encoder.get("timm") or "model" not in encoder:
        raise ValueError(f"{checkpoint} has no encoder of ours to start from")
    return replace(override_from_table(CrocoConfig(), encoder["model"]), second_image=False)


def _select(model: Croco, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The model's weights of one part."""
    state = model.state_dict()
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}
