"""Training as a whole: exact resume, learning, evaluation, pictures, and the command line."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from catalog.commands import main
from catalog.config import override, to_dict
from tests.toy_shards import write_toy_shards
from training import loss as loss_module
from training.__main__ import build_parser
from training.checkpoint import find_checkpoint
from training.evaluate import wrong_partners
from training.models.croco import Croco
from training.optimizer import OptimizerConfig, learning_rate, make_optimizer
from training.presets import PRESETS, tiny
from training.pretrain import pretrain
from training.run_config import config_from_dict

MICRO = [
    "model.image_px=32", "model.patch_px=8", "model.encoder_depth=2", "model.encoder_width=64",
    "model.encoder_heads=2", "model.decoder_depth=2", "model.decoder_width=64",
    "model.decoder_heads=2", "loader.batch_size=16", "run.log_every=5", "run.evaluate_every=1000",
    "run.pictures_every=1000", "run.checkpoint_every=5", "run.tensorboard=false",
    "evaluate.max_pairs=64", "optimizer.ema=0.999",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are small, and threads that wait spin
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_toy_shards(
        tmp_path_factory.mktemp("toy") / "set", (50, 50), val_size=20, crop_px=48
    )


def micro(steps: int, *settings: str):
    config = override(tiny(), [*MICRO, *settings])
    return replace(config, run=replace(config.run, num_steps=steps, minutes=None))


def run(config, shards: str, out: Path):
    return pretrain(config, [shards], str(out), lambda share, text: None)


def weights(out: Path) -> list[bytes]:
    checkpoint = Path(find_checkpoint(str(out)))
    return [(checkpoint / f"{name}.safetensors").read_bytes() for name in ("model", "average")]


def test_n_plus_m_steps_equal_n_save_load_m(shards, tmp_path):
    whole = run(micro(17), shards, tmp_path / "whole")
    # A budget of 17 steps, left after 10 (in the second epoch of 6 batches) and taken up again.
    stop_after(shards, tmp_path / "parts", steps=10)
    parts = run(micro(17), shards, tmp_path / "parts")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    losses = [[row["loss"] for row in result.log if "loss" in row] for result in (whole, parts)]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert whole.rows == parts.rows
    judged = [(tmp_path / name / "held_out.jsonl").read_text() for name in ("whole", "parts")]
    assert judged[0] == judged[1]
    steps = [json.loads(line)["step"] for line in judged[0].splitlines()]
    assert sorted(set(steps)) == [0, 17] and steps.count(0) == steps.count(17) == len(whole.rows)

    again = run(micro(17, "evaluate.max_pairs=8"), shards, tmp_path / "parts")
    lines = (tmp_path / "parts/held_out.jsonl").read_text().splitlines()
    written = [row for row in map(json.loads, lines) if row["step"] == 17]
    assert written == [{**row, "step": 17} for row in again.rows] and again.rows != whole.rows


def stop_after(shards: str, out: Path, steps: int) -> None:
    class Stop(Exception):
        pass

    def show(share: float, text: str) -> None:
        if text.startswith(f"step {steps + 5} "):
            raise Stop

    with pytest.raises(Stop):
        pretrain(micro(17), [shards], str(out), show)
    assert find_checkpoint(str(out)).endswith(f"{steps:08d}")


@pytest.mark.slow
def test_kill_9_in_mid_epoch_changes_nothing(shards, tmp_path):
    run(micro(60), shards, tmp_path / "whole")
    command = [
        sys.executable, "-m", "training", "pretrain", "--shards", shards, "--steps", "60",
        "--out", str(tmp_path / "killed"), *(f"--set={setting}" for setting in MICRO),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "step 25 " in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    found = int(find_checkpoint(str(tmp_path / "killed"))[-8:])
    assert found % 5 == 0 and 20 <= found < 60
    run(micro(60), shards, tmp_path / "killed")
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "killed")


def log_of(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.mark.slow
def test_the_second_image_is_used_soon(tmp_path):
    url = write_toy_shards(tmp_path / "set", (400,) * 4, val_size=100, crop_px=40)
    result = run(
        micro(350, "loader.batch_size=32", "optimizer.base_lr=2e-2"), url, tmp_path / "run"
    )
    values = {
        (row["metric"], row["kind"]): row["value"]
        for row in result.rows
        if row.get("patches") == "foreground"
    }
    for kind in ("all", "cross_view", "cross_pose"):
        true, wrong, none = (
            values[f"loss_{second}_second", kind] for second in ("true", "wrong", "no")
        )
        assert true < 0.9 * wrong and true < 0.9 * none, values
    logged = [row["loss"] for row in result.log if "loss" in row]
    assert logged[-1] < 0.85 * logged[0]


def test_a_finished_run_does_no_more_steps(shards, tmp_path):
    first = run(micro(6), shards, tmp_path)
    second = run(micro(6), shards, tmp_path)
    assert (first.step, second.step) == (6, 6)
    assert first.log == second.log and first.rows == second.rows


def test_minutes_end_a_run_and_the_rate_goes_down_with_them(shards, tmp_path):
    config = micro(1)
    config = replace(config, run=replace(config.run, num_steps=None, minutes=0.05, log_every=1))
    result = run(config, shards, tmp_path)
    rows = [row for row in result.log if "learning_rate" in row]
    assert rows[-1]["used"] == 1.0 and result.step == len(rows) > 3
    assert rows[-1]["learning_rate"] < max(row["learning_rate"] for row in rows) / 2


def test_a_loss_that_is_not_finite_stops_before_the_step(shards, tmp_path, monkeypatch):
    def broken(*arguments):
        seen.append(1)
        return original(*arguments) * (math.nan if len(seen) == 6 else 1)

    original, seen = loss_module.weigh_kinds, []
    monkeypatch.setattr(loss_module, "weigh_kinds", broken)
    with pytest.raises(ValueError, match=r"step 6 has a loss of nan.* [0-9a-f]{16} in .*\.tar sa"):
        run(micro(9), shards, tmp_path)
    assert find_checkpoint(str(tmp_path)).endswith("step-00000005")


def test_another_config_does_not_continue_a_run(shards, tmp_path):
    run(micro(5), shards, tmp_path)
    with pytest.raises(ValueError, match=r"masking\.ratio 0\.9 -> 0\.5"):
        run(micro(9, "masking.ratio=0.5"), shards, tmp_path)


def test_damaged_samples_are_logged_once_by_name(tmp_path):
    url = write_toy_shards(tmp_path / "set", (50, 50), crop_px=40)
    shard = tmp_path / "set" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\x00\x00\x00", 1))
    result = run(micro(20), url, tmp_path / "run")
    named = [row["damaged"] for row in result.log if "damaged" in row]
    assert len(named) == 1 and "train-000000.tar sample 0" in named[0]
    assert result.rows == [] and result.picture is None  # no held-out pairs in this set


def test_configs_survive_the_checkpoint():
    for preset in PRESETS.values():
        config = override(preset(), ["loader.kinds=cross_view=1,cross_pose=3"])
        assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_learning_rate_follows_the_published_schedule():
    config = OptimizerConfig()  # v1: warm-up 40, cosine over 800, stopped at 400 epochs
    for epoch in range(0, 401, 20):
        rising = 3e-4 * epoch / 40
        falling = 3e-4 * 0.5 * (1 + math.cos(math.pi * (epoch - 40) / 760))
        expected = rising if epoch < 40 else falling
        assert learning_rate(config, 512, epoch / 400) == pytest.approx(expected)


def test_weight_decay_spares_biases_and_norms():
    model = Croco(micro(1).model)
    decayed, spared = make_optimizer(model, OptimizerConfig()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.05 and spared["weight_decay"] == 0
    assert all(names[id(p)].endswith(("bias", "weight")) and p.ndim == 1 for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_wrong_partners_show_somebody_else():
    metas = [
        {"identity_id": identity, "kind": kind, "dataset": dataset}
        for identity, kind, dataset in [
            ("a", "cross_view", "x"), ("a", "cross_view", "x"), ("b", "cross_view", "x"),
            ("c", "cross_pose", "x"), ("d", "cross_pose", "y"), ("e", "cross_pose", "x"),
        ]
    ]  # fmt: skip
    assert wrong_partners(metas) == [2, 2, 0, 5, 5, 3]
    assert wrong_partners(metas[:2]) is None


def test_somebody_in_two_captures_is_no_wrong_partner():
    metas = [
        {"identity_id": identity, "kind": "cross_view", "dataset": "x", "person_id": person}
        for identity, person in [("a", "anna"), ("b", "anna"), ("c", "ben"), ("d", "d")]
    ]
    assert wrong_partners(metas) == [2, 2, 3, 0]
    assert wrong_partners(metas[:2]) is None


def test_the_command_line_trains_evaluates_and_draws(shards, tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = [
        "pretrain",
        "--shards",
        shards,
        "--steps",
        "5",
        "--out",
        out,
        *(f"--set={setting}" for setting in MICRO),
    ]
    assert main(build_parser(), arguments) == 0
    printed = capsys.readouterr()
    assert "step 5" in printed.err and "held-out loss" in printed.out
    picture = cv2.imread(str(tmp_path / "run/pictures/completions-00000005.png"))
    assert picture.shape[0] > 8 * 192 and picture.shape[1] > 4 * 192

    arguments = ["evaluate", "--checkpoint", out, "--shards", shards, "--format", "json"]
    assert main(build_parser(), arguments) == 0
    last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # A run that keeps a mean of the weights judges that.
    arguments += ["--average", "--picture", str(tmp_path / "again.png")]
    assert main(build_parser(), arguments) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["metric"] == last[0]["metric"] and rows[0]["value"] != last[0]["value"]
    written = map(json.loads, (tmp_path / "run/held_out.jsonl").read_text().splitlines())
    assert [row["value"] for row in rows] == [row["value"] for row in written if row["step"] == 5]
    losses = [row for row in rows if "loss" in row["metric"]]
    matches = [row for row in rows if "correspondence" in row["metric"]]
    assert len(losses) == 3 * 3 * 2 and len(matches) == 3 * 3 * 3 and rows == losses + matches
    assert (tmp_path / "again.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--shards", "nowhere"], "nowhere is not a shard set"),
        (["pretrain", "--shards", "x", "--preset", "huge"], "unknown preset 'huge'; choose one of"),
        (["pretrain", "--shards", "x", "--set", "a.b=1"], "unknown config key"),
        (["pretrain", "--shards", "x", "--minutes", "0"], "run.minutes must be above 0"),
        (["pretrain", "--shards", "x", "--method", "nix"], "unknown method 'nix'; choose one of"),
        (["pretrain", "--shards", "x", "--set", "run.log_every=0"], "must be 1 step or more"),
        (["pretrain", "--shards", "x", "--set", "run.keep_every=0"], "run.keep_every must be 1"),
        (["evaluate", "--checkpoint", "nowhere", "--shards", "x"], "no checkpoint in nowhere"),
    ],
)
def test_a_users_mistake_is_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(build_parser(), arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as error:
        main(build_parser(), ["pretrain"])
    assert error.value.code == 2


@pytest.mark.parametrize("command", ["pretrain", "evaluate", "presets"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main(build_parser(), [command, "--help"])
    assert "Example:\n  python -m training" in capsys.readouterr().out


def test_presets_are_listed_and_shown(capsys):
    assert main(build_parser(), ["presets"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PRESETS)
    assert main(build_parser(), ["presets", "croco_v1_base"]) == 0
    assert "model.positions = sincos" in capsys.readouterr().out
