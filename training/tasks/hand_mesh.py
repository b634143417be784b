"""Recover the mesh of one hand, by its model's parameters or by its vertices. Left hands come
mirrored, as right ones; whoever shows an answer for one mirrors it back (`prediction/crops.py`).
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from torch import Tensor

from training.tasks import body_mesh, body_mesh_free
from training.tasks.body_mesh import BodyMesh, BodyMeshConfig
from training.tasks.body_mesh_free import BodyMeshFree, BodyMeshFreeConfig
from training.tasks.mesh_config import Size
from training.tasks.mesh_metrics import hand_figures
from training.tasks.mesh_points import MeshPoints
from training.tasks.mesh_task import MeshTask
from training.tasks.task import Targets

MEAN_SCALE = 4.5  # sides of the image that a metre has: a hand of 0.18 m fills most of it
SMALLER = 6.0  # times than a body a hand is, and so are errors in metres
IN_METRES = ("coarse", "vertices", "joints")
MOST_VERTICES = 512  # in the losses: a hand has fewer than a body


@dataclass(frozen=True, kw_only=True)
class HandMeshConfig:
    """Which of the two ways, and both ways' configs."""

    form: Literal["model", "free"] = "model"  # by a body model's parameters, or vertex by vertex
    model: BodyMeshConfig = field(default_factory=lambda: _of_hand(BodyMeshConfig()))
    free: BodyMeshFreeConfig = field(default_factory=lambda: _of_hand(BodyMeshFreeConfig()))


def config_for(size: Size) -> HandMeshConfig:
    """Heads that suit encoders of a size."""
    return HandMeshConfig(
        model=_of_hand(body_mesh.config_for(size)), free=_of_hand(body_mesh_free.config_for(size))
    )


def make_hand_mesh(config: HandMeshConfig) -> MeshTask:
    """The task `hand_mesh`."""
    return HandByModel(config.model) if config.form == "model" else HandFree(config.free)


class _Hand(MeshTask):
    """What is different with hands, whatever the way."""

    name = "hand_mesh"
    parts = ("left_hand", "right_hand")
    mirror_left = True
    headline = "pa_pve_mm"

    def figures(self, points: MeshPoints, truth: MeshPoints, targets: Targets) -> dict[str, Tensor]:
        """FreiHAND's figures too."""
        shared = super().figures(points, truth, targets)
        return {**shared, **hand_figures(points, truth, targets, self.roots)}


class HandByModel(_Hand, BodyMesh):
    """By parameters."""


class HandFree(_Hand, BodyMeshFree):
    """By vertices."""


Config = TypeVar("Config", BodyMeshConfig, BodyMeshFreeConfig)


def _of_hand(config: Config) -> Config:
    few = min(config.num_vertices, MOST_VERTICES)
    in_metres = [name for name in IN_METRES if hasattr(config.factors, name)]
    times = {name: SMALLER * getattr(config.factors, name) for name in in_metres}
    return replace(
        config,
        body="anny_hand",
        mean_scale=MEAN_SCALE,
        num_vertices=few,
        factors=replace(config.factors, **times),
    )
