"""The random numbers of samples: a pure function of seed, epoch and slot.

They come from a counter-based generator, so those of any stretch of slots are drawn at once and do
not depend on how an epoch is divided into batches, ranks and processes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.ids import seed_of

WORDS = 4  # numbers of one count of the generator

Floats = npt.NDArray[np.floating[Any]]


def draw_slots(seed: int, epoch: int, first: int, count: int, columns: int) -> Floats:
    """Return numbers in [0, 1) for `count` slots from `first` on, (count, columns)."""
    counts = -(-columns // WORDS)  # of the generator, for each slot
    generator = np.random.Philox(key=seed_of("samples", seed, epoch))
    generator.advance(first * counts)
    return np.random.Generator(generator).random((count, counts * WORDS))[:, :columns]


def draw_held_out(seed: int, pair_id: str, columns: int) -> Floats:
    """Return the numbers of a held-out pair, (columns,): the same wherever it comes in an epoch."""
    return np.random.default_rng(seed_of("held out", seed, pair_id)).random(columns)
