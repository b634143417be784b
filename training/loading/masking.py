"""Which patches of image a are hidden: a fixed number, drawn anew for every sample.

Uniform as in CroCo, or leaning towards the person ("human-focused"): the number stays the same, the
choice prefers foreground.

Shapes: B samples, N patches of an image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """How many patches are hidden and how strongly the choice prefers the person."""

    ratio: float = 0.9  # share of all patches that is hidden
    focus: float = 0.0  # 0: uniform; 1: all foreground before any background; between: a lean
    foreground_share: float = 0.25  # a patch counts as foreground when this share of it is person


def num_masked(num_patches: int, ratio: float) -> int:
    """Return how many patches a ratio hides, rounding down; at least one is hidden and one visible.

    Raises ValueError when that cannot be.
    """
    count = int(ratio * num_patches)
    if not 0 < count < num_patches:
        raise ValueError(
            f"a mask ratio of {ratio} hides {count} of {num_patches} patches; choose one in between"
        )
    return count


def choose_masks(
    foreground_BN: Floats, chance_BN: Floats, config: MaskingConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the sorted indices of the visible and of the masked patches; together they are all N.

    Every patch has a number in [0, 1), foreground adds `focus`, and the highest are hidden. So
    with a focus of 1 and more foreground than places, a random part of the foreground is hidden;
    with less, all of it and some background.
    """
    count = num_masked(foreground_BN.shape[1], config.ratio)
    rank_BN = chance_BN + config.focus * (foreground_BN >= config.foreground_share)
    order_BN = np.argsort(rank_BN, axis=1)
    return np.sort(order_BN[:, :-count], axis=1), np.sort(order_BN[:, -count:], axis=1)
