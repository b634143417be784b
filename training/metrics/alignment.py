"""Taking away from a prediction what a metric does not judge: its place, or its whole similarity.

What an image cannot tell (how far away, how large) is taken out before errors are measured: by the
root joint, which leaves rotation and size to be judged, or by the best similarity transform
(Procrustes), which leaves pose and shape alone.

Shapes: B samples, K joints, N points (joints or vertices).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

MIN_POINTS = 3  # any one or two points are brought onto any others


def root_of(joints_BK3: Tensor, root: int | Sequence[int]) -> Tensor:
    """Return the root (B, 3) of joints (B, K, 3): one joint, or the middle of several (both hips).

    Unit and frame are the joints'.
    """
    indices = [root] if isinstance(root, int) else list(root)
    if not indices or not all(0 <= index < joints_BK3.shape[1] for index in indices):
        raise ValueError(
            f"the root is joint {root}, but there are joints 0 to {joints_BK3.shape[1] - 1}: "
            "name one of these, or several"
        )
    return joints_BK3[:, indices].mean(dim=1)


def judged(true_BN3: Tensor, weights_BN: Tensor | None) -> Tensor:
    """Return weights (B, N) in float64: those given, or all 1; 0 where the truth is not finite."""
    finite_BN = true_BN3.isfinite().all(dim=2)
    if weights_BN is None:
        return finite_BN.double()
    if weights_BN.shape != finite_BN.shape:
        raise ValueError(
            f"weights have shape {tuple(weights_BN.shape)}, but the truth has points "
            f"{tuple(finite_BN.shape)}: give one weight for each point"
        )
    return torch.where(finite_BN, weights_BN.double(), 0.0)


def check_same_points(pred_BN3: Tensor, true_BN3: Tensor) -> None:
    """Raise ValueError unless each true point has its predicted one."""
    if pred_BN3.shape != true_BN3.shape:
        raise ValueError(
            f"predicted points have shape {tuple(pred_BN3.shape)}, true ones "
            f"{tuple(true_BN3.shape)}: give as many, in the same order"
        )


def procrustes_align(
    pred_BN3: Tensor, true_BN3: Tensor, weights_BN: Tensor | None = None
) -> Tensor:
    """Move predictions (B, N, 3) by the similarity that brings each nearest to its truth.

    Rotation, one scale and translation minimize the weighted sum of squared distances (Umeyama,
    "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991);
    a reflection is never used. All points are moved, those of weight 0 too. The result is float64,
    in the truth's frame and unit. NaN for samples with fewer than three points of positive weight,
    and where a prediction that counts is not finite.
    """
    check_same_points(pred_BN3, true_BN3)
    weights_BN = judged(true_BN3, weights_BN)
    counts_BN1 = weights_BN[..., None] > 0
    pred_BN3 = pred_BN3.double()
    shares_BN1 = (weights_BN / weights_BN.sum(dim=1, keepdim=True))[..., None].nan_to_num(0.0)
    lost_B = (counts_BN1 & ~pred_BN3.isfinite()).flatten(1).any(dim=1)
    fit_BN3 = torch.where(counts_BN1 & ~lost_B[:, None, None], pred_BN3, 0.0)
    true_BN3 = torch.where(counts_BN1, true_BN3.double(), 0.0)

    pred_centre_B13 = (shares_BN1 * fit_BN3).sum(dim=1, keepdim=True)
    true_centre_B13 = (shares_BN1 * true_BN3).sum(dim=1, keepdim=True)
    fit_BN3, true_BN3 = fit_BN3 - pred_centre_B13, true_BN3 - true_centre_B13
    covariance_B33 = (shares_BN1 * true_BN3).mT @ fit_BN3
    left_B33, singular_B3, right_B33 = torch.linalg.svd(covariance_B33)
    signs_B3 = torch.ones_like(singular_B3)
    signs_B3[:, 2] = torch.linalg.det(left_B33 @ right_B33).sign()  # -1: the best is a reflection
    rotation_B33 = (left_B33 * signs_B3[:, None]) @ right_B33
    spread_B = (shares_BN1 * fit_BN3.square()).sum(dim=(1, 2))
    # Predictions that are all one point have no size to change: they go to the truth's centre.
    scale_B = torch.where(spread_B > 0, (singular_B3 * signs_B3).sum(dim=1) / spread_B, 0.0)

    aligned_BN3 = scale_B[:, None, None] * (pred_BN3 - pred_centre_B13) @ rotation_B33.mT
    unknown_B = lost_B | (counts_BN1.sum(dim=(1, 2)) < MIN_POINTS)
    return torch.where(unknown_B[:, None, None], torch.nan, aligned_BN3 + true_centre_B13)
