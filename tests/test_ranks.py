"""Several ranks: the same losses as one with a batch of their sizes together, and resuming to the
sample wherever a run was killed.
"""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.launch import train, train_until
from tests.toy_shards import write_toy_shards
from training.checkpoint import find_checkpoint

STEPS = 18  # with 12 steps an epoch
TOGETHER = 16  # pairs of all ranks in a step


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_toy_shards(
        tmp_path_factory.mktemp("toy") / "set", (50, 90, 52), val_size=20, crop_px=48
    )


@pytest.fixture(scope="module")
def alone(shards, tmp_path_factory) -> Path:
    """One process, with the whole batch."""
    out = tmp_path_factory.mktemp("alone")
    train(shards, out, STEPS, f"loader.batch_size={TOGETHER}")
    return out


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def pairs(out: Path, ranks: int = 1) -> list[list[str]]:
    """The ids of every step, those of the ranks one after the other."""
    files = [(out / f"samples-rank{rank}.jsonl").read_text().splitlines() for rank in range(ranks)]
    steps = [[json.loads(line) for line in lines] for lines in zip(*files, strict=True)]
    assert [[row["step"] for row in rows] for rows in steps] == [
        [step] * ranks for step in range(1, STEPS + 1)
    ]
    return [[pair for row in rows for pair in row["samples"]] for rows in steps]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(Path(find_checkpoint(str(out))) / "model.safetensors")


def assert_same_run(out: Path, alone: Path, ranks: int) -> None:
    assert pairs(out, ranks) == pairs(alone)
    # Sums are taken in another order: 1e-5 of a loss around 1, and steps of 1e-3 add it up.
    assert losses(out) == pytest.approx(losses(alone), rel=1e-4)
    expected = weights(alone)
    for name, weight in weights(out).items():
        torch.testing.assert_close(weight, expected[name], rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_ranks_equal_one_with_twice_the_batch(shards, alone, tmp_path, strategy):
    half = f"loader.batch_size={TOGETHER // 2}"
    train(shards, tmp_path, STEPS, half, f"run.strategy={strategy}", ranks=2)
    assert_same_run(tmp_path, alone, ranks=2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("ranks", [1, 2])
def test_kill_9_loses_and_repeats_no_sample(shards, alone, tmp_path, workers, ranks):
    settings = (f"loader.batch_size={TOGETHER // ranks}", f"loader.num_workers={workers}")
    kill = signal.SIGKILL
    code = train_until("step 8 ", kill, shards, tmp_path, STEPS, *settings, ranks=ranks)
    assert code == -kill
    assert find_checkpoint(str(tmp_path)).endswith("step-00000005")
    train(shards, tmp_path, STEPS, *settings, ranks=ranks)
    if ranks == 1:
        assert losses(tmp_path) == losses(alone) and pairs(tmp_path) == pairs(alone)
        assert all(torch.equal(w, weights(alone)[n]) for n, w in weights(tmp_path).items())
    else:
        assert_same_run(tmp_path, alone, ranks)


@pytest.mark.slow
def test_fsdp_continues_from_what_ddp_saved(shards, alone, tmp_path):
    """A checkpoint does not know how the model was divided."""
    half = f"loader.batch_size={TOGETHER // 2}"
    mean = ("optimizer.ema=0.9", "optimizer.clip_grad_norm=100")
    train_until("step 8 ", signal.SIGKILL, shards, tmp_path, STEPS, half, *mean, ranks=2)
    train(shards, tmp_path, STEPS, half, *mean, "run.strategy=fsdp", ranks=2)
    assert_same_run(tmp_path, alone, ranks=2)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_sigterm_saves_then_exits(shards, alone, tmp_path, ranks):
    size, workers = f"loader.batch_size={TOGETHER // ranks}", "loader.num_workers=2"
    settings = (size, workers, "run.checkpoint_every=1000")
    code = train_until("step 3 ", signal.SIGTERM, shards, tmp_path, STEPS, *settings, ranks=ranks)
    assert code != 0 and (ranks > 1 or code == 128 + signal.SIGTERM)
    saved = int(find_checkpoint(str(tmp_path))[-8:])
    assert 3 <= saved < STEPS
    train(shards, tmp_path, STEPS, *settings, ranks=ranks)
    assert_same_run(tmp_path, alone, ranks)
