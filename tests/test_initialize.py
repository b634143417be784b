"""A model starts from weights that exist, says from which, and refuses what does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from catalog.config import to_dict
from tests.test_model import SMALL, small_model
from training.checkpoint import FORMAT
from training.initialize import InitConfig, initialize
from training.models.croco import Croco, CrocoConfig
from training.models.published import save_published
from training.models.timm_vit import describe_timm, to_timm
from training.run_config import PretrainConfig

VIT_TINY = dict(image_px=32, encoder_width=192, encoder_heads=3, decoder_depth=1)


def write_run(folder: Path, model: Croco, step: int = 3, **changes: Any) -> str:
    """A run's folder with one checkpoint, as far as others than the run itself read it."""
    checkpoint = folder / "checkpoints" / f"step-{step:08d}"
    checkpoint.mkdir(parents=True)
    config = to_dict(PretrainConfig(model=model.config, **changes))
    state = {"format": FORMAT, "step": step, "elapsed_s": 90.0, "loader": {}, "config": config}
    (checkpoint / "checkpoint.json").write_text(json.dumps(state))
    safetensors.torch.save_file(model.state_dict(), checkpoint / "model.safetensors")
    return str(checkpoint)


def changed_parts(model: Croco, source: Croco) -> tuple[bool, bool]:
    """Whether the encoder is the source's, and whether the rest is."""
    state, truth = model.state_dict(), source.state_dict()
    is_same = {name: torch.equal(state[name], truth[name]) for name in truth}
    encoder = {name for name in truth if name.startswith(("patch_embed.", "enc_"))}
    return all(is_same[n] for n in encoder), all(is_same[n] for n in truth.keys() - encoder)


def test_without_a_source_nothing_changes():
    model = small_model("rope")
    assert initialize(model, InitConfig()) == "random weights"
    assert changed_parts(model, small_model("rope")) == (True, True)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@pytest.mark.parametrize("kind", ["run", "published file"])
def test_all_or_the_encoder_of_a_checkpoint(kind, positions, tmp_path):
    source = small_model(positions, seed=1)
    if kind == "run":
        write_run(tmp_path, source)
        url = str(tmp_path)
    else:
        url = str(tmp_path / "croco.pth")
        save_published(url, source.config, source.state_dict())

    model = small_model(positions)
    assert initialize(model, InitConfig(checkpoint=url)).startswith("the model starts as")
    assert changed_parts(model, source) == (True, True)
    model = small_model(positions)
    said = initialize(model, InitConfig(checkpoint=url, part="encoder"))
    assert said.startswith("the encoder starts as") and said.endswith("; the rest is random")
    assert changed_parts(model, source) == (True, False)


def test_an_encoder_fits_a_model_with_another_decoder(tmp_path):
    source = small_model("rope", seed=1)
    write_run(tmp_path, source)
    other = Croco(CrocoConfig(**{**SMALL, "decoder_width": 24, "decoder_heads": 3}))
    initialize(other, InitConfig(checkpoint=str(tmp_path), part="encoder"))
    assert torch.equal(other.enc_norm.weight, source.enc_norm.weight)
    with pytest.raises(ValueError, match="decoder_heads 2 instead of 3"):
        initialize(other, InitConfig(checkpoint=str(tmp_path)))


def test_positions_follow_the_image_size(tmp_path):
    write_run(tmp_path, small_model("sincos"))
    larger = Croco(CrocoConfig(**{**SMALL, "image_px": 64}, positions="sincos"))
    initialize(larger, InitConfig(checkpoint=str(tmp_path)))
    assert larger.enc_pos_embed.shape == (64, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_heads": 4}, "encoder_heads 2 instead of 4"),
        ({"positions": "sincos"}, "positions rope instead of sincos"),
        ({"rope_base": 10.0}, "rope_base 100.0 instead of 10.0"),
        ({"encoder_depth": 3}, "lacks enc_blocks.2.norm1.weight"),
        ({"patch_px": 16}, "patch_embed.proj.weight 32 x 3 x 8 x 8 instead of 32 x 3 x 16 x 16"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(changes, message, tmp_path):
    write_run(tmp_path, small_model("rope"))
    with pytest.raises(ValueError, match=message):
        initialize(Croco(CrocoConfig(**{**SMALL, **changes})), InitConfig(checkpoint=str(tmp_path)))


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_vit_of_timm_from_a_local_file(suffix, tmp_path):
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7).eval()
    file = str(tmp_path / f"vit.{suffix}")
    if suffix == "pth":
        torch.save({"model": vit.state_dict()}, file)
    else:
        safetensors.torch.save_file(vit.state_dict(), file)
    model = Croco(CrocoConfig(**VIT_TINY, positions="sincos"))
    said = initialize(model, InitConfig(timm="vit_tiny_patch16_224", timm_weights=file))
    assert "vit_tiny_patch16_224 with the weights of" in said
    assert torch.equal(model.enc_blocks[11].attn.qkv.weight, vit.blocks[11].attn.qkv.weight)
    assert model.enc_pos_embed.shape == (4, 192)


def test_what_export_wrote_for_timm_starts_a_model_again(tmp_path):
    sizes = dict(image_px=32, encoder_width=384, encoder_heads=6, decoder_depth=1)
    for positions in ("rope", "sincos"):
        config = CrocoConfig(**sizes, positions=positions)
        source, model = Croco(config), Croco(config)
        file = str(tmp_path / "encoder.safetensors")
        tensors = to_timm(config, source.state_dict())
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, file)
        name = describe_timm(config).name
        initialize(model, InitConfig(timm=name, timm_weights=file))
        assert changed_parts(model, source)[0]


def test_weights_that_cannot_be_fetched_are_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ValueError, match=r"could not be fetched .*no route.* init\.timm_weights"):
        initialize(small_model("rope"), InitConfig(timm="vit_base_patch16_224.mae"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (InitConfig(timm="a", checkpoint="b"), "both set"),
        (InitConfig(timm_weights="a.pth"), r"init\.timm_weights needs init\.timm"),
        (InitConfig(timm="vit_of_nobody"), "has no model 'vit_of_nobody'"),
        (InitConfig(checkpoint="nowhere"), "no checkpoint in nowhere"),
    ],
)
def test_sources_that_make_no_sense_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        initialize(small_model("rope"), config)


def test_a_file_without_weights_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    torch.save({"a": 1}, tmp_path / "x.pth")
    for name, message in (("x.safetensors", "not safetensors"), ("x.pth", "holds no weights")):
        config = InitConfig(timm="vit_tiny_patch16_224", timm_weights=str(tmp_path / name))
        with pytest.raises(ValueError, match=message):
            initialize(small_model("rope"), config)
