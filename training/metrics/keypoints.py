"""2D keypoints: the share that is found near enough, for each sample and each keypoint (PCK).

Shapes: B samples, K keypoints.
"""

import torch
from torch import Tensor


def correct_keypoints(
    pred_BK2_px: Tensor, true_BK3: Tensor, size_px_B: Tensor, alpha: float
) -> Tensor:
    """Tell which keypoints are found: (B, K), 1 or 0; NaN where there is none to find.

    A keypoint is found within `alpha` times the longer side of the person's box, at the border too
    (Yang and Ramanan, "Articulated human detection with flexible mixtures of parts", PAMI 2013).
    `true_BK3` has x and y in pixels of the same image as the prediction, and the confidence: 0 for
    a keypoint that is missing. A size that is not positive judges nothing.
    """
    if pred_BK2_px.shape[:2] != true_BK3.shape[:2]:
        raise ValueError(
            f"predicted keypoints have shape {tuple(pred_BK2_px.shape)}, true ones "
            f"{tuple(true_BK3.shape)}: give as many, in the same order"
        )
    distance_BK_px = (pred_BK2_px.double() - true_BK3[..., :2].double()).norm(dim=2)
    found_BK = (distance_BK_px <= alpha * size_px_B.double()[:, None]).double()
    judged_BK = (true_BK3[..., 2] > 0) & true_BK3.isfinite().all(dim=2) & (size_px_B > 0)[:, None]
    return torch.where(judged_BK, found_BK, torch.nan)


def pck(pred_BK2_px: Tensor, true_BK3: Tensor, size_px_B: Tensor, alpha: float) -> Tensor:
    """Return each sample's share of keypoints found, (B,), 0 to 1, weighted by their confidence.

    NaN for a sample without keypoints. See `correct_keypoints` for units and protocol.
    """
    correct_BK = correct_keypoints(pred_BK2_px, true_BK3, size_px_B, alpha)
    weights_BK = torch.where(correct_BK.isnan(), 0.0, true_BK3[..., 2].double())
    return (correct_BK.nan_to_num(0.0) * weights_BK).sum(dim=1) / weights_BK.sum(dim=1)
