"""A running mean of the weights: smoother than the weights themselves, and often better to use."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's parameters; divided among ranks as they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the weights as they are; `decay` is the share of the old mean in the new."""
        self.decay = decay
        self._parameters = dict(model.named_parameters())
        self.means: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take up the weights after a step."""
        means = list(self.means.values())
        weights: list[Tensor] = list(self._parameters.values())
        torch._foreach_lerp_(means, weights, 1 - self.decay)
