"""GELU, x times the normal distribution function of x, in a form that a GPU is not slowed down by.

Compiled for a GPU, the error function of the usual form takes longer (36 instructions a number)
than reading and writing does. Formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical
Functions (1964), has it within 1.5e-7, which is float32's own precision, in 20.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.3275911 / math.sqrt(2)
COEFFICIENTS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class Gelu(nn.Module):
    """The exact GELU, not the one with tanh."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each number."""
        if x.is_cuda and torch.compiler.is_compiling():
            return gelu_of_few_instructions(x)
        return F.gelu(x)


def gelu_of_few_instructions(x: Tensor) -> Tensor:
    """GELU within 1e-6 of the exact one, computed in float32; good when compiled for a GPU."""
    result: Tensor = _Gelu.apply(x)
    return result


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        wide = x.float()
        tail, _ = _upper_tail(wide)
        result = wide.clamp(min=0) - wide.abs() * tail
        # Not an idle `to`: torch 2.11 (not 2.15) compiles a way back of zeros for a way there that
        # ends in one.
        return result if result.dtype == x.dtype else result.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Of -x: where both ways begin with the same expression, the partitioner was seen to keep
        # its results, in float32, instead of x.
        (x,) = ctx.saved_tensors
        minus = (-x).float()
        tail, bell = _upper_tail(minus)
        slope = torch.where(minus > 0, tail, 1 - tail) - minus * bell / math.sqrt(2 * math.pi)
        return (gradient.float() * slope).to(x.dtype)


def _upper_tail(x: Tensor) -> tuple[Tensor, Tensor]:
    """How likely a normal number is above |x|, and exp(-x^2 / 2)."""
    bell = torch.exp2(x * x * (-0.5 / math.log(2)))
    # Half of what it takes to divide: a GPU has the inverse square root as one instruction.
    root = torch.rsqrt(1 + SLOPE * x.abs())
    t = root * root
    series = torch.full_like(t, COEFFICIENTS[0] / 2)
    for coefficient in COEFFICIENTS[1:]:
        series = series * t + coefficient / 2
    return series * t * bell, bell
