"""What all mesh tasks are configured by."""

from dataclasses import dataclass
from typing import Literal

from training.tasks.mesh_camera import CameraKind

Size = Literal["tiny", "small", "base"]  # of an encoder


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """The body, its vertices, and where it is."""

    body: str = "anny"  # one of `training/bodies/registry.py`
    folder: str = ""  # of the licensed files, where the body has such
    num_vertices: int = 431  # in the losses; figures are of all vertices
    camera: CameraKind = "weak"  # what the head says of place and size, see `mesh_camera.py`
    mean_scale: float = 0.45  # sides of the image that a metre has, where training starts
    assumed_focal: float = 4.0  # in sides of the image, of images whose camera is unknown
    other_bodies: bool = False  # use only the keypoints of bodies of a model that is not there

    def __post_init__(self) -> None:
        for name in ("num_vertices", "mean_scale", "assumed_focal"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} must be above 0, got {getattr(self, name)}")
