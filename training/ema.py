"""A running mean of the weights: smoother than the weights themselves, and often better to use."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's parameters; divided among ranks as they are.

    `decay` is the share of the old mean in the new. At first it is smaller, (1 + n) / (10 + n)
    at the n-th update, so that the mean forgets the weights that training started from.
    """

    def __init__(self, model: nn.Module, decay: float, num_updates: int = 0) -> None:
        """Start from the weights as they are, after `num_updates` of an earlier run."""
        self._decay, self._num_updates = decay, num_updates
        self._parameters = dict(model.named_parameters())
        self.means: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take up the weights after a step."""
        means = list(self.means.values())
        weights: list[Tensor] = list(self._parameters.values())
        self._num_updates += 1
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        torch._foreach_lerp_(means, weights, 1 - decay)
