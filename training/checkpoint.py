"""Checkpoints: one folder each, safetensors and JSON, that appears whole or not at all.

`model.safetensors` holds the weights, `training.safetensors` the optimizer's moments and the random
states, `checkpoint.json` the step, the loader's position, the time used and the config. Nothing is
pickled.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from catalog import storage

FORMAT = 1
_NAME = re.compile(r"step-\d{8}$")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; plain values."""

    step: int  # steps done
    elapsed_s: float  # seconds spent in them, over all restarts
    loader: dict[str, Any]  # position of the next batch
    config: dict[str, Any]  # resolved config of the run


def save_checkpoint(
    folder: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep_last: int,
) -> str:
    """Write `folder/step-<step>` on a local disk, delete all but the newest `keep_last`, return the
    new one's path.
    """
    final = storage.join(folder, f"step-{progress.step:08d}")
    temporary = storage.join(folder, f"{storage.TEMPORARY_PREFIX}step-{progress.step:08d}")
    shutil.rmtree(temporary, ignore_errors=True)
    state = {"format": FORMAT, **progress.__dict__}
    storage.write_bytes(storage.join(temporary, "model.safetensors"), _pack(model.state_dict()))
    storage.write_bytes(
        storage.join(temporary, "training.safetensors"), _pack(_training_state(model, optimizer))
    )
    storage.write_text(
        storage.join(temporary, "checkpoint.json"), json.dumps(state, indent=1) + "\n"
    )
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    for old in list_checkpoints(folder)[:-keep_last]:
        shutil.rmtree(old)
    return final


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
    """Read how far a checkpoint's run was. Raises ValueError for another format version."""
    state = json.loads(storage.read_text(storage.join(checkpoint, "checkpoint.json")))
    version = state.pop("format", None)
    if version != FORMAT:
        raise ValueError(f"{checkpoint} has format {version!r} but this version reads {FORMAT}")
    return Progress(**state)


def load_weights(checkpoint: str, model: nn.Module) -> None:
    """Fill the model with a checkpoint's weights."""
    model.load_state_dict(_unpack(storage.join(checkpoint, "model.safetensors")))


def load_training_state(
    checkpoint: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Fill the optimizer's moments and the random states of this process from a checkpoint."""
    tensors = _unpack(storage.join(checkpoint, "training.safetensors"))
    for name, parameter in model.named_parameters():
        state = {key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {
            key: value.to(parameter.device) for key, value in state.items()
        }
    torch.set_rng_state(tensors["random/cpu"])
    if torch.cuda.is_available() and "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"])


def _training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    return tensors


def _pack(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save(
        {name: value.detach().contiguous() for name, value in tensors.items()}
    )


def _unpack(url: str) -> dict[str, Tensor]:
    return safetensors.torch.load(storage.read_bytes(url))
