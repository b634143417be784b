"""From the loss of each patch to the one number that is minimized.

A loss is a mean: a sum over a sum of weights. Both sums are taken over all ranks and all parts of a
step, so that the result does not depend on how a batch is divided (`step.py`).

Shapes: B samples, N patches of an image, M masked ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.loading.reader import KINDS


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What counts how much."""

    view_weight: float = 1.0  # of cross-view pairs
    pose_weight: float = 1.0  # of cross-pose pairs
    background_weight: float = 1.0  # of patches that are not the person; 0: foreground only
    keypoint_weight: float = 0.0  # of 2D keypoints found in image b; needs model.keypoint_head


def patch_weights(
    foreground_BN: Tensor, masked_BM: Tensor, foreground_share: float, background_weight: float
) -> Tensor:
    """The weight (B, M) of each masked patch: 1 for the person, `background_weight` elsewhere."""
    is_foreground_BM = foreground_BN.gather(1, masked_BM) >= foreground_share
    return torch.where(is_foreground_BM, 1.0, background_weight)


def sums_by_kind(loss_BM: Tensor, weight_BM: Tensor, kinds: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Sum weighted losses, and weights, over the patches of each kind of pair: two of (kinds,)."""
    of_kind_2B = torch.tensor([[kind == k for k in kinds] for kind in KINDS], dtype=torch.float32)
    of_kind_2B = of_kind_2B.to(loss_BM.device, non_blocking=True)
    return of_kind_2B @ (weight_BM * loss_BM).sum(1), of_kind_2B @ weight_BM.sum(1)


def weigh_kinds(sums_2: Tensor, config: LossConfig) -> Tensor:
    """Add up the kinds' sums, which are in the order of `KINDS`, by their weights."""
    return config.view_weight * sums_2[0] + config.pose_weight * sums_2[1]
