"""Figures of predicted meshes, of all their vertices. Errors are around the hips or the wrist.

Shapes: B samples, K keypoints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.metrics.mesh import (
    FREIHAND_F_THRESHOLDS_M,
    mpjpe_mm,
    pa_auc,
    pa_f_scores,
    pa_mpjpe_mm,
    pa_pve_mm,
    pve_mm,
)
from training.tasks.mesh_points import MeshPoints, projected_keypoints, true_joints
from training.tasks.task import Targets


def mesh_figures(
    points: MeshPoints, truth: MeshPoints, targets: Targets, roots: Sequence[int]
) -> dict[str, Tensor]:
    """Errors of joints and vertices, and how far from its place a keypoint is projected."""
    true_BK4 = true_joints(truth, targets, roots)
    true_vertices_BV3 = _known(truth.vertices_BV3, targets)
    seen_BK2 = projected_keypoints(points, targets["shares_from_cam"])
    keypoints_BK3 = targets["keypoints"]
    missed_BK = (seen_BK2 - keypoints_BK3[..., :2]).norm(dim=2)
    missed_BK = torch.where(keypoints_BK3[..., 2] > 0, missed_BK, torch.nan)
    return {
        "mpjpe_mm": mpjpe_mm(points.keypoints_BK3, true_BK4[..., :3], true_BK4[..., 3], roots),
        "pa_mpjpe_mm": pa_mpjpe_mm(points.keypoints_BK3, true_BK4[..., :3], true_BK4[..., 3]),
        "pve_mm": pve_mm(
            points.vertices_BV3,
            true_vertices_BV3,
            pred_root_B3_m=points.keypoints_BK3[:, list(roots)].mean(dim=1),
            true_root_B3_m=truth.keypoints_BK3[:, list(roots)].mean(dim=1),
        ),
        "pa_pve_mm": pa_pve_mm(points.vertices_BV3, true_vertices_BV3),
        "reprojection_share_of_image": missed_BK.nanmean(dim=1),
    }


def hand_figures(
    points: MeshPoints, truth: MeshPoints, targets: Targets, roots: Sequence[int]
) -> dict[str, Tensor]:
    """FreiHAND's figures beside errors: areas under the curve and F-scores, after alignment."""
    true_BK4 = true_joints(truth, targets, roots)
    true_vertices_BV3 = _known(truth.vertices_BV3, targets)
    scores_BT = pa_f_scores(points.vertices_BV3, true_vertices_BV3, FREIHAND_F_THRESHOLDS_M)
    return {
        "pa_auc": pa_auc(points.keypoints_BK3, true_BK4[..., :3], true_BK4[..., 3]),
        **{
            f"pa_f_at_{round(1000 * limit_m)}_mm": scores_BT[:, t]
            for t, limit_m in enumerate(FREIHAND_F_THRESHOLDS_M)
        },
    }


def _known(vertices_BV3: Tensor, targets: Targets) -> Tensor:
    return torch.where(targets["has_body"][:, None, None] > 0, vertices_BV3, torch.nan)
