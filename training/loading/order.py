"""The order in which samples are read: a pure function of (seed, epoch, shard sets), computed from
the index alone.

An epoch is a list of slots. Each slot names a shard set, a shard and a position in it. The trainer
takes the slots in order, `world_size` x `batch_size` at a time, so neither the number of loader
processes nor a restart changes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catalog.ids import seed_of

Slots = npt.NDArray[
    np.int64
]  # (num_slots, 3): set, shard within the set, position within the shard


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How one epoch is drawn from several shard sets."""

    samples: tuple[tuple[int, ...], ...]  # samples in each shard of each set
    weights: tuple[
        float, ...
    ] = ()  # share of the epoch for each set; empty: as many as each set has
    window_shards: int = 8  # samples are shuffled within this many shards of a set at a time

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.samples):
            raise ValueError(
                f"{len(self.weights)} mixture weights for {len(self.samples)} shard sets: "
                "give one for each"
            )
        if self.weights and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError(f"mixture weights must be positive shares, got {self.weights}")

    @property
    def num_slots(self) -> int:
        """Slots of an epoch: the samples of all sets."""
        return sum(map(sum, self.samples))

    def quotas(self) -> list[int]:
        """Return the number of slots of each set; they sum to `num_slots`."""
        if not self.weights:
            return [sum(shards) for shards in self.samples]
        edges = np.rint(np.cumsum([0.0, *self.weights]) / sum(self.weights) * self.num_slots)
        return [int(count) for count in np.diff(edges)]


def epoch_order(mixture: Mixture, seed: int, epoch: int) -> Slots:
    """Return the slots of one epoch.

    Without weights every sample comes exactly once. With weights a set is read as often as its
    share asks: a part of a new shuffle, or several shuffles one after the other.
    """
    quotas = mixture.quotas()
    turns = np.repeat(np.arange(len(quotas)), quotas)
    np.random.default_rng(seed_of("turns", seed, epoch)).shuffle(turns)
    slots = np.empty((len(turns), 3), np.int64)
    slots[:, 0] = turns
    for number, quota in enumerate(quotas):
        slots[turns == number, 1:] = _read_set(mixture, number, quota, seed, epoch)
    return slots


def _read_set(mixture: Mixture, number: int, quota: int, seed: int, epoch: int) -> Slots:
    samples = mixture.samples[number]
    if quota and not sum(samples):
        raise ValueError(f"shard set {number + 1} has no samples of this split")
    rounds: list[Slots] = [np.empty((0, 2), np.int64)]
    missing = quota
    while missing > 0:
        rng = np.random.default_rng(seed_of("set", seed, epoch, number, len(rounds)))
        rounds.append(_shuffle_once(samples, mixture.window_shards, rng)[:missing])
        missing -= len(rounds[-1])
    return np.concatenate(rounds)


def _shuffle_once(samples: Sequence[int], window_shards: int, rng: np.random.Generator) -> Slots:
    """Each sample of a set once: shards shuffled, samples shuffled within windows of shards."""
    shards = rng.permutation(len(samples))
    windows = []
    for start in range(0, len(shards), window_shards):
        window = shards[start : start + window_shards]
        rows = [np.stack([np.full(samples[s], s), np.arange(samples[s])], axis=1) for s in window]
        windows.append(rng.permutation(np.concatenate(rows)))
    return np.concatenate(windows)
