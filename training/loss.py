"""What pre-training minimizes: from the loss of each patch, and each keypoint, to one number.

Shapes: B samples, N patches of an image, M masked ones, T terms: kinds of pairs, then keypoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.keypoints import keypoint_losses
from training.loading.masking import MaskingConfig
from training.loading.pair_batch import PairBatch
from training.loading.reader import KINDS


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What counts how much; the mean is over all patches, so a kind's weight scales what its pairs
    add to it, and thereby the step.
    """

    view_weight: float = 1.0  # of cross-view pairs
    pose_weight: float = 1.0  # of cross-pose pairs
    background_weight: float = 1.0  # of patches that are not the person; 0: foreground only
    keypoint_weight: float = 0.0  # of 2D keypoints found in image b; needs model.keypoint_head


class CompletionObjective:
    """Implements `Objective`: complete image a; with the head for it, find keypoints in b."""

    def __init__(
        self,
        loss: LossConfig,
        masking: MaskingConfig,
        keypoints: bool,
        compiled: bool = False,
    ) -> None:
        """`keypoints`: whether the model has the head for them; `compiled`: the code that makes its
        images is.
        """
        self._loss, self._masking, self._compiled = loss, masking, compiled
        self.names: tuple[str, ...] = (*KINDS, "keypoints") if keypoints else KINDS

    def weights(self, part: PairBatch) -> Tensor:
        """See Objective: patches of each kind, and keypoints by their confidence."""
        weights_2 = of_kinds(part.kinds, self._patch_weights(part).sum(1))
        return self._with_keypoints(weights_2, part.keypoints_b[:, :, 2].sum())

    def losses(self, module: nn.Module, part: PairBatch) -> Tensor:
        """See Objective."""
        completion = module(*part.inputs(self._compiled), part.visible, part.masked)
        weight_BM = self._patch_weights(part)
        losses_2 = of_kinds(part.kinds, (weight_BM * completion.loss_BM).sum(1))
        if completion.keypoints_BNK3 is None:
            return losses_2
        loss_BK, weight_BK = keypoint_losses(completion.keypoints_BNK3, part.keypoints_b)
        return self._with_keypoints(losses_2, (loss_BK * weight_BK).sum())

    def combine(self, losses_T: Tensor, weights_T: Tensor) -> Tensor:
        """See Objective: all patches share one mean, whatever the kind of their pair."""
        loss = weigh_kinds(losses_T, self._loss) / weights_T[: len(KINDS)].sum()
        if len(self.names) > len(KINDS):
            loss = loss + self._loss.keypoint_weight * losses_T[-1] / weights_T[-1]
        return loss

    def _patch_weights(self, part: PairBatch) -> Tensor:
        share, background = self._masking.foreground_share, self._loss.background_weight
        return patch_weights(part.foreground, part.masked, share, background)

    def _with_keypoints(self, of_kinds_2: Tensor, of_keypoints: Tensor) -> Tensor:
        if len(self.names) == len(KINDS):
            return of_kinds_2
        return torch.cat([of_kinds_2, of_keypoints[None]])


def patch_weights(
    foreground_BN: Tensor, masked_BM: Tensor, foreground_share: float, background_weight: float
) -> Tensor:
    """The weight (B, M) of each masked patch: 1 for the person, `background_weight` elsewhere."""
    is_foreground_BM = foreground_BN.gather(1, masked_BM) >= foreground_share
    return torch.where(is_foreground_BM, 1.0, background_weight)


def of_kinds(kinds: Sequence[str], values_B: Tensor) -> Tensor:
    """Sum the samples' values over the pairs of each kind, in the order of `KINDS`: (kinds,)."""
    of_kind_2B = torch.tensor([[kind == k for k in kinds] for kind in KINDS], dtype=torch.float32)
    return of_kind_2B.to(values_B.device, non_blocking=True) @ values_B


def weigh_kinds(sums_2: Tensor, config: LossConfig) -> Tensor:
    """Add up the kinds' sums, which are in the order of `KINDS`, by their weights."""
    return config.view_weight * sums_2[0] + config.pose_weight * sums_2[1]
