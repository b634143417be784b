"""AdamW and its learning rate, as CroCo was trained: warm-up, then a cosine that may be planned
longer than the run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

REFERENCE_BATCH = 256  # the batch that a base learning rate is stated for


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The defaults are the published ones of CroCo v1 (warm-up 40, cosine over 800, stopped at 400
    epochs).
    """

    base_lr: float = 1.5e-4  # for a batch of 256 pairs; proportional to the batch
    beta1: float = 0.9  # of AdamW, for the mean of gradients ...
    beta2: float = 0.95  # ... and for that of their squares
    weight_decay: float = 0.05  # of matrices; none for biases and other one-dimensional parameters
    warmup_share: float = 0.1  # of the run, over which the rate rises linearly from 0
    cosine_stretch: float = 2.0  # planned cosine, in runs: at 2 the run ends half-way down
    clip_grad_norm: float | None = None  # longest gradient, over all parameters
    ema: float = 0.0  # decay of a mean of the weights, as 0.9999, less at first; 0: none is kept


def make_optimizer(
    model: nn.Module, config: OptimizerConfig, scales: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """Return AdamW over the model's trained parameters, matrices with weight decay, others without;
    `scales` gives some of them, by name, a share of the learning rate.
    """
    scales = scales or {}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            scale = scales.get(name, 1.0)
            empty = {"params": [], "weight_decay": decay, "scale": scale}
            groups.setdefault((scale, -decay), empty)["params"].append(parameter)
    groups = dict(sorted(groups.items()))
    return torch.optim.AdamW(
        list(groups.values()), lr=0.0, betas=(config.beta1, config.beta2), fused=True
    )


def peak_rate(config: OptimizerConfig, batch_size: int) -> float:
    """The highest rate of a run, for a batch of all ranks together."""
    return config.base_lr * batch_size / REFERENCE_BATCH


def learning_rate(config: OptimizerConfig, batch_size: int, progress: float) -> float:
    """Return the rate at a point of the run, 0 (start) to 1 (end), for a batch of all ranks
    together.
    """
    peak = peak_rate(config, batch_size)
    if progress < config.warmup_share:
        return peak * progress / config.warmup_share
    done = (progress - config.warmup_share) / (config.cosine_stretch - config.warmup_share)
    return peak * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group: its share of this one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
