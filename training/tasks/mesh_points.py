"""Meshes as losses and metrics see them: points around a root joint, and where that is.

Shapes: B samples, V vertices, K keypoints.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from catalog.model_files import GENDERS
from training.bodies.model import BodyModel
from training.tasks.mesh_camera import project
from training.tasks.task import Targets

ROOTS = ("left_hip", "right_hip", "wrist")  # keypoints whose middle errors are measured around


class MeshPoints(NamedTuple):
    """Meshes of a batch in their images' cameras, in metres."""

    vertices_BV3: Tensor  # around the root joint of the body model
    keypoints_BK3: Tensor  # around it too
    root_B3: Tensor  # the root joint


def root_keypoints(body: BodyModel) -> list[int]:
    """The keypoints whose middle stands for the place of a body: hips, or a hand's wrist."""
    return [k for k, name in enumerate(body.keypoint_names) if name in ROOTS]


def true_points(
    body: BodyModel, of_gender: Callable[[str], BodyModel], targets: Targets
) -> MeshPoints:
    """The labels' meshes; of no meaning where `has_body` is 0.

    `body` is neutral and tells which vertices are given. A label of another gender is posed by the
    model `of_gender`, which has all vertices and is asked for only where there is such a label.
    """
    vertices_BV3, keypoints_BK3 = body(targets["rotations"], targets["shape"])
    for number in targets["gender"].unique().tolist():
        if number != GENDERS.index("neutral"):
            rows_N = (targets["gender"] == number).nonzero()[:, 0]
            model = of_gender(GENDERS[number])
            posed = model(targets["rotations"][rows_N], targets["shape"][rows_N])
            vertices_BV3[rows_N] = posed.vertices_BV3[:, body.vertex_ids_V]
            keypoints_BK3[rows_N] = posed.keypoints_BK3
    return MeshPoints(vertices_BV3, keypoints_BK3, targets["root_m"])


def true_joints(truth: MeshPoints, targets: Targets, roots: Sequence[int]) -> Tensor:
    """The keypoints in 3D with their confidence, (B, K, 4): the label's where it has them with
    their roots, else those of its body; only differences between them have a meaning.
    """
    given_BK4 = targets["joints_m"]
    ones = torch.ones_like(truth.keypoints_BK3[..., :1])
    has_body_B11 = targets["has_body"][:, None, None]
    of_body_BK4 = torch.cat([truth.keypoints_BK3, ones * has_body_B11], dim=2)
    given_B11 = joints_given(targets, roots)[:, None, None]
    return torch.where(given_B11, given_BK4, of_body_BK4)


def joints_given(targets: Targets, roots: Sequence[int]) -> Tensor:
    """Whether labels have joints, and their roots among them, (B,)."""
    return (targets["joints_m"][:, list(roots), 3] > 0).all(dim=1)


def around_root(points_BN3: Tensor, keypoints_BK3: Tensor, roots: Sequence[int]) -> Tensor:
    """Points around the middle of the root keypoints."""
    return points_BN3 - keypoints_BK3[:, list(roots)].mean(dim=1, keepdim=True)


def projected_keypoints(points: MeshPoints, shares_from_cam_B33: Tensor) -> Tensor:
    """The keypoints in the image, as shares of its side, (B, K, 2)."""
    return project(points.keypoints_BK3 + points.root_B3[:, None], shares_from_cam_B33)
