"""Errors of joints and meshes in 3D: MPJPE, PVE, both after Procrustes (PA-), F-score, AUC.

Points are in metres, in one frame for prediction and truth (the camera's: x right, y down, z
ahead); errors are in millimetres. Weights say which points are judged and how much: 0 for what is
missing, whose truth may be NaN. Every function returns one value for each sample, in float64: NaN
where nothing can be judged, infinity (or a score of 0) where the prediction is not finite.

Shapes: B samples, K joints, V vertices, P predicted vertices, N points, T thresholds, E true
vertices that exist.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.metrics.alignment import (
    MIN_POINTS,
    check_same_points,
    judged,
    procrustes_align,
    root_of,
)

MM = 1000.0  # in a metre
FREIHAND_F_THRESHOLDS_M = (0.005, 0.015)
FREIHAND_AUC_MAX_M, FREIHAND_AUC_THRESHOLDS = 0.05, 100
CHUNK = 1024  # predicted vertices whose distances to all true ones are in memory at once


def mpjpe_mm(
    pred_BK3_m: Tensor,
    true_BK3_m: Tensor,
    weights_BK: Tensor | None,
    root: int | Sequence[int],
) -> Tensor:
    """Return the mean distance of joints in mm, (B,), after the roots are laid on each other.

    The mean per joint position error of Human3.6M (Ionescu et al., PAMI 2014), root-aligned as
    usual since: `root` is the pelvis or wrist, or several joints whose middle it is. The root's own
    error counts as one of the K. NaN without the root's truth, or with no other joint.
    """
    weights_BK = judged(true_BK3_m, weights_BK)
    pred_BK3_m, true_BK3_m = pred_BK3_m.double(), true_BK3_m.double()
    pred_root_B13_m = root_of(pred_BK3_m, root)[:, None]
    true_root_B13_m = root_of(true_BK3_m, root)[:, None]
    root_weights_BR = weights_BK[:, [root] if isinstance(root, int) else list(root)]
    known_B = (root_weights_BR > 0).all(dim=1) & ((weights_BK > 0).sum(dim=1) > 1)
    error_B_mm = _mean_distance_mm(
        pred_BK3_m - pred_root_B13_m, true_BK3_m - true_root_B13_m, weights_BK
    )
    return torch.where(known_B, error_B_mm, torch.nan)


def pa_mpjpe_mm(pred_BK3_m: Tensor, true_BK3_m: Tensor, weights_BK: Tensor | None = None) -> Tensor:
    """Return the mean distance of joints in mm, (B,), after Procrustes alignment.

    Also called reconstruction error; the protocol of 3DPW (von Marcard et al., ECCV 2018) and of
    FreiHAND (Zimmermann et al., ICCV 2019; its script would also use a reflection where that is
    nearer). NaN with fewer than three joints, which would always fit.
    """
    return _aligned_mean_distance_mm(pred_BK3_m, true_BK3_m, weights_BK)


def pve_mm(
    pred_BV3_m: Tensor, true_BV3_m: Tensor, pred_root_B3_m: Tensor, true_root_B3_m: Tensor
) -> Tensor:
    """Return the mean distance of corresponding vertices in mm, (B,): per-vertex error, MPVPE.

    Each mesh is moved by its own root joint first (`root_of` its joints), as for 3DPW. NaN where
    no vertex's truth is known, or the true root's is not.
    """
    error_B_mm = _mean_distance_mm(
        pred_BV3_m.double() - pred_root_B3_m[:, None],
        true_BV3_m.double() - true_root_B3_m[:, None],
        judged(true_BV3_m, None),
    )
    return torch.where(true_root_B3_m.isfinite().all(dim=1), error_B_mm, torch.nan)


def pa_pve_mm(pred_BV3_m: Tensor, true_BV3_m: Tensor) -> Tensor:
    """Return the mean distance of corresponding vertices in mm, (B,), after Procrustes alignment
    of the vertices themselves (FreiHAND's aligned mesh error, PA-MPVPE).
    """
    return _aligned_mean_distance_mm(pred_BV3_m, true_BV3_m, None)


def pa_f_scores(pred_BV3_m: Tensor, true_BV3_m: Tensor, thresholds_m: Sequence[float]) -> Tensor:
    """Return the F-score (B, T), 0 to 1, at each threshold, after Procrustes alignment: F@5 and
    F@15 are at 0.005 and 0.015 m.

    The harmonic mean of precision (predicted vertices nearer than the threshold to any true one)
    and recall (true vertices nearer than it to any predicted one), as Knapitsch et al. (2017)
    define it and FreiHAND's evaluation uses it. True vertices that are NaN do not exist.
    """
    aligned_BV3_m, weights_BV = _align(pred_BV3_m, true_BV3_m, None)
    scores_BT = [
        _f_scores_of_one(pred_V3_m, true_V3_m[exists_V], thresholds_m)
        for pred_V3_m, true_V3_m, exists_V in zip(
            aligned_BV3_m, true_BV3_m, weights_BV > 0, strict=True
        )
    ]
    if not scores_BT:
        return torch.zeros(0, len(thresholds_m), dtype=torch.float64, device=pred_BV3_m.device)
    return torch.stack(scores_BT)


def pa_auc(pred_BK3_m: Tensor, true_BK3_m: Tensor, weights_BK: Tensor | None = None) -> Tensor:
    """Return the area under the curve of 3D PCK over its threshold, (B,), 0 to 1, after Procrustes
    alignment.

    FreiHAND's evaluation: PCK is the share of joints whose error is at most a threshold; 100
    thresholds from 0 to 50 mm at equal steps, both included, trapezoids, divided by the area of a
    perfect curve. FreiHAND averages over joints what it averaged over samples: the mean over
    samples of this, when all joints are judged in all samples.
    """
    aligned_BK3_m, weights_BK = _align(pred_BK3_m, true_BK3_m, weights_BK)
    distance_BK_m = _distances(aligned_BK3_m, true_BK3_m.double(), weights_BK)
    thresholds_T_m = torch.linspace(
        0, FREIHAND_AUC_MAX_M, FREIHAND_AUC_THRESHOLDS, dtype=torch.float64,
        device=distance_BK_m.device,
    )  # fmt: skip
    curve_BT = torch.stack(
        [_weighted_mean((distance_BK_m <= t).double(), weights_BK) for t in thresholds_T_m], dim=1
    )
    return torch.trapezoid(curve_BT, thresholds_T_m, dim=1) / FREIHAND_AUC_MAX_M


def _f_scores_of_one(pred_P3_m: Tensor, true_E3_m: Tensor, thresholds_m: Sequence[float]) -> Tensor:
    """The F-scores (T,) of one mesh as it lies; NaN without vertices."""
    if len(true_E3_m) == 0 or len(pred_P3_m) == 0:
        return true_E3_m.new_full((len(thresholds_m),), torch.nan, dtype=torch.float64)
    nearest_true_P_m, nearest_pred_E_m = nearest_distances(pred_P3_m, true_E3_m)
    scores_T = []
    for threshold_m in thresholds_m:
        precision = (nearest_true_P_m < threshold_m).double().mean()
        recall = (nearest_pred_E_m < threshold_m).double().mean()
        both = precision + recall
        scores_T.append(torch.where(both > 0, 2 * precision * recall / both, 0.0))
    return torch.stack(scores_T)


def nearest_distances(pred_P3: Tensor, true_V3: Tensor) -> tuple[Tensor, Tensor]:
    """Return each predicted point's distance to the nearest true one, (P,), and the reverse, (V,).

    `CHUNK` x V distances are in memory at once. A predicted point that is not finite is infinitely
    far from all. Unit: the points'.
    """
    nearest_true, nearest_pred_V = [], true_V3.new_full((len(true_V3),), torch.inf)
    for pred_C3 in pred_P3.to(true_V3.dtype).split(CHUNK):
        # By differences: the faster way through products loses tenths of millimetres in float32.
        distance_CV = torch.cdist(
            pred_C3, true_V3, compute_mode="donot_use_mm_for_euclid_dist"
        ).nan_to_num(nan=torch.inf, posinf=torch.inf)
        nearest_true.append(distance_CV.amin(dim=1))
        nearest_pred_V = torch.minimum(nearest_pred_V, distance_CV.amin(dim=0))
    return torch.cat(nearest_true), nearest_pred_V


def _aligned_mean_distance_mm(
    pred_BN3_m: Tensor, true_BN3_m: Tensor, weights_BN: Tensor | None
) -> Tensor:
    aligned_BN3_m, weights_BN = _align(pred_BN3_m, true_BN3_m, weights_BN)
    return _mean_distance_mm(aligned_BN3_m, true_BN3_m.double(), weights_BN)


def _align(pred_BN3: Tensor, true_BN3: Tensor, weights_BN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return aligned points, and weights that judge no sample with too few points to align by."""
    weights_BN = judged(true_BN3, weights_BN)
    enough_B1 = (weights_BN > 0).sum(dim=1, keepdim=True) >= MIN_POINTS
    weights_BN = torch.where(enough_B1, weights_BN, 0.0)
    return procrustes_align(pred_BN3, true_BN3, weights_BN), weights_BN


def _mean_distance_mm(pred_BN3_m: Tensor, true_BN3_m: Tensor, weights_BN: Tensor) -> Tensor:
    return MM * _weighted_mean(_distances(pred_BN3_m, true_BN3_m, weights_BN), weights_BN)


def _distances(pred_BN3: Tensor, true_BN3: Tensor, weights_BN: Tensor) -> Tensor:
    """Distances (B, N): 0 where the weight is 0, infinite where the prediction is not finite."""
    check_same_points(pred_BN3, true_BN3)
    distance_BN = (pred_BN3 - true_BN3).norm(dim=2).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return torch.where(weights_BN > 0, distance_BN, 0.0)


def _weighted_mean(values_BN: Tensor, weights_BN: Tensor) -> Tensor:
    """Mean over N, (B,): NaN where all weights are 0."""
    return (values_BN * weights_BN).sum(dim=1) / weights_BN.sum(dim=1)
