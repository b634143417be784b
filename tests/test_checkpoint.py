"""Checkpoints hold everything, appear whole or not at all, and old ones go."""

import json
from pathlib import Path

import pytest
import torch

from training import checkpoint
from training.distributed import Ranks
from training.ema import WeightAverage
from training.models.croco import Croco, CrocoConfig
from training.optimizer import OptimizerConfig, make_optimizer, set_learning_rate

KEEP = checkpoint.KeepConfig(last=2)
CONFIG = CrocoConfig(
    image_px=16, patch_px=8, encoder_depth=1, encoder_width=16, encoder_heads=1,
    decoder_depth=1, decoder_width=16, decoder_heads=1,
)  # fmt: skip


def make_run(seed: int = 0):
    torch.manual_seed(seed)
    model = Croco(CONFIG)
    optimizer = make_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 0.01)
    return model, optimizer


def train(model: Croco, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Steps on random images: they repeat only if the random state does."""
    visible, masked = torch.tensor([[0]]), torch.tensor([[1, 2, 3]])
    for _ in range(steps):
        optimizer.zero_grad()
        a, b = torch.randn(2, 1, 3, 16, 16)
        model(a, b, visible, masked).loss_BM.mean().backward()
        optimizer.step()


def save(folder: Path, step: int, model, optimizer, keep=KEEP, average=None) -> str:
    progress = checkpoint.Progress(step=step, elapsed_s=1.5, loader={"epoch": 1}, config={"a": 2})
    state = checkpoint.TrainingState(model=model, optimizer=optimizer, average=average)
    return checkpoint.save_checkpoint(str(folder), state, progress, keep, Ranks())


def test_training_continues_bit_for_bit(tmp_path):
    model, optimizer = make_run()
    train(model, optimizer, 3)
    url = save(tmp_path, 3, model, optimizer)
    train(model, optimizer, 4)

    again, optimizer_again = make_run(seed=99)
    checkpoint.load_weights(url, again)
    state = checkpoint.TrainingState(model=again, optimizer=optimizer_again)
    checkpoint.load_training_state(url, state)
    train(again, optimizer_again, 4)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_progress_comes_back(tmp_path):
    url = save(tmp_path, 7, *trained_run())
    expected = checkpoint.Progress(step=7, elapsed_s=1.5, loader={"epoch": 1}, config={"a": 2})
    assert checkpoint.read_progress(url) == expected


def test_only_the_newest_are_kept(tmp_path):
    model, optimizer = trained_run()
    for step in (1, 2, 10):
        save(tmp_path, step, model, optimizer)
    names = [Path(url).name for url in checkpoint.list_checkpoints(str(tmp_path))]
    assert names == ["step-00000002", "step-00000010"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_multiples_of_keep_every_stay_for_good(tmp_path):
    model, optimizer = trained_run()
    keep = checkpoint.KeepConfig(last=1, every=4)
    for step in range(1, 11):
        save(tmp_path, step, model, optimizer, keep)
    steps = [checkpoint.step_of(url) for url in checkpoint.list_checkpoints(str(tmp_path))]
    assert steps == [4, 8, 10]


def test_the_running_mean_comes_back(tmp_path):
    model, optimizer = make_run()
    average = WeightAverage(model, 0.5)
    train(model, optimizer, 2)
    average.update()
    url = save(tmp_path, 2, model, optimizer, average=average)

    again, optimizer_again = make_run(seed=99)
    state = checkpoint.TrainingState(
        model=again, optimizer=optimizer_again, average=WeightAverage(again, 0.5)
    )
    checkpoint.load_training_state(url, state)
    mean = Croco(CONFIG)
    checkpoint.load_weights(url, mean, average=True)
    for name, parameter in mean.named_parameters():
        assert torch.equal(parameter, average.means[name])
        assert torch.equal(state.average.means[name], average.means[name])


def test_a_mean_that_was_not_kept_is_missed(tmp_path):
    url = save(tmp_path, 1, *trained_run())
    with pytest.raises(ValueError, match=r"no average of weights.*optimizer\.ema"):
        checkpoint.load_weights(url, Croco(CONFIG), average=True)


def test_an_interrupted_save_leaves_the_older_one(tmp_path, monkeypatch):
    model, optimizer = trained_run()
    older = save(tmp_path, 1, model, optimizer)

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.storage, "write_text", fail)
        save(tmp_path, 2, model, optimizer)
    assert checkpoint.find_checkpoint(str(tmp_path)) == older
    newer = save(tmp_path, 2, model, optimizer)
    assert checkpoint.find_checkpoint(str(tmp_path)) == newer
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_a_folder_and_a_checkpoint_are_all_found(tmp_path):
    url = save(tmp_path / "checkpoints", 5, *trained_run())
    for place in (tmp_path, tmp_path / "checkpoints", url):
        assert checkpoint.find_checkpoint(str(place)) == url


def test_nothing_to_find_is_said(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint in"):
        checkpoint.find_checkpoint(str(tmp_path / "nowhere"))


def test_another_format_is_refused(tmp_path):
    url = Path(save(tmp_path, 5, *trained_run()))
    state = json.loads((url / "checkpoint.json").read_text())
    (url / "checkpoint.json").write_text(json.dumps({**state, "format": 99}))
    with pytest.raises(ValueError, match="has format 99"):
        checkpoint.read_progress(str(url))


@pytest.mark.parametrize("text", ['{"format": 2, "st', "[]", '{"format": 2, "step": 5}'])
def test_a_damaged_file_is_named(text, tmp_path):
    url = Path(save(tmp_path, 5, *trained_run()))
    (url / "checkpoint.json").write_text(text)
    with pytest.raises(ValueError, match=r"step-00000005/checkpoint\.json is damaged"):
        checkpoint.read_progress(str(url))


def trained_run():
    model, optimizer = make_run()
    train(model, optimizer, 1)
    return model, optimizer
