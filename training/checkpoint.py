"""Checkpoints: one folder each, safetensors and JSON, that appears whole or not at all.

`model.safetensors` holds the weights, `average.safetensors` their running mean where one is kept,
`training.safetensors` the optimizer's moments and the random states, `checkpoint.json` the step,
the loader's position, the time used, the config and the shard sets. Nothing is pickled. What is
divided among ranks is gathered first: a checkpoint does not depend on how many there were.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from catalog import storage
from training.distributed import Ranks, divide_like, gather_whole
from training.ema import WeightAverage
from training.models.fit import check_fit
from training.models.tensors import read_tensors

FORMAT = 2
_NAME = re.compile(r"step-\d{8}$")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; plain values."""

    step: int  # steps done
    elapsed_s: float  # seconds of the run over all restarts, evaluation included
    loader: dict[str, Any]  # position of the next batch
    config: dict[str, Any]  # resolved config of the run
    shards: list[dict[str, Any]] = field(default_factory=list)  # what each shard set's index says
    world_size: int = 1  # ranks that trained together


@dataclass(frozen=True, kw_only=True)
class KeepConfig:
    """Which checkpoints stay when newer ones are written."""

    last: int = 2  # the newest ones
    every: int | None = None  # steps: those of multiples of it stay for good


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """All that a run changes: what a checkpoint holds besides its progress."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None = None


def save_checkpoint(
    folder: str, state: TrainingState, progress: Progress, keep: KeepConfig, ranks: Ranks
) -> str:
    """Write `folder/step-<step>` on a local disk, delete older ones that need not stay, return the
    new one's path. All ranks must call; rank 0 writes.
    """
    final = storage.join(folder, f"step-{progress.step:08d}")
    weights = _gather(state.model.state_dict())
    average = _gather(state.average.means) if state.average else None
    training = _gather(_training_tensors(state.model, state.optimizer))
    if not ranks.is_main:
        return final
    for left in Path(folder).glob(f"{storage.TEMPORARY_PREFIX}step-*"):  # of a save that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = storage.join(folder, f"{storage.TEMPORARY_PREFIX}step-{progress.step:08d}")
    storage.write_bytes(storage.join(temporary, "model.safetensors"), _pack(weights))
    if average is not None:
        storage.write_bytes(storage.join(temporary, "average.safetensors"), _pack(average))
    storage.write_bytes(storage.join(temporary, "training.safetensors"), _pack(training))
    text = json.dumps({"format": FORMAT, **progress.__dict__}, indent=1) + "\n"
    storage.write_text(storage.join(temporary, "checkpoint.json"), text)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    for old in list_checkpoints(folder)[: -keep.last]:
        if keep.every is None or step_of(old) % keep.every:
            shutil.rmtree(old)
    return final


def step_of(checkpoint: str) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint[-8:])


def list_checkpoints(folder: str) -> list[str]:
    """Return the checkpoints below a folder, oldest first."""
    return [url for url in storage.list_folders(folder) if _NAME.search(url)]


def find_checkpoint(url: str) -> str:
    """Return `url` when it is a checkpoint itself, else the newest one of the run in it. Raises
    ValueError for none.
    """
    if storage.exists(storage.join(url, "checkpoint.json")):
        return url
    found = list_checkpoints(storage.join(url, "checkpoints")) or list_checkpoints(url)
    if not found:
        raise ValueError(
            f"no checkpoint in {url}: expected checkpoint.json or checkpoints/step-<number> there"
        )
    return found[-1]


def read_progress(checkpoint: str) -> Progress:
    """Read how far a checkpoint's run was. Raises ValueError for another format version, or a file
    that is damaged.
    """
    url = storage.join(checkpoint, "checkpoint.json")
    try:
        state = json.loads(storage.read_text(url))
        version = state.pop("format", None)
        if version == FORMAT:
            return Progress(**state)
    except (ValueError, AttributeError, TypeError) as error:  # no JSON, no object, other keys
        raise ValueError(
            f"{url} is damaged ({error}): delete that checkpoint's folder to use the one before"
        ) from None
    raise ValueError(f"{checkpoint} has format {version!r} but this version reads {FORMAT}")


def load_weights(checkpoint: str, model: nn.Module, *, average: bool = False) -> None:
    """Fill a model that is not divided among ranks with a checkpoint's weights, or their mean.

    Raises ValueError when the mean is asked for and the run kept none.
    """
    url = storage.join(checkpoint, "average.safetensors" if average else "model.safetensors")
    if average and not storage.exists(url):
        raise ValueError(f"{checkpoint} has no average of weights: its run had optimizer.ema 0")
    weights, expected = _unpack(url), model.state_dict()
    if average:  # buffers are not averaged; the model has them already
        trained = {name for name, _ in model.named_parameters()}
        expected = {name: tensor for name, tensor in expected.items() if name in trained}
    check_fit(weights, expected, url)
    model.load_state_dict(weights, strict=not average)


def load_training_state(checkpoint: str, state: TrainingState) -> None:
    """Fill the optimizer's moments, the running mean and this process's random states."""
    tensors = _unpack(storage.join(checkpoint, "training.safetensors"))
    for name, parameter in state.model.named_parameters():
        if f"step/{name}" not in tensors:  # never had a gradient: frozen, or unused by the head
            continue
        moments = {
            key: divide_like(tensors[f"{key}/{name}"], parameter)
            for key in ("exp_avg", "exp_avg_sq")
        }
        step = tensors[f"step/{name}"].to(parameter.device)
        state.optimizer.state[parameter] = {"step": step, **moments}
    if state.average:
        means = _unpack(storage.join(checkpoint, "average.safetensors"))
        for name, mean in state.average.means.items():
            mean.copy_(divide_like(means[name], mean))
    torch.set_rng_state(tensors["random/cpu"])
    if torch.cuda.is_available() and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"])


def whole_weights(model: nn.Module, average: WeightAverage | None) -> dict[str, Tensor]:
    """A model's weights, or their mean where one is kept, gathered; all ranks must call."""
    means = average.means if average else {}
    return _gather({**model.state_dict(), **means})


def _training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    return tensors


def _gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: gather_whole(value.detach()) for name, value in tensors.items()}


def _pack(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})


def _unpack(url: str) -> dict[str, Tensor]:
    return read_tensors(url)
