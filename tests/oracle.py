"""A task whose model answers what a test tells it, in a checkpoint like any other's."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from catalog.config import to_dict
from training import checkpoint
from training.distributed import Ranks
from training.finetuning.config import FinetuneConfig, make_config
from training.finetuning.model import FinetunedModel
from training.tasks import registry

IMAGE_PX = 64  # of the tiny preset
TETRAHEDRON = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    num_images: int = 1
    parts: tuple[str, ...] = ("body",)


class Oracle:
    """Answers `says`, one for each person of a batch, or else a mesh a little off the axis."""

    name = "oracle"
    mirror_left = True
    says: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[np.ndarray]] = []  # the images of each batch

    def __init__(self, config: OracleConfig) -> None:
        self.num_images, self.parts = config.num_images, config.parts

    def make_head(self, encoder: Any) -> nn.Module:
        return _Head()

    def answer(self, outputs: dict[str, torch.Tensor], row: int) -> dict[str, Any]:
        if row < len(self.says):
            return self.says[row]
        vertices = np.array([[0, -0.5, 3], [0.3, 0.5, 3], [-0.3, 0.5, 3], [0, 0, 2.7]])
        return {
            "vertices_m": vertices,
            "faces": TETRAHEDRON,
            "joints_m": vertices[:2],
            "joint_names": ("head", "foot"),
        }


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, features: Any) -> dict[str, torch.Tensor]:
        return {"row": self.scale * torch.arange(len(features.tokens_BNC))}


def register(patch: pytest.MonkeyPatch) -> None:
    """Make `oracle` one of the tasks."""
    module = ModuleType("training.tasks.oracle")
    module.__dict__.update(Oracle=Oracle, config_for=lambda size: OracleConfig())
    patch.setitem(sys.modules, "training.tasks.oracle", module)
    patch.setattr(registry, "TASKS", {**registry.TASKS, "oracle": "oracle:Oracle"})
    patch.setattr(Oracle, "says", [])


def save_model(folder: Path, **task: Any) -> str:
    """A checkpoint of an oracle with these settings of the task."""
    config: FinetuneConfig = make_config("oracle", "tiny")
    config.__dict__["task"] = OracleConfig(**task)
    model = FinetunedModel(config, registry.make_task("oracle", config.task))
    return save(folder, model, to_dict(config))


def save(folder: Path, model: nn.Module, config: dict[str, Any]) -> str:
    optimizer = torch.optim.AdamW(model.parameters())
    progress = checkpoint.Progress(step=1, elapsed_s=1.0, loader={}, config=config)
    state = checkpoint.TrainingState(model=model, optimizer=optimizer)
    return checkpoint.save_checkpoint(
        str(folder), state, progress, checkpoint.KeepConfig(), Ranks()
    )
