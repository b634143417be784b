"""Recover a body's vertices from one image without its parameters, coarse to fine; joints are means
of vertices, by a fixed matrix.

Shapes: B samples, V vertices in the losses, C coarse ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.bodies.levels import Levels, make_levels
from training.distributed import CPU
from training.heads.vertex_head import VertexHead, VertexHeadConfig
from training.tasks.mesh_camera import mean_camera, root_position
from training.tasks.mesh_config import MeshConfig, Size
from training.tasks.mesh_points import MeshPoints
from training.tasks.mesh_sizes import DECODERS, VERTICES
from training.tasks.mesh_task import MeshTask
from training.tasks.task import EncoderSize, Outputs, Targets

COARSE = {"tiny": (128, 32), "small": (256, 64), "base": (431, 108)}  # vertices, groups


@dataclass(frozen=True, kw_only=True)
class FreeFactors:
    """What a unit of each term counts in the loss; see `mesh_losses.py`."""

    coarse: float = 10.0  # as `vertices`, of the coarse ones
    vertices: float = 10.0  # mean distance along each axis in metres, around the root
    joints: float = 10.0  # the same of keypoints
    reprojection: float = 5.0  # log(1 + distance) of projected keypoints, in sides of the image
    camera: float = 2.0  # difference of the root's log scale and place in the image


@dataclass(frozen=True, kw_only=True)
class BodyMeshFreeConfig(MeshConfig):
    """A mesh task whose head gives vertices."""

    head: VertexHeadConfig = field(default_factory=VertexHeadConfig)
    factors: FreeFactors = field(default_factory=FreeFactors)


def config_for(size: Size) -> BodyMeshFreeConfig:
    """A head that suits encoders of a size."""
    num_coarse, num_groups = COARSE[size]
    head = VertexHeadConfig(num_coarse=num_coarse, num_groups=num_groups, decoder=DECODERS[size])
    return BodyMeshFreeConfig(num_vertices=VERTICES[size], head=head)


class BodyMeshFree(MeshTask):
    """The task `body_mesh_free`, and what model-free tasks share."""

    name = "body_mesh_free"

    def __init__(self, config: BodyMeshFreeConfig) -> None:
        super().__init__(config)
        self.head_config = config.head
        self.factors: Mapping[str, float] = vars(config.factors)
        self._levels = make_levels(self._few, config.head.num_coarse, config.head.num_groups)

    def levels(self, device: torch.device) -> Levels:
        """The levels of the mesh."""
        self._levels = self._levels.to(device)
        return self._levels

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head: see `VertexHead` for its outputs."""
        start = mean_camera(self.config.camera, self.config.mean_scale)
        return VertexHead(self.head_config, encoder, self.levels(CPU), start)

    def points(self, outputs: Outputs, shares_from_cam_B33: Tensor, whole: bool) -> MeshPoints:
        """The vertices, of which the body model's fixed matrix makes the whole mesh."""
        fine_BV3 = outputs["fine"]
        keypoints_BK3 = self.levels(fine_BV3.device).keypoints_from_fine_KV @ fine_BV3
        vertices_BV3 = self.few(fine_BV3.device).upsample(fine_BV3) if whole else fine_BV3
        root_B3 = root_position(outputs["camera"], shares_from_cam_B33, self.config.camera)
        return MeshPoints(vertices_BV3, keypoints_BK3, root_B3)

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """See Task."""
        return {"coarse": targets["has_body"], **super().weights(targets)}

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """See Task."""
        coarse_C = self.levels(targets["shape"].device).coarse_C
        truth = self.truth(targets, whole=False)
        off_BC3 = outputs["coarse"] - truth.vertices_BV3[:, coarse_C]
        return {
            "coarse": off_BC3.abs().mean(dim=(1, 2)),
            **self.shared(outputs, targets, truth),
        }
