"""Recover the body model's parameters from one image: rotations, shape, and where the body is.

Shapes: B samples, J joints, S shape values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from catalog.model_files import GENDERS
from training.bodies.rotations import matrix_from_6d, matrix_to_axis_angle
from training.heads.body_head import BodyHead, BodyHeadConfig
from training.tasks.mesh_camera import mean_camera, root_position
from training.tasks.mesh_config import MeshConfig, Size
from training.tasks.mesh_points import MeshPoints
from training.tasks.mesh_sizes import DECODERS, VERTICES
from training.tasks.mesh_task import MeshTask
from training.tasks.task import EncoderSize, Outputs, Targets


@dataclass(frozen=True, kw_only=True)
class ModelFactors:
    """What a unit of each term counts in the loss; see `mesh_losses.py`."""

    orientation: float = 2.0  # mean squared difference of the root's matrix' entries
    rotations: float = 2.0  # the same of all other joints' matrices
    shape: float = 1.0  # mean squared difference
    vertices: float = 10.0  # mean distance along each axis in metres, around the root
    joints: float = 10.0  # the same of keypoints
    reprojection: float = 5.0  # log(1 + distance) of projected keypoints, in sides of the image
    camera: float = 2.0  # difference of the root's log scale and place in the image


@dataclass(frozen=True, kw_only=True)
class BodyMeshConfig(MeshConfig):
    """A mesh task whose head gives the parameters of the body model."""

    head: BodyHeadConfig = field(default_factory=BodyHeadConfig)
    factors: ModelFactors = field(default_factory=ModelFactors)


def config_for(size: Size) -> BodyMeshConfig:
    """A head that suits encoders of a size; tiny ones are trained for minutes."""
    head = BodyHeadConfig(asking="grid" if size == "tiny" else "joints", decoder=DECODERS[size])
    return BodyMeshConfig(num_vertices=VERTICES[size], head=head)


class BodyMesh(MeshTask):
    """The task `body_mesh`, and what model-based tasks share."""

    name = "body_mesh"

    def __init__(self, config: BodyMeshConfig) -> None:
        super().__init__(config)
        self.head_config = config.head
        self.factors: Mapping[str, float] = vars(config.factors)

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head: see `BodyHead` for its outputs."""
        start = mean_camera(self.config.camera, self.config.mean_scale)
        return BodyHead(self.head_config, encoder, self._few, start)

    def points(self, outputs: Outputs, shares_from_cam_B33: Tensor, whole: bool) -> MeshPoints:
        """The posed bodies."""
        device = outputs["shape"].device
        body = self.whole(device) if whole else self.few(device)
        vertices, keypoints = body(matrix_from_6d(outputs["rotations_6d"]), outputs["shape"])
        root_B3 = root_position(outputs["camera"], shares_from_cam_B33, self.config.camera)
        return MeshPoints(vertices, keypoints, root_B3)

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """See Task."""
        has_body_B = targets["has_body"]
        neutral_B = (targets["gender"] == GENDERS.index("neutral")).float()
        return {
            "orientation": has_body_B,
            "rotations": has_body_B,
            # The same shape values make another surface of another gender's model.
            "shape": has_body_B * neutral_B,
            **super().weights(targets),
        }

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """See Task."""
        truth = self.truth(targets, whole=False)
        turned_BJ33 = matrix_from_6d(outputs["rotations_6d"]) - targets["rotations"]
        return {
            "orientation": turned_BJ33[:, 0].square().mean(dim=(1, 2)),
            "rotations": turned_BJ33[:, 1:].square().mean(dim=(1, 2, 3)),
            "shape": (outputs["shape"] - targets["shape"]).square().mean(dim=1),
            **self.shared(outputs, targets, truth),
        }

    @torch.no_grad()
    def answer(
        self, outputs: Outputs, row: int, shares_from_cam_33: Tensor | None = None
    ) -> dict[str, Any]:
        """What all mesh tasks answer, and `pose_rad` (J, 3) axis-angles with `pose_names`, and
        `shape` (S,).
        """
        rotations_J33 = matrix_from_6d(outputs["rotations_6d"][row].float())
        return {
            **super().answer(outputs, row, shares_from_cam_33),
            "body": self.config.body,
            "pose_rad": matrix_to_axis_angle(rotations_J33).cpu().numpy(),
            "pose_names": self._few.joint_names,
            "shape": outputs["shape"][row].float().cpu().numpy(),
        }
