"""What every body model is to the tasks: a function without trained weights from rotations and
shape values to vertices and keypoints, in metres.

The first rotation turns the whole body. Apply the camera's to it and the output is in the camera's
axes (x right, y down, z ahead). The output's origin is the root joint, which no rotation and no
shape moves; the caller adds where the root is, so that

    vertices_cam = model(rotations, shape).vertices_BV3 + root_position_cam

A model may give only some of its mesh's vertices, spread evenly, so that small networks train fast;
`upsample` fills in the others.

Shapes: B samples, J joints, S shape values, V vertices given, M vertices of the whole mesh, F
faces, K keypoints.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.bodies.rotations import axis_angle_to_matrix
from training.bodies.subset import farthest_points, upsampling_weights

CUT_POSES = 16  # that tell what few vertices can stand for the others, the first unturned
CUT_TURN_RAD = 0.4  # standard deviation of their joints' turns


class BodyOutput(NamedTuple):
    """A posed body around its root joint, in metres and in the axes of the root's rotation."""

    vertices_BV3: Tensor
    keypoints_BK3: Tensor


class BodyModel(nn.Module, ABC):
    """The base of all body models; its buffers are not saved with a checkpoint, as they are made
    from the model's name.

    `joint_names` (J) is the order of a pose, the root first and parents before their children;
    `keypoint_names` (K) are COCO's 17 of a body, or a hand's 21: wrist, then thumb to little
    finger, base to tip.
    """

    name: str
    joint_names: tuple[str, ...]
    keypoint_names: tuple[str, ...]
    faces_F3: Tensor  # int64, triangles of the whole mesh
    vertex_ids_V: Tensor  # int64, the vertices given, among those of the whole mesh
    upsampling_MN: Tensor | None  # int64, the given vertices that each is made of; None: all given
    upsampling_share_MN: Tensor  # and their weights, rows that sum to 1
    mean_shape_S: Tensor
    mean_rotations_J33: Tensor  # upright and facing the camera (a hand: as in its reference pose)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("upsampling_MN", None, persistent=False)

    @property
    def num_joints(self) -> int:
        """J, rotations of a pose."""
        return len(self.joint_names)

    @property
    def num_shape(self) -> int:
        """S, shape values."""
        return len(self.mean_shape_S)

    @property
    def num_vertices(self) -> int:
        """V, vertices given."""
        return len(self.vertex_ids_V)

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoint_names)

    @abstractmethod
    def forward(self, rotations_BJ33: Tensor, shape_BS: Tensor) -> BodyOutput:
        """Pose bodies; differentiable in both."""

    def cut(self, num_vertices: int) -> None:
        """Give only so many vertices from now on, spread evenly.

        On 18 synthetic people, 1,000 of Anny's 13,718 vertices stand for the others to 2.3 mm on
        average (those off by more than 10 mm on average are all on fingers), 500 to 3.6 mm, and 200
        of a hand's 1,541 to 0.4 mm. Forward and backward of 32 bodies on one core take 57 ms with
        1,000 and 316 ms with all.

        Raises ValueError for more than there are.
        """
        assert self.upsampling_MN is None, "a model is cut once, from all its vertices"
        generator = torch.Generator().manual_seed(0)
        turns_PJ3 = torch.randn(CUT_POSES, self.num_joints, 3, generator=generator) * CUT_TURN_RAD
        shapes_PS = self.mean_shape_S.expand(CUT_POSES, -1)
        turns_PJ3[0] = 0.0
        with torch.no_grad():
            poses_PM3 = self(axis_angle_to_matrix(turns_PJ3), shapes_PS).vertices_BV3.numpy()
        chosen_V = farthest_points(poses_PM3[0], num_vertices)
        of_MN, share_MN = upsampling_weights(poses_PM3, chosen_V)
        self.keep("upsampling_MN", torch.from_numpy(of_MN))
        self.keep("upsampling_share_MN", torch.from_numpy(share_MN))
        self.keep_vertices(torch.from_numpy(chosen_V))

    def cut_as(self, other: "BodyModel") -> None:
        """Give the vertices that another model of the same mesh gives."""
        if other.upsampling_MN is not None:
            self.keep("upsampling_MN", other.upsampling_MN)
            self.keep("upsampling_share_MN", other.upsampling_share_MN)
        self.keep_vertices(other.vertex_ids_V)

    def keep_vertices(self, vertex_ids_V: Tensor) -> None:
        """Give these vertices of the mesh alone."""
        self.keep("vertex_ids_V", vertex_ids_V)

    def upsample(self, vertices_BV3: Tensor) -> Tensor:
        """All vertices of the mesh (B, M, 3), which `faces_F3` index, from those given."""
        if self.upsampling_MN is None:
            return vertices_BV3
        flat_V = vertices_BV3.float().transpose(0, 1).flatten(1)
        full_M = F.embedding_bag(
            self.upsampling_MN, flat_V, mode="sum", per_sample_weights=self.upsampling_share_MN
        )
        return full_M.unflatten(1, (-1, 3)).transpose(0, 1)

    def keep(self, name: str, tensor: Tensor) -> None:
        """Hold a constant that follows the model to its device and stays out of checkpoints."""
        self.register_buffer(name, tensor, persistent=False)
