"""What frozen features know of classes: a linear probe and nearest neighbours, for any encoder.

Features are extracted once, one vector an image, without augmentation; nothing of the encoder is
trained. Both are cheap, and their figures tell encoders apart before any fine-tuning does.

Shapes: N training and B test samples, D features, K classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.metrics.classes import knn_classes
from training.tasks.task import Features

WEIGHT_DECAYS = tuple(10.0**power for power in range(0, -7, -1))  # the strongest first
HELD_OUT_SHARE = 0.2  # of the training samples, to choose the weight decay by
MAX_STEPS = 200  # of LBFGS, for each weight decay
LEAST_SPREAD = 1e-6  # standard deviation below which a feature is a constant


class LinearProbe(NamedTuple):
    """What a linear probe says of the test samples, and how it was chosen."""

    logits_BK: Tensor
    weight_decay: float

    @property
    def classes_B(self) -> Tensor:
        """The likeliest class of each test sample."""
        return self.logits_BK.argmax(dim=1)


def mean_tokens(features: Features) -> Tensor:
    """One vector of each image, (B, C) float32: the mean of its last tokens."""
    return features.tokens_BNC.float().mean(dim=1)


def linear_probe(
    train_features_ND: Tensor,
    train_classes_N: Tensor,
    test_features_BD: Tensor,
    num_classes: int,
    *,
    train_groups_N: Tensor | None = None,
    seed: int = 0,
) -> LinearProbe:
    """Fit logistic regression on frozen features, and apply it to the test samples.

    The weight decay is the one that does best on a fifth of the training samples when fitted to the
    others (the stronger of equals); then all are fitted. Samples of one group (numbers; such as a
    person) are held out together. Raises ValueError when there is too little to learn from.
    """
    _check(train_features_ND, train_classes_N, num_classes)
    held_N = _held_out(train_classes_N, train_groups_N, seed)
    mean_D = train_features_ND.float().mean(dim=0)
    std_D = train_features_ND.float().std(dim=0).clamp(min=LEAST_SPREAD)
    x_ND = (train_features_ND.float() - mean_D) / std_D
    accuracies = []
    weights_EK = None  # of the last fit: the next one starts there
    for weight_decay in WEIGHT_DECAYS:
        weights_EK = _fit(
            x_ND[~held_N], train_classes_N[~held_N], num_classes, weight_decay, weights_EK
        )
        right_N = _logits(x_ND[held_N], weights_EK).argmax(dim=1) == train_classes_N[held_N]
        accuracies.append(right_N.double().mean().item())
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    weights_EK = _fit(x_ND, train_classes_N, num_classes, WEIGHT_DECAYS[best], None)
    logits_BK = _logits((test_features_BD.float() - mean_D) / std_D, weights_EK)
    return LinearProbe(logits_BK, WEIGHT_DECAYS[best])


def knn_probe(
    train_features_ND: Tensor, train_classes_N: Tensor, test_features_BD: Tensor, num_classes: int
) -> Tensor:
    """The classes (B,) that the nearest training samples vote for: DINO's protocol, as
    `knn_classes` has it.
    """
    _check(train_features_ND, train_classes_N, num_classes)
    return knn_classes(train_features_ND, train_classes_N, test_features_BD, num_classes)


def _check(features_ND: Tensor, classes_N: Tensor, num_classes: int) -> None:
    if len(features_ND) != len(classes_N):
        raise ValueError(
            f"there are {len(features_ND)} rows of features but {len(classes_N)} classes: give one "
            "class for each"
        )
    if len(classes_N) < 2 or not 0 <= int(classes_N.min()) <= int(classes_N.max()) < num_classes:
        raise ValueError(
            f"a probe needs 2 or more training samples of classes 0 to {num_classes - 1}, but has "
            f"{len(classes_N)}: {sorted(set(classes_N.tolist()))[:10]}"
        )
    if not features_ND.isfinite().all():
        raise ValueError("some features are not finite: the encoder's output is damaged")


def _held_out(classes_N: Tensor, groups_N: Tensor | None, seed: int) -> Tensor:
    """Which samples are held out, (N,) bool: some, but not all.

    Without groups it is the share of each class, so that a rare one is not lost.
    """
    generator = torch.Generator().manual_seed(seed)
    rank_N = torch.empty(len(classes_N))
    blocks = classes_N.cpu() if groups_N is None else torch.zeros(len(classes_N))
    units_N = torch.arange(len(classes_N)) if groups_N is None else groups_N.cpu()
    for block in blocks.unique():
        here_N = blocks == block
        _, unit_M = units_N[here_N].unique(return_inverse=True)
        order = torch.randperm(int(unit_M.max()) + 1, generator=generator)
        rank_N[here_N] = (order[unit_M] + 0.5) / len(order)
    held_N = rank_N < HELD_OUT_SHARE
    if not held_N.any():  # few samples, or few groups
        held_N = rank_N == rank_N.min()
    if held_N.all():  # one group alone
        held_N = torch.arange(len(held_N)) % round(1 / HELD_OUT_SHARE) == 0
    return held_N.to(classes_N.device)


def _fit(
    x_ND: Tensor, classes_N: Tensor, num_classes: int, weight_decay: float, start_EK: Tensor | None
) -> Tensor:
    """Weights (D + 1, K), the last row the bias, that minimize the mean cross-entropy plus half the
    weight decay times the squared weights.
    """
    if start_EK is None:
        start_EK = torch.zeros(x_ND.shape[1] + 1, num_classes, device=x_ND.device)
    weights_EK = start_EK.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights_EK], max_iter=MAX_STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        with torch.enable_grad():
            optimizer.zero_grad()
            error = F.cross_entropy(_logits(x_ND, weights_EK), classes_N)
            total = error + 0.5 * weight_decay * weights_EK[:-1].square().sum()
            total.backward()
        return total.item()

    optimizer.step(loss)
    return weights_EK.detach()


def _logits(x_ND: Tensor, weights_EK: Tensor) -> Tensor:
    return x_ND @ weights_EK[:-1] + weights_EK[-1]
