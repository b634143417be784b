"""What fine-tuning minimizes: a task's losses, each a mean over the samples that have its label.

Shapes: B samples, T terms.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from training.step import Batch
from training.tasks.task import Task


class TaskBatch(Batch, Protocol):
    """Samples with a task's targets, and what its model takes: images, or features of them."""

    targets: Mapping[str, Tensor]
    metas: list[dict[str, Any]]  # what is known of each sample

    def inputs(self) -> Any:
        """What the model is called with."""


class TaskObjective:
    """Implements `Objective`."""

    def __init__(self, task: Task) -> None:
        self.names = tuple(task.factors)
        self._task = task
        self._factors_T = torch.tensor([task.factors[name] for name in self.names])

    def weights(self, part: TaskBatch) -> Tensor:
        """See Objective."""
        weights = self._task.weights(part.targets)
        return torch.stack([weights[name].sum() for name in self.names])

    def losses(self, module: nn.Module, part: TaskBatch) -> Tensor:
        """See Objective; outputs are judged in float32."""
        outputs = module(part.inputs())
        with torch.autocast(next(iter(outputs.values())).device.type, enabled=False):
            outputs = {name: value.float() for name, value in outputs.items()}
            losses = self._task.losses(outputs, part.targets)
        weights = self._task.weights(part.targets)
        return torch.stack([(losses[name] * weights[name]).sum() for name in self.names])

    def combine(self, losses_T: Tensor, weights_T: Tensor) -> Tensor:
        """See Objective: every term is a mean of its own."""
        factors_T = self._factors_T.to(losses_T.device, non_blocking=True)
        return (factors_T * losses_T / weights_T).sum()
