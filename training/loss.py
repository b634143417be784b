"""From the loss of each patch to the one that is minimized, and to what is reported for each kind
of pair.

Shapes: B samples, M masked patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from training.loading.reader import KINDS


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What counts how much."""

    view_weight: float = 1.0  # of cross-view pairs
    pose_weight: float = 1.0  # of cross-pose pairs
    background_weight: float = 1.0  # of patches that are not the person; 0: foreground only


class Losses(NamedTuple):
    """The loss to minimize, and the mean over the weighted patches of each kind (NaN where a batch
    has none).
    """

    total: Tensor
    by_kind: dict[str, Tensor]


def combine_losses(
    loss_BM: Tensor, is_foreground_BM: Tensor, kinds: Sequence[str], config: LossConfig
) -> Losses:
    """Average over all patches of the batch, weighted by patch and by the kind of pair.

    The total is the two kinds' losses times their weights and their shares of the batch's patches:
    with pairs in equal numbers, half of L_view + L_pose.
    """
    weight_BM = torch.where(is_foreground_BM, 1.0, config.background_weight)
    of_kind = {
        kind: torch.tensor([k == kind for k in kinds], device=loss_BM.device) for kind in KINDS
    }
    kind_weight_B = (
        config.view_weight * of_kind["cross_view"] + config.pose_weight * of_kind["cross_pose"]
    )
    weighted_BM = weight_BM * loss_BM
    total = (kind_weight_B[:, None] * weighted_BM).sum() / weight_BM.sum().clamp(min=1.0)
    with torch.no_grad():
        by_kind = {
            kind: weighted_BM[chosen_B].sum() / weight_BM[chosen_B].sum()
            for kind, chosen_B in of_kind.items()
        }
    return Losses(total, by_kind)
