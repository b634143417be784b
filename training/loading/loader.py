"""Stream batches of pairs in an order that can be left and taken up again exactly.

Loader processes divide the batches of an epoch among themselves (`batches.py`), and what a batch
holds does not depend on who makes it. So a position is two numbers, resuming needs no replay, and
the number of processes changes nothing.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
from torch import Tensor
from torch.utils.data import DataLoader

from training.loading.arrays import SharedArrays
from training.loading.batches import BatchMaker, BatchNotes, Place, Reading
from training.loading.filling import View
from training.loading.mixture import Shares
from training.loading.pair_batch import PairBatch
from training.loading.roles import Roles
from training.loading.shard_files import ShardFilesConfig

HELD = 3  # batches that the user of a loader may hold, or a GPU still copies from


@dataclass(frozen=True, kw_only=True)
class LoaderConfig(ShardFilesConfig):
    """How samples are read and put into batches, and shards kept on the way."""

    batch_size: int = 256  # pairs on each rank
    num_workers: int = 8  # loader processes; 0: load in the training process. Changes no result
    prefetch_batches: int = 2  # batches that each process prepares ahead
    window_shards: int = 8  # shards of a set that are shuffled together
    # Shares of an epoch, `name=share` each; empty: as the data have them; not listed: none.
    sources: tuple[str, ...] = ()  # by dataset
    kinds: tuple[str, ...] = ()  # `cross_view=1`, `cross_pose=3`
    parts: tuple[str, ...] = ()  # `body`, `left_hand`, `right_hand`
    # The masked image: a as mined, either by chance, or the later one in time (held-out pairs: as
    # mined, or the later one).
    roles: Roles = "as_mined"
    max_bad_share: float = 0.01  # damaged samples, as a share of all, above which the run stops

    def __post_init__(self) -> None:
        for name in ("batch_size", "prefetch_batches", "window_shards"):
            if getattr(self, name) < 1:
                raise ValueError(f"loader.{name} must be 1 or more, got {getattr(self, name)}")
        if self.num_workers < 0:
            raise ValueError(f"loader.num_workers must be 0 or more, got {self.num_workers}")


class PairLoader:
    """An endless iterator over batches; `state` and `restore` give and take its position."""

    def __init__(
        self,
        urls: Sequence[str],
        config: LoaderConfig,
        view: View,
        split: str = "train",
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
        lend: bool = False,
    ) -> None:
        """Read the sets' indexes.

        With `lend` batches are not copied: one may be used until the next but one is asked for.

        Raises ValueError for no set, a damaged one, shares that cannot be had, or fewer pairs than
        one batch.
        """
        cv2.setNumThreads(0)  # its threads do not survive a fork; processes are the parallelism
        reading = Reading(
            split=split,
            batch_size=config.batch_size,
            rank=rank,
            world_size=world_size,
            window_shards=config.window_shards,
            shares=Shares(sources=config.sources, kinds=config.kinds, parts=config.parts),
            roles=config.roles,
        )
        self._maker = BatchMaker(urls, view, reading, config)
        self._config, self._view, self._lend = config, view, lend
        self._urls, self._pin_memory = list(urls), pin_memory
        self.epoch, self.batch = 0, 0  # of the batch that comes next
        self.damaged: dict[tuple[int, ...], str] = {}  # set, shard, position -> what was wrong
        if not self.num_batches:
            raise ValueError(
                f"{self.num_pairs} {split} pairs are fewer than one batch of "
                f"{world_size * config.batch_size}: lower loader.batch_size or add shards"
            )

    @property
    def num_pairs(self) -> int:
        """Pairs of one epoch over all ranks, damaged ones included."""
        return self._maker.mixture.num_slots

    @property
    def num_batches(self) -> int:
        """Batches of one epoch on this rank, the same on every rank."""
        return self._maker.num_batches

    def state(self) -> dict[str, Any]:
        """The position of the batch that comes next, as plain values."""
        return {"epoch": self.epoch, "batch": self.batch, "order": self._maker.identity}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue at a saved position. Raises ValueError when it belongs to another order."""
        if state["order"] != self._maker.identity:
            raise ValueError(
                "the checkpoint's position is in other shards or batches than those of "
                f"{', '.join(self._urls)}: use the same ones, or another --out"
            )
        self.epoch, self.batch = state["epoch"], state["batch"]

    def __iter__(self) -> Iterator[PairBatch]:
        """Yield batches from the position on, epoch after epoch.

        Raises ValueError when more than `max_bad_share` of an epoch's samples are damaged.
        """
        workers = self._config.num_workers
        # The clients of object stores do not survive a fork.
        start = "spawn" if workers and any("://" in url for url in self._urls) else None
        shared = self._share_arrays() if workers else None
        self._maker.shared = shared
        made = DataLoader(
            self._maker,
            batch_size=None,
            collate_fn=_as_it_is,
            sampler=_places(self.epoch, self.batch, self.num_batches),
            num_workers=workers,
            prefetch_factor=self._config.prefetch_batches if workers else None,
            multiprocessing_context=start,
            worker_init_fn=_leave_stopping_to_the_trainer if workers else None,
        )
        try:
            for notes, held in made:
                self.batch += 1
                if self.batch == self.num_batches:
                    self.epoch, self.batch = self.epoch + 1, 0
                self.damaged.update(notes.damaged)
                self._check_damaged()
                tensors = held if shared is None else shared.tensors(held)
                yield self._make_batch(notes, tensors, is_shared=shared is not None)
        finally:
            if shared is not None:
                shared.close()

    def _share_arrays(self) -> SharedArrays:
        """As many sets as are prepared ahead, and those that the user of this loader holds."""
        count = self._config.num_workers * self._config.prefetch_batches + HELD
        return SharedArrays([self._maker.allocate() for _ in range(count)], self._pin_memory)

    def _make_batch(
        self, notes: BatchNotes, tensors: dict[str, Tensor], is_shared: bool
    ) -> PairBatch:
        size = len(notes.metas)
        if is_shared and not self._lend:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        arrays: dict[str, Any] = {name: tensor[:size] for name, tensor in tensors.items()}
        return PairBatch(
            **arrays,
            image_px=self._view.image_px,
            background=self._view.augment.background,
            metas=notes.metas,
            places=notes.places,
            swapped=notes.swapped,
            damaged=notes.damaged,
        )

    def _check_damaged(self) -> None:
        # Over the epochs a rank meets nearly every damaged sample there is.
        if len(self.damaged) > self._config.max_bad_share * self.num_pairs:
            raise ValueError(
                f"{len(self.damaged)} of {self.num_pairs} samples are damaged, more than "
                f"loader.max_bad_share = {self._config.max_bad_share} allows; the last: "
                f"{list(self.damaged.values())[-1]}"
            )


def _places(epoch: int, batch: int, num_batches: int) -> Iterator[Place]:
    turn = 0
    while True:
        for number in range(batch, num_batches):
            yield epoch, number, turn
            turn += 1
        epoch, batch = epoch + 1, 0


def _as_it_is(made: Any) -> Any:
    return made


def _leave_stopping_to_the_trainer(worker: int) -> None:
    """Schedulers send SIGTERM to all processes of a job: the trainer still needs this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
