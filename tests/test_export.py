"""An export is what others load: the same features and weights, and a card that says what it is."""

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from tests.test_initialize import changed_parts, write_run
from tests.test_model import small_model
from training.__main__ import build_parser
from training.checkpoint import find_checkpoint, load_weights
from training.export import export
from training.initialize import InitConfig, initialize
from training.loading.loader import LoaderConfig
from training.model_card import CardFacts, strip_places, write_card
from training.models.croco import Croco, CrocoConfig
from training.models.published import load_published

HELD_OUT = {"metric": "loss_true_second", "kind": "all", "patches": "foreground", "value": 0.80312}
SHARDS = {
    "url": "s3://host-of-mine/private/bodies",
    "name": "bodies",
    "query": "view_angle_deg / 2 < 30 | part = 'body'",
    "num_samples": 12345,
    "samples_by_kind": {"cross_view": 12000, "cross_pose": 345},
    "plan": "c0ffee",
}


def run_export(folder: Path, positions: str = "rope", **options) -> tuple[Croco, Path]:
    model = small_model(positions, seed=1)
    write_run(folder / "run", model, step=1500, loader=LoaderConfig(batch_size=32))
    (folder / "run" / "held_out.jsonl").write_text(json.dumps({**HELD_OUT, "step": 1500}) + "\n")
    export(str(folder / "run"), str(folder / "out"), **options)
    return model, folder / "out"


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_the_line_on_the_card_loads_the_encoder(positions, tmp_path, monkeypatch):
    model, out = run_export(tmp_path, positions)
    described = json.loads((out / "encoder.json").read_text())
    assert described["load"] in (out / "README.md").read_text()
    monkeypatch.chdir(out)
    encoder = eval(described["load"], {"timm": timm}).eval()
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.encode(image)
        torch.testing.assert_close(encoder.forward_features(image), expected, rtol=1e-4, atol=1e-5)
    arguments = {"checkpoint_path": "encoder.safetensors", **described["kwargs"]}
    again = timm.create_model(described["model"], pretrained=False, **arguments)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in encoder.state_dict().items())


def test_an_export_is_a_checkpoint_of_ours(tmp_path):
    model, out = run_export(tmp_path)
    assert find_checkpoint(str(out)) == str(out)
    again = small_model("rope")
    load_weights(str(out), again)
    assert changed_parts(again, model) == (True, True)
    again = small_model("rope")
    initialize(again, InitConfig(checkpoint=str(out)))
    assert changed_parts(again, model) == (True, True)


def test_the_published_layout_is_read_back(tmp_path):
    model, out = run_export(tmp_path, "sincos", layout="published")
    config, weights = load_published(str(out / "croco.pth"))
    assert config == model.config
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert sorted(os.listdir(out)) == ["README.md", "croco.pth"]


def test_the_encoder_alone(tmp_path):
    _, out = run_export(tmp_path, layout="timm")
    assert sorted(os.listdir(out)) == ["README.md", "encoder.json", "encoder.safetensors"]


def test_the_running_mean_replaces_the_weights(tmp_path):
    model = small_model("sincos")
    checkpoint = write_run(tmp_path / "run", model)
    means = {name: parameter.detach() + 1 for name, parameter in model.named_parameters()}
    safetensors.torch.save_file(means, Path(checkpoint) / "average.safetensors")
    export(checkpoint, str(tmp_path / "out"), average=True)
    weights = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(weights["enc_norm.weight"], model.enc_norm.weight + 1)
    assert torch.equal(weights["enc_pos_embed"], model.enc_pos_embed)
    assert "running mean" in (tmp_path / "out" / "README.md").read_text()


def test_a_run_without_a_mean_says_so(tmp_path):
    write_run(tmp_path / "run", small_model("rope"))
    with pytest.raises(ValueError, match="no average of weights"):
        export(str(tmp_path / "run"), str(tmp_path / "out"), average=True)
    assert os.listdir(tmp_path) == ["run"]


def test_the_card_has_the_figures(tmp_path):
    _, out = run_export(tmp_path)
    card = (out / "README.md").read_text()
    assert "1,500 steps, 48,000 pairs seen" in card
    assert "| loss_true_second | all | foreground | 0.8031 |" in card
    assert "| loader.batch_size | `32` |" in card
    assert "The shard sets: not recorded." in card
    assert str(tmp_path) not in card


def card_of(**facts) -> str:
    config = {"loader": {"batch_size": 2}, "init": {"timm": ""}}
    known = dict(config=config, step=1, elapsed_s=1, is_average=False)
    return write_card(CardFacts(model=small_model("rope").config, **{**known, **facts}))


def test_the_card_names_the_shard_sets_and_no_host():
    card = card_of(shards=[SHARDS])
    expected = (
        "| bodies | 12,345 | cross_view 12,000, cross_pose 345 | not recorded | not recorded | "
        "`c0ffee` | `view_angle_deg / 2 < 30 \\| part = 'body'` |"
    )
    assert expected in card and "host-of-mine" not in card
    licensed = card_of(shards=[{**SHARDS, "licences": ["CC-BY-4.0"], "splits": {"train": 9}}])
    assert "| train 9 | CC-BY-4.0 |" in licensed


def test_the_card_names_what_the_run_started_from():
    card = card_of(config={"init": {"checkpoint": "/home/me/CroCo_V2.pth"}})
    assert "started from `CroCo_V2.pth`" in card and "/home/me" not in card
    assert "started from" not in card_of()


def test_places_are_reduced_to_names():
    found = strip_places({"a": ["s3://key@host/b/c?token=1", "C:\\x\\y", 3, "plain"], "d": "/e/f/"})
    assert found == {"a": ["c", "y", 3, "plain"], "d": "f"}


def test_a_folder_with_files_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="is not empty"):
        run_export(tmp_path)
    assert os.listdir(tmp_path / "out") == ["mine.txt"]


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.export.write_card", fail)
    with pytest.raises(KeyboardInterrupt):
        run_export(tmp_path)
    assert os.listdir(tmp_path) == ["run"]


def test_an_export_goes_to_an_object_store(tmp_path):
    write_run(tmp_path / "run", small_model("rope"))
    names = export(str(tmp_path / "run"), "memory://exchange/out")
    import fsspec

    written = fsspec.filesystem("memory").ls("/exchange/out", detail=False)
    assert sorted(Path(name).name for name in written) == sorted(names)


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown layout 'onnx'; choose one of timm"):
        run_export(tmp_path, layout="onnx")


def test_the_command_exports(tmp_path, capsys):
    write_run(tmp_path / "run", small_model("rope"))
    where = ["--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    options = build_parser().parse_args(["export", *where, "--layout", "timm"])
    assert options.run(options) == 0
    assert "wrote encoder.safetensors, encoder.json, README.md" in capsys.readouterr().out


def test_a_run_of_mae_is_exported_without_the_layout_that_has_no_place_for_it(tmp_path):
    config = CrocoConfig(
        image_px=32, patch_px=8, encoder_depth=1, encoder_width=32, encoder_heads=2,
        decoder_depth=1, decoder_width=32, decoder_heads=2, second_image=False,
    )  # fmt: skip
    write_run(tmp_path / "run", Croco(config), step=3)
    names = export(str(tmp_path / "run"), str(tmp_path / "out"))
    assert "encoder.safetensors" in names and "croco.pth" not in names
    assert (tmp_path / "out" / "README.md").read_text().startswith("# MAE on images of people")
    with pytest.raises(ValueError, match="without a second image"):
        export(str(tmp_path / "run"), str(tmp_path / "other"), layout="published")
