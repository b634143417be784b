"""One step of training: losses and gradients of a batch, in parts and over ranks, and the update.

Every loss is a sum over a sum of weights, and both sums run over all parts of the batch and over
all ranks. So two ranks, or two parts, give the gradients of one batch of their sizes together.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.distributed import Ranks, gather_whole, keep_gradients
from training.ema import WeightAverage
from training.keypoints import keypoint_losses
from training.loading.pair_batch import PairBatch
from training.loss import patch_weights, sums_by_kind, weigh_kinds
from training.run_config import PretrainConfig


class StepSums(NamedTuple):
    """What a step adds to the figures, on its device; of this rank, but for `loss`."""

    loss: Tensor  # the loss that was minimized; this rank's share of it
    kind_losses: Tensor  # (kinds,) weighted sums over patches
    kind_weights: Tensor  # (kinds,) sums of weights
    keypoint_loss: Tensor  # weighted sum over keypoints
    keypoint_weight: Tensor
    grad_norm: Tensor  # before clipping; zero where gradients are not clipped


class Stepper:
    """Trains a model: what it needs for every step, kept together."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        config: PretrainConfig,
        ranks: Ranks,
    ) -> None:
        """`module` is the model, possibly wrapped for the ranks."""
        self._module, self._optimizer, self._average = module, optimizer, average
        self._config, self._ranks = config, ranks
        self._parameters = [p for p in module.parameters() if p.requires_grad]

    def step(self, batch: PairBatch) -> StepSums:
        """Update the weights with a batch that is on the device."""
        self._optimizer.zero_grad()
        sums = self.backward(batch)
        clip = self._config.optimizer.clip_grad_norm
        if clip is not None:
            norm = nn.utils.clip_grad_norm_(self._parameters, clip)
            sums = sums._replace(grad_norm=gather_whole(norm))
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return sums

    def backward(self, batch: PairBatch) -> StepSums:
        """Add a batch's gradients to the parameters'."""
        parts = list(batch.chunks(len(batch) // self._config.run.accumulate))
        weights = [self._weights(part) for part in parts]
        totals_2 = torch.stack([torch.stack([p.sum(), k.sum()]) for p, k in weights]).sum(0)
        totals_2 = self._ranks.sum(totals_2).clamp(min=1e-6)
        results = []
        for number, (part, (weight_BM, _)) in enumerate(zip(parts, weights, strict=True)):
            with keep_gradients(self._module, until_last=number + 1 < len(parts)):
                results.append(self._backward_part(part, weight_BM, totals_2))
        return StepSums(*(torch.stack(values).sum(0) for values in zip(*results, strict=True)))

    def _weights(self, part: PairBatch) -> tuple[Tensor, Tensor]:
        patches_BM = patch_weights(
            part.foreground,
            part.masked,
            self._config.masking.foreground_share,
            self._config.loss.background_weight,
        )
        return patches_BM, part.keypoints_b[:, :, 2]

    def _backward_part(self, part: PairBatch, weight_BM: Tensor, totals_2: Tensor) -> StepSums:
        loss_config = self._config.loss
        is_bfloat16 = self._config.run.precision == "bfloat16"
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=is_bfloat16):
            completion = self._module(*part.inputs(), part.visible, part.masked)
        losses_2, weights_2 = sums_by_kind(completion.loss_BM, weight_BM, part.kinds)
        loss = weigh_kinds(losses_2, loss_config) / totals_2[0]
        zero = loss.new_zeros(())
        keypoint_loss, keypoint_weight = zero, zero
        if completion.keypoints_BNK3 is not None:
            loss_BK, weight_BK = keypoint_losses(completion.keypoints_BNK3, part.keypoints_b)
            keypoint_loss, keypoint_weight = (loss_BK * weight_BK).sum(), weight_BK.sum()
            loss = loss + loss_config.keypoint_weight * keypoint_loss / totals_2[1]
        (loss * self._ranks.world_size).backward()  # the ranks' gradients are averaged
        return StepSums(
            loss.detach(),
            losses_2.detach(),
            weights_2,
            keypoint_loss.detach(),
            keypoint_weight,
            zero,
        )


class FiniteCheck:
    """Stops a run at a loss that is not finite, without making a GPU wait.

    On a GPU the answer for a step is read while the next one runs, and before any checkpoint is
    written: weights that such a step spoiled are never kept.
    """

    def __init__(self) -> None:
        self._pending: _Answer | None = None

    def add(self, sums: StepSums, step: int, batch: PairBatch) -> None:
        """Check a step, or on a GPU the one before. Raises ValueError naming step and samples."""
        before, self._pending = self._pending, _Answer(sums, step, batch)
        if sums.loss.is_cuda:
            _refuse(before)
        else:
            self.flush()

    def flush(self) -> None:
        """Check what has not been checked yet. Raises ValueError."""
        pending, self._pending = self._pending, None
        _refuse(pending)


class _Answer:
    """A step's loss on its way from the device; reading it waits for that step and no later one."""

    def __init__(self, sums: StepSums, step: int, batch: PairBatch) -> None:
        self.step, self.pair_ids, self.places = step, batch.pair_ids, batch.places
        value = sums.loss + 0 * sums.grad_norm
        self._event = torch.cuda.Event() if value.is_cuda else None
        self._value = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        self._value.copy_(value, non_blocking=True)
        if self._event is not None:
            self._event.record()

    def loss(self) -> float:
        """The loss; not a number where it or its gradients are not finite."""
        if self._event is not None:
            self._event.synchronize()
        return self._value.item()


def _refuse(answer: _Answer | None) -> None:
    if answer is None:
        return
    loss = answer.loss()
    if not math.isfinite(loss):
        raise ValueError(describe_bad_loss(loss, answer.step, answer.pair_ids, answer.places))


def check_weights(model: nn.Module, step: int, ranks: Ranks) -> None:
    """Refuse weights that are not finite, before they are kept. All ranks must call, and all raise
    ValueError when one has such weights.
    """
    bad = [~torch.isfinite(_local(parameter)).all() for parameter in model.parameters()]
    if ranks.sum(torch.stack(bad).sum().float()).item() > 0:
        raise ValueError(
            f"the weights after step {step} are not finite, and nothing of them was saved: lower "
            "optimizer.base_lr or set optimizer.clip_grad_norm, and go on from the last checkpoint"
        )


def _local(parameter: Tensor) -> Tensor:
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def describe_bad_loss(
    loss: float, step: int, pair_ids: Sequence[str], places: Sequence[str]
) -> str:
    """Say which step and samples gave a loss, or gradients, that are not finite."""
    samples = "; ".join(f"{i} in {place}" for i, place in zip(pair_ids, places, strict=True))
    advice = "lower optimizer.base_lr, set optimizer.clip_grad_norm, or look at its samples"
    what = f"step {step} has a loss of {loss}, or gradients that are not finite"
    return f"{what}: {advice}: {samples}"
