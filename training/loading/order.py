"""The order in which samples are read: a pure function of (seed, epoch, shard sets), computed from
the index alone.

An epoch is a list of slots. Each slot names a shard set, a shard and a position in it. The trainer
takes the slots in order, `world_size` x `batch_size` at a time, so neither the number of loader
processes nor a restart changes anything.

A set is read in passes: its shards in a new order, in windows of a few shards, and only samples of
one window are mixed, so that few shards are open at a time. All groups of a set go through the same
windows; one that is asked for less than another leaves out samples in each window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
import numpy.typing as npt

from catalog.ids import seed_of
from shards.format import ShardIndex
from shards.groups import Group, decode_groups
from training.loading.mixture import Shares, group_quotas

LEAST_READ = Fraction(1, 16)  # share of a set's samples that each of several passes reads, or more

Ints = npt.NDArray[np.int64]
# (num_slots, 3): set, shard within the set, position within the shard. Every loader process holds
# those of an epoch, so they are small.
Slots = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Which samples are read at all: a smaller share is part of every larger one."""

    share: float = 1.0  # of the samples of these parts and kinds
    parts: tuple[str, ...] = ()  # empty: all
    kinds: tuple[str, ...] = ()  # empty: all
    seed: int = 0  # of the draw

    def has(self, group: Group) -> bool:
        """Whether samples of a group may be read."""
        is_of_part = not self.parts or group.part in self.parts
        return is_of_part and (not self.kinds or group.kind in self.kinds)


ALL = Subset()


@dataclass(frozen=True, kw_only=True, eq=False)
class SetSamples:
    """The samples of one set in the order of its tars, and how many slots their groups get.

    Shapes: N samples, G groups.
    """

    shard_sizes: Ints  # samples of each shard
    groups_N: npt.NDArray[np.unsignedinteger]  # number of each sample's group
    quotas_G: Ints  # slots of an epoch; the last of those that are left out: none


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """How one epoch is drawn from several shard sets."""

    sets: tuple[SetSamples, ...]
    window_shards: int  # samples are shuffled within this many shards of a set at a time

    @property
    def num_slots(self) -> int:
        """Slots of an epoch."""
        return sum(int(of_set.quotas_G.sum()) for of_set in self.sets)


def make_mixture(
    indexes: Sequence[ShardIndex],
    split: str,
    shares: Shares,
    window_shards: int,
    subset: Subset = ALL,
) -> Mixture:
    """Work out from the indexes how an epoch of a split is drawn; errors as `group_quotas`."""
    shards = [index.of_split(split) for index in indexes]
    groups = [
        np.concatenate([np.empty(0, np.uint8), *(decode_groups(shard.groups) for shard in of_set)])
        for of_set in shards
    ]
    if subset != ALL:
        groups = _leave_out(groups, indexes, subset)
    counts = [
        np.bincount(of_set, minlength=len(index.groups))[: len(index.groups)]
        for of_set, index in zip(groups, indexes, strict=True)
    ]
    all_groups = [group for index in indexes for group in index.groups]
    quotas = group_quotas(all_groups, np.concatenate(counts), shares)
    ends = np.cumsum([len(index.groups) for index in indexes])
    return Mixture(
        sets=tuple(
            SetSamples(
                shard_sizes=np.array([shard.samples for shard in of_set], np.int64),
                groups_N=groups_N,
                quotas_G=quotas_G if subset == ALL else np.append(quotas_G, 0),
            )
            for of_set, groups_N, quotas_G in zip(
                shards, groups, np.split(quotas, ends[:-1]), strict=True
            )
        ),
        window_shards=window_shards,
    )


def _leave_out(
    groups: Sequence[npt.NDArray[np.uint8]], indexes: Sequence[ShardIndex], subset: Subset
) -> list[npt.NDArray[np.uint16]]:
    """Give the samples that are not read a group of their own, after those of their set."""
    is_left = [
        np.array([subset.has(group) for group in index.groups])[of_set]
        for of_set, index in zip(groups, indexes, strict=True)
    ]
    left = np.concatenate([np.empty(0, np.bool_), *is_left])
    if subset.share < 1:
        chance = np.random.default_rng(seed_of("subset", subset.seed)).random(len(left))
        chance[~left] = np.inf
        count = max(1, round(subset.share * int(left.sum())))
        left &= chance <= np.partition(chance, count - 1)[count - 1] if len(left) else left
    ends = np.cumsum([len(of_set) for of_set in groups])
    return [
        np.where(of_set_left, of_set.astype(np.uint16), np.uint16(len(index.groups)))
        for of_set, of_set_left, index in zip(
            groups, np.split(left, ends[:-1]), indexes, strict=True
        )
    ]


def epoch_order(mixture: Mixture, seed: int, epoch: int) -> Slots:
    """Return the slots of one epoch.

    Without shares every sample comes exactly once. With shares a sample comes as often as any other
    of its group, or once more: which ones, is new in every epoch.
    """
    sizes = [int(of_set.quotas_G.sum()) for of_set in mixture.sets]
    turns = np.repeat(np.arange(len(sizes)), sizes)
    np.random.default_rng(seed_of("turns", seed, epoch)).shuffle(turns)
    slots = np.empty((len(turns), 3), np.int32)
    slots[:, 0] = turns
    for number, of_set in enumerate(mixture.sets):
        rng = np.random.default_rng(seed_of("set", seed, epoch, number))
        slots[turns == number, 1:] = _read_set(of_set, mixture.window_shards, rng)
    return slots


def read_at_all(mixture: Mixture) -> Slots:
    """Return a slot for each sample that some epoch reads, in the order of the tars."""
    slots = [np.empty((0, 3), np.int32)]
    for number, of_set in enumerate(mixture.sets):
        sizes = of_set.shard_sizes
        shard_N = np.repeat(np.arange(len(sizes)), sizes)
        position_N = np.arange(len(shard_N)) - (np.cumsum(sizes) - sizes)[shard_N]
        read_N = (of_set.quotas_G > 0)[of_set.groups_N]
        set_N = np.full(len(shard_N), number)
        slots.append(np.stack([set_N, shard_N, position_N], axis=1)[read_N].astype(np.int32))
    return np.concatenate(slots)


def _read_set(of_set: SetSamples, window_shards: int, rng: np.random.Generator) -> Ints:
    """The shard and position of each of a set's slots, in order: (slots, 2).

    For example, 4 shards of 10 samples each, all of one group for which 50 slots are asked: 5/4
    passes. The whole one reads every sample, and the part of one the 10 samples of its first shard
    again. With two groups of 20 samples for which 25 and 20 slots are asked it is 5/4 passes, too:
    of the second group the whole one reads 16 samples, and the part the 4 that are left, wherever
    they lie.
    """
    sizes, groups_N, quotas_G = of_set.shard_sizes, of_set.groups_N, of_set.quotas_G
    shard_N = np.repeat(np.arange(len(sizes)), sizes)
    counts_G = np.bincount(groups_N, minlength=len(quotas_G))
    passes = _num_passes(counts_G, quotas_G)
    whole = floor(passes)
    in_whole_G = np.array([_round(quota * whole / passes) for quota in quotas_G.tolist()], np.int64)
    # The place of each shard in the order of each pass, the part of a pass last: (passes, shards).
    rank = np.array([rng.permutation(len(sizes)) for _ in range(whole + 1)])
    samples, pass_number = _read_whole_passes(groups_N, counts_G, in_whole_G, whole, rng)

    # Reads of each sample beyond those that all of its group have had: 0 or 1.
    extra_N = np.bincount(samples, minlength=len(groups_N))
    extra_N -= (in_whole_G // np.maximum(counts_G, 1))[groups_N]
    # How many shards later than the one in which the part of a pass ends, in its order.
    num_left = float((passes - whole) * len(groups_N))
    last_rank = np.cumsum(sizes[np.argsort(rank[whole])]).searchsorted(num_left)
    beyond_N = np.maximum(rank[whole][shard_N] - last_rank, 0)
    rest = _choose(groups_N, quotas_G - in_whole_G, extra_N, beyond_N, rng)
    samples = np.concatenate([samples, rest])
    pass_number = np.concatenate([pass_number, np.full(len(rest), whole)])

    # By pass and window, and within one at random.
    window = pass_number * len(sizes) + rank[pass_number, shard_N[samples]] // window_shards
    mixed = rng.permutation(len(samples))
    samples = samples[mixed[np.argsort(_compact(window[mixed]), kind="stable")]]
    first = np.cumsum(sizes) - sizes
    return np.stack([shard_N[samples], samples - first[shard_N[samples]]], axis=1)


def _num_passes(counts_G: Ints, quotas_G: Ints) -> Fraction:
    """How many times a set is gone through in an epoch: as often as its most wanted group is read.

    But no pass beyond the first may read less than `LEAST_READ` of the samples on its way: a
    group that is wanted much more than the others is then read several times in each pass.
    """
    asked = [(q, n) for q, n in zip(quotas_G.tolist(), counts_G.tolist(), strict=True) if q]
    if not asked:
        return Fraction(1)
    most = max(Fraction(quota, count) for quota, count in asked)
    bound = sum(quota for quota, _ in asked) / (LEAST_READ * sum(count for _, count in asked))
    return most if most <= max(1, bound) else Fraction(max(1, floor(bound)))


def _read_whole_passes(
    groups_N: npt.NDArray[np.unsignedinteger],
    counts_G: Ints,
    slots_G: Ints,
    num_passes: int,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Read each group for its number of slots, in shuffles one after the other, spread evenly over
    the passes; return the samples, and the pass of each.
    """
    samples, pass_numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    members = np.arange(len(groups_N))
    read_G = np.zeros_like(slots_G)
    while len(members := members[(read_G < slots_G)[groups_N[members]]]):
        members = rng.permutation(members)
        members = members[np.argsort(groups_N[members], kind="stable")]
        turn = read_G[groups_N[members]] + _number_within(groups_N[members])
        limit = slots_G[groups_N[members]]
        taken = turn < limit
        samples.append(members[taken])
        pass_numbers.append(turn[taken] * num_passes // limit[taken])
        read_G += counts_G
    return np.concatenate(samples), np.concatenate(pass_numbers)


def _choose(
    groups_N: npt.NDArray[np.unsignedinteger],
    slots_G: Ints,
    extra_N: Ints,
    beyond_N: Ints,
    rng: np.random.Generator,
) -> Ints:
    """Choose samples of each group: those read least so far, and of these the ones in the shards
    that come first, at random within what is equal.
    """
    members = np.flatnonzero((slots_G > 0)[groups_N])
    # By group, extra, beyond and chance: packed into one number, this sorts four times as fast as
    # `np.lexsort`.
    key = groups_N[members].astype(np.int64) * 2 + extra_N[members]
    key = key * (beyond_N.max(initial=0) + 1) + beyond_N[members]
    key = key * len(members) + rng.permutation(len(members))  # no two are equal: any sort will do
    members = members[np.argsort(key)]
    return members[_number_within(groups_N[members]) < slots_G[groups_N[members]]]


def _number_within(sorted_groups: npt.NDArray[np.unsignedinteger]) -> Ints:
    """Number the elements of each group from 0; equal ones lie side by side."""
    starts = np.cumsum(np.bincount(sorted_groups)) - np.bincount(sorted_groups)
    return np.arange(len(sorted_groups)) - starts[sorted_groups]


def _round(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def _compact(values: Ints) -> npt.NDArray[np.unsignedinteger]:
    """The same numbers in 16 bits where they fit: numpy sorts those in linear time."""
    return values.astype(np.uint16 if values.max(initial=0) < 2**16 else np.uint64)
