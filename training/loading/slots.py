"""The samples of a batch, found and read: from (epoch, number of the batch) to the files of each.

What a batch holds follows from the sets' indexes, the seed and the epoch (`order.py`), so any
process can find it. `Maker` is what makers of batches share.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from catalog import storage
from catalog.config import to_dict
from catalog.ids import content_id
from shards.format import Contents, ShardIndex, read_index
from training.loading.mixture import Shares
from training.loading.order import (
    ALL,
    Slots,
    Subset,
    epoch_order,
    make_mixture,
    read_at_all,
)
from training.loading.prefetch import Prefetcher
from training.loading.reader import Files, ShardCache
from training.loading.shard_files import ShardFiles, ShardFilesConfig

Place = tuple[int, int, int]  # epoch, batch of it, and how many batches were asked for before
Damage = dict[tuple[int, ...], str]  # slot -> what was wrong
Made = TypeVar("Made")

MAX_SUBSTITUTES = 4  # batches tried until one has a usable sample
COMMANDS: dict[str, str] = {"pairs": "pretrain", "labels": "finetune"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which samples are read, and how they are divided into batches."""

    contents: Contents = "pairs"
    split: str  # `train` or `val`
    held_out: bool = False  # a last batch may be smaller than the others
    repeat: bool = False  # where there are fewer samples than a batch of all ranks, fill it anew
    seed: int  # of the order
    batch_size: int  # samples on each rank
    rank: int
    world_size: int
    window_shards: int  # shards of a set that are shuffled together
    shares: Shares  # of sources, kinds and parts
    subset: Subset = ALL  # of the samples: those that are read at all


class SlotReader:
    """The batches of one rank as samples; a copy lives in every loader process."""

    def __init__(
        self,
        urls: Sequence[str],
        reading: Reading,
        files: ShardFilesConfig,
        required: Sequence[str],
    ) -> None:
        """Read the sets' indexes; `required` are the files that every sample must have.

        Raises ValueError for none, a damaged one, or one that holds something else.
        """
        if not urls:
            raise ValueError("no shard set given: name at least one folder with an index.json")
        self.indexes = [read_index(url) for url in urls]
        for url, index in zip(urls, self.indexes, strict=True):
            _check_contents(url, index, reading.contents)
        shards = [index.of_split(reading.split) for index in self.indexes]
        self._shards = [
            [(storage.join(url, shard.name), shard) for shard in of_set]
            for url, of_set in zip(urls, shards, strict=True)
        ]
        self.reading, self._required = reading, required
        shard_files = ShardFiles(files)
        shard_files.prepare([shard for of_set in self._shards for shard in of_set])
        self._cache = ShardCache(shard_files, capacity=len(urls) * (reading.window_shards + 1))
        self._prefetcher = Prefetcher(shard_files, self._shards, files.prefetch_shards)
        self._order: tuple[int, Slots] | None = None
        self.mixture = make_mixture(
            self.indexes,
            reading.split,
            reading.shares,
            reading.window_shards,
            reading.subset,
        )
        # What a position in the order depends on: the same wherever the shards lie.
        self.identity = content_id(
            [[shard.sha256 for shard in of_set] for of_set in shards],
            [reading.batch_size, reading.world_size, reading.window_shards],
            [of_set.quotas_G.tolist() for of_set in self.mixture.sets],
            [reading.seed, *([] if reading.subset == ALL else [to_dict(reading.subset)])],
        )

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, the same on every rank; a partial one only when held out."""
        per_step = self.reading.batch_size * self.reading.world_size
        full, rest = divmod(self.mixture.num_slots, per_step)
        one_more = self.reading.held_out or (self.reading.repeat and not full)
        return full + bool(rest and one_more)

    def find(self, epoch: int, number: int) -> tuple[int, list[list[int]]]:
        """The slots of a batch: the first one's place in the epoch, and set, shard and position of
        each.
        """
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.mixture, self.reading.seed, epoch))
        size = self.reading.batch_size
        first = (number * self.reading.world_size + self.reading.rank) * size
        order = self._order[1]
        self._prefetcher.look_ahead(epoch, order, first)
        if self.reading.repeat and first + size > len(order):
            return first, order[np.arange(first, first + size) % len(order)].tolist()
        return first, order[first : first + size].tolist()

    def name(self, slot: Sequence[int]) -> str:
        """Where a slot's sample lies, for messages."""
        of_set, shard, position = slot
        return f"{self._shards[of_set][shard][0]} sample {position}"

    def names(self) -> set[str]:
        """Where the samples that are read at all lie, over all epochs."""
        return {self.name(slot) for slot in read_at_all(self.mixture).tolist()}

    def read(self, slot: Sequence[int]) -> tuple[str, Files]:
        """Read a slot's sample: its key, and its files by extension. Raises ValueError or OSError
        when it is damaged or lost.
        """
        of_set, shard, position = slot
        url, entry = self._shards[of_set][shard]
        return self._cache.get(url, entry).read(position, self._required)


class Maker(ABC, Generic[Made]):
    """Makes the batches of one rank, by `Place`; a copy lives in every loader process."""

    def __init__(self, slots: SlotReader) -> None:
        self._slots, self._reading = slots, slots.reading

    @property
    def identity(self) -> str:
        """What a position in the order depends on."""
        return self._slots.identity

    @property
    def num_slots(self) -> int:
        """Samples of an epoch over all ranks."""
        return self._slots.mixture.num_slots

    @property
    def num_batches(self) -> int:
        """Batches of an epoch on each rank."""
        return self._slots.num_batches

    def __getitem__(self, place: Place) -> Made:
        """Make a batch; where it has no usable sample, one of the next few in its place, since
        every rank must have a batch for every step.

        Raises ValueError when none of them has one.
        """
        epoch, number, turn = place
        damaged: Damage = {}
        for ahead in range(MAX_SUBSTITUTES):
            made = self._make(epoch, (number + ahead) % self.num_batches, turn, damaged)
            if made is not None:
                return made
        raise ValueError(
            f"no usable sample in {MAX_SUBSTITUTES} batches; the last: {list(damaged.values())[-1]}"
        )

    @abstractmethod
    def _make(self, epoch: int, number: int, turn: int, damaged: Damage) -> Made | None:
        """Make a batch of an epoch, or None where it has no usable sample; of held-out ones, where
        no sample may count twice, an empty one. What cannot be used is added to `damaged`.
        """


def _check_contents(url: str, index: ShardIndex, wanted: Contents) -> None:
    if index.contents != wanted:
        raise ValueError(
            f"{url} holds {index.contents}, not {wanted}: it is for "
            f"`python -m training {COMMANDS[index.contents]}`"
        )
