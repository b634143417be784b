"""One step of training: losses and gradients of a batch, in parts and over ranks, and the update.

Every loss is a sum over a sum of weights, and both sums run over all parts of the batch and over
all ranks. So two ranks, or two parts, give the gradients of one batch of their sizes together.

Shapes: T terms of an objective.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.distributed import Ranks, gather_whole, keep_gradients
from training.ema import WeightAverage

Self = TypeVar("Self", bound="Batch")


class Batch(Protocol):
    """What a step and a loop need of a batch."""

    places: list[str]  # where each sample lies, for messages

    def __len__(self) -> int: ...

    @property
    def sample_ids(self) -> list[str]:
        """The ids of the samples, in order."""

    def to(self: Self, device: torch.device) -> Self:
        """Copy the tensors to a device."""

    def chunks(self: Self, size: int) -> Iterator[Self]:
        """Yield the batch in parts of `size` samples."""


AnyBatch = TypeVar("AnyBatch", bound=Batch, contravariant=True)


class Objective(Protocol[AnyBatch]):
    """What is minimized: terms, each a sum over a sum of weights."""

    names: tuple[str, ...]  # of the terms

    def weights(self, part: AnyBatch) -> Tensor:
        """The terms' sums of weights over a part of a batch, (T,); known before the model runs."""

    def losses(self, module: nn.Module, part: AnyBatch) -> Tensor:
        """The terms' weighted sums over a part of a batch, (T,), with gradients."""

    def combine(self, losses_T: Tensor, weights_T: Tensor) -> Tensor:
        """The one number that is minimized, linear in the losses; weights are of all parts and
        ranks.
        """


class StepConfig(NamedTuple):
    """How a step is taken."""

    accumulate: int = 1  # parts of a rank's batch that are computed one after the other
    precision: str = "float32"  # of the matrix products, or `bfloat16`
    clip_grad_norm: float | None = None


class StepSums(NamedTuple):
    """What a step adds to the figures, on its device; of this rank, but for `loss`."""

    loss: Tensor  # the loss that was minimized; this rank's share of it
    losses_T: Tensor  # weighted sums
    weights_T: Tensor  # sums of weights
    grad_norm: Tensor  # before clipping; zero where gradients are not clipped


class Stepper:
    """Trains a model: what it needs for every step, kept together."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        objective: Objective[Any],
        config: StepConfig,
        ranks: Ranks,
    ) -> None:
        """`module` is the model, possibly wrapped for the ranks."""
        self._module, self._optimizer, self._average = module, optimizer, average
        self._objective, self._config, self._ranks = objective, config, ranks
        self._parameters = [p for p in module.parameters() if p.requires_grad]

    def step(self, batch: Batch) -> StepSums:
        """Update the weights with a batch that is on the device."""
        self._optimizer.zero_grad()
        sums = self.backward(batch)
        clip = self._config.clip_grad_norm
        if clip is not None:
            norm = nn.utils.clip_grad_norm_(self._parameters, clip)
            sums = sums._replace(grad_norm=gather_whole(norm))
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        return sums

    def backward(self, batch: Batch) -> StepSums:
        """Add a batch's gradients to the parameters'."""
        parts = list(batch.chunks(len(batch) // self._config.accumulate))
        weights = [self._objective.weights(part) for part in parts]
        totals_T = self._ranks.sum(torch.stack(weights).sum(0)).clamp(min=1e-6)
        results = []
        for number, (part, weights_T) in enumerate(zip(parts, weights, strict=True)):
            with keep_gradients(self._module, until_last=number + 1 < len(parts)):
                results.append(self._backward_part(part, weights_T, totals_T))
        return StepSums(*(torch.stack(values).sum(0) for values in zip(*results, strict=True)))

    def _backward_part(self, part: Batch, weights_T: Tensor, totals_T: Tensor) -> StepSums:
        is_bfloat16 = self._config.precision == "bfloat16"
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=is_bfloat16):
            losses_T = self._objective.losses(self._module, part)
        loss = self._objective.combine(losses_T, totals_T)
        (loss * self._ranks.world_size).backward()  # the ranks' gradients are averaged
        return StepSums(loss.detach(), losses_T.detach(), weights_T, loss.new_zeros(()))


class FiniteCheck:
    """Stops a run at a loss that is not finite, without making a GPU wait.

    On a GPU the answer for a step is read while the next one runs, and before any checkpoint is
    written: weights that such a step spoiled are never kept.
    """

    def __init__(self) -> None:
        self._pending: _Answer | None = None

    def add(self, sums: StepSums, step: int, batch: Batch) -> None:
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

    def __init__(self, sums: StepSums, step: int, batch: Batch) -> None:
        self.step, self.sample_ids, self.places = step, batch.sample_ids, batch.places
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
        raise ValueError(describe_bad_loss(loss, answer.step, answer.sample_ids, answer.places))


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
    loss: float, step: int, sample_ids: Sequence[str], places: Sequence[str]
) -> str:
    """Say which step and samples gave a loss, or gradients, that are not finite."""
    samples = "; ".join(f"{i} in {place}" for i, place in zip(sample_ids, places, strict=True))
    advice = "lower optimizer.base_lr, set optimizer.clip_grad_norm, or look at its samples"
    what = f"step {step} has a loss of {loss}, or gradients that are not finite"
    return f"{what}: {advice}: {samples}"
