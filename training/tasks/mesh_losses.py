"""The terms of the loss that all mesh tasks share, each a value for each sample.

    vertices        mean distance along each axis in metres, around the root joint
    joints          the same of the keypoints, around their roots, weighted by confidence
    reprojection    log(1 + d), d the distance of a projected keypoint along each axis in sides of
                    the image: a keypoint far off pulls no harder than its direction is worth
    camera          the root joint's log scale and place in the image

Shapes: B samples, V vertices, K keypoints.
"""

from collections.abc import Sequence

from torch import Tensor

from training.tasks.mesh_camera import seen_at
from training.tasks.mesh_points import (
    MeshPoints,
    around_root,
    joints_given,
    projected_keypoints,
    true_joints,
)
from training.tasks.task import Targets


def shared_weights(targets: Targets, roots: Sequence[int]) -> dict[str, Tensor]:
    """1 for each sample and term that has its label, (B,)."""
    has_body_B = targets["has_body"]
    joints_B = joints_given(targets, roots).float().maximum(has_body_B)
    seen_B = (targets["keypoints"][..., 2] > 0).any(dim=1).float()
    return {
        "vertices": has_body_B,
        "joints": joints_B,
        "reprojection": seen_B,
        "camera": targets["has_place"],
    }


def shared_losses(
    points: MeshPoints, truth: MeshPoints, targets: Targets, roots: Sequence[int]
) -> dict[str, Tensor]:
    """The terms above, (B,); finite also where there is no label."""
    true_BK4 = true_joints(truth, targets, roots)
    joints_BK3 = around_root(points.keypoints_BK3, points.keypoints_BK3, roots)
    off_BK = (joints_BK3 - around_root(true_BK4[..., :3], true_BK4[..., :3], roots)).abs().mean(2)

    camera_B33 = targets["shares_from_cam"]
    seen_BK2 = projected_keypoints(points, camera_B33)
    missed_BK = (seen_BK2 - targets["keypoints"][..., :2]).abs().log1p().mean(dim=2)
    place_B3 = seen_at(points.root_B3, camera_B33) - seen_at(truth.root_B3, camera_B33)
    return {
        "vertices": (points.vertices_BV3 - truth.vertices_BV3).abs().mean(dim=(1, 2)),
        "joints": _weighted(off_BK, true_BK4[..., 3]),
        "reprojection": _weighted(missed_BK, targets["keypoints"][..., 2]),
        "camera": place_B3.abs().mean(dim=1),
    }


def _weighted(values_BK: Tensor, weights_BK: Tensor) -> Tensor:
    return (values_BK * weights_BK).sum(dim=1) / weights_BK.sum(dim=1).clamp(min=1e-6)
