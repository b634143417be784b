"""Published checkpoint files: read as what they are, refused when they hold more than tensors."""

import os
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.test_model import SMALL, plain_croco, random_batch, small_model
from training.models.croco import Croco, CrocoConfig
from training.models.published import load_published, save_published

LINES = {
    "sincos": "CroCoNet(enc_num_heads=2, dec_num_heads=2, norm_layer=partial(LayerNorm, eps=1e-6))",
    "rope": "CroCoNet(enc_num_heads=2, dec_num_heads=2, img_size=32, pos_embed='RoPE100')",
}


def published_run(positions: str, prefix: str = "") -> dict:
    """A checkpoint as CroCo's training writes it, and with the names it has there."""
    model = small_model(positions)
    tensors = {f"{prefix}{name}": tensor for name, tensor in published_tensors(model).items()}
    args = Namespace(model=LINES[positions], lr=1.5e-4, output_dir="out", resume=None)
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    return {"model": tensors, "optimizer": optimizer, "scaler": {}, "args": args, "epoch": 7}


def published_tensors(model: Croco) -> dict[str, Tensor]:
    """The tensors under their published names, spelled out here and not taken from our model."""
    state, names = model.state_dict(), ["mask_token"]
    linear_parts = {
        "enc_blocks": ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"),
        "dec_blocks": (
            *("norm1", "attn.qkv", "attn.proj", "norm_y", "norm2", "cross_attn.projq"),
            *("cross_attn.projk", "cross_attn.projv", "cross_attn.proj"),
            *("norm3", "mlp.fc1", "mlp.fc2"),
        ),
    }
    parts = ["patch_embed.proj", "enc_norm", "decoder_embed", "dec_norm", "prediction_head"]
    parts += [f"{k}.{i}.{part}" for k, all_of in linear_parts.items() for i in (0, 1)
              for part in all_of]  # fmt: skip
    names += [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    if model.config.positions == "sincos":
        names += ["enc_pos_embed", "dec_pos_embed"]
    return {name: state[name] for name in names}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_a_published_run_gives_what_a_plain_model_gives(positions, prefix, tmp_path):
    torch.save(published_run(positions, prefix), tmp_path / "checkpoint.pth")
    config, weights = load_published(str(tmp_path / "checkpoint.pth"))
    assert config == CrocoConfig(**SMALL, positions=positions)
    loaded = Croco(config)
    loaded.load_state_dict(weights)
    truth = small_model(positions)
    a, b, visible, masked = random_batch(truth, batch=1)
    expected = plain_croco(truth, a[0], b[0], visible[0].tolist())[masked[0]]
    found = loaded(a, b, visible, masked).prediction_BMP[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_positions_have_the_published_shapes():
    state = Croco(CrocoConfig(**SMALL, positions="sincos")).state_dict()
    assert state["enc_pos_embed"].shape == (16, 32) and state["dec_pos_embed"].shape == (16, 16)
    assert not [name for name in small_model("rope").state_dict() if "pos_embed" in name]


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_what_is_saved_is_read_unchanged(positions, tmp_path):
    model = small_model(positions)
    save_published(str(tmp_path / "croco.pth"), model.config, model.state_dict())
    config, weights = load_published(str(tmp_path / "croco.pth"))
    assert config == model.config
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_saved_file_holds_plain_values_alone(tmp_path):
    model = small_model("rope")
    save_published(str(tmp_path / "croco.pth"), model.config, model.state_dict())
    saved = torch.load(tmp_path / "croco.pth", weights_only=True)
    assert saved["croco_kwargs"]["enc_num_heads"] == 2
    assert saved["croco_kwargs"]["pos_embed"] == "RoPE100"


def test_heads_of_published_sizes_are_known(tmp_path):
    model = Croco(CrocoConfig(image_px=32, encoder_depth=1, decoder_depth=1))
    torch.save({"model": model.state_dict()}, tmp_path / "croco.pth")
    config, _ = load_published(str(tmp_path / "croco.pth"), encoder_heads=99)
    assert (config.encoder_heads, config.decoder_heads) == (12, 16)


def test_heads_nobody_knows_are_asked_for(tmp_path):
    model = small_model("rope")
    torch.save({"model": model.state_dict()}, tmp_path / "croco.pth")
    with pytest.raises(ValueError, match="does not say how many heads"):
        load_published(str(tmp_path / "croco.pth"))
    config, _ = load_published(str(tmp_path / "croco.pth"), encoder_heads=2, decoder_heads=2)
    assert config.encoder_heads == config.decoder_heads == 2


class Attack:
    """Runs a command where it is unpickled without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["args", "epoch", "model"])
def test_a_file_with_code_is_refused_and_does_not_run(place, tmp_path):
    mark = tmp_path / "ran"
    torch.save({**published_run("rope"), place: Attack(f"touch {mark}")}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"holds an object of .*system, not tensors"):
        load_published(str(tmp_path / "bad.pth"))
    assert not mark.exists()


def test_the_line_of_python_in_a_file_does_not_run(tmp_path):
    mark = tmp_path / "ran"
    run = published_run("rope")
    for line in (
        f"Net(enc_num_heads=__import__('os').system('touch {mark}'), dec_num_heads=2)",
        f"__import__('os').system('touch {mark}')",
        "no python at all (",
    ):
        run["args"].model = line
        torch.save(run, tmp_path / "bad.pth")
        with pytest.raises(ValueError, match="does not say how many heads"):
            load_published(str(tmp_path / "bad.pth"))
        assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("enc_norm.bias"), "lacks enc_norm.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "has extra, which the model has not"),
        (
            lambda t: t.update({"dec_norm.bias": torch.zeros(5)}),
            "has dec_norm.bias 5 instead of 16",
        ),
        (lambda t: t.clear(), "not a checkpoint of CroCo"),
        (lambda t: t.update({"mask_token": torch.zeros(3)}), "not a checkpoint of CroCo"),
    ],
)
def test_what_does_not_fit_is_named(change, message, tmp_path):
    run = published_run("sincos")
    change(run["model"])
    torch.save(run, tmp_path / "croco.pth")
    with pytest.raises(ValueError, match=message):
        load_published(str(tmp_path / "croco.pth"))


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_said_to_be(data, tmp_path):
    Path(tmp_path / "croco.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"croco\.pth"):
        load_published(str(tmp_path / "croco.pth"))


def test_a_file_without_weights_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="no tensors under `model`"):
        load_published(str(tmp_path / "list.pth"))
