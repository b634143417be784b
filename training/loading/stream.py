"""Stream batches in an order that can be left and taken up again exactly.

Loader processes divide the batches of an epoch among themselves, and what a batch holds does not
depend on who makes it. So a position is two numbers, resuming needs no replay, and the number of
processes changes nothing. What a batch is made of, its maker says (`batches.py` for pairs,
`label_batches.py` for labelled images).
"""

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
from torch.utils.data import DataLoader, Dataset

from training.loading.mixture import Shares
from training.loading.shard_files import ShardFilesConfig
from training.loading.slots import Damage, Made, Maker, Place

LOOK_EVERY_S = 1.0  # how often a loader process looks whether the trainer is there

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class StreamConfig(ShardFilesConfig):
    """How samples are read and put into batches, and shards kept on the way."""

    batch_size: int = 256  # samples on each rank
    num_workers: int = 8  # loader processes; 0: load in the training process. Changes no result
    prefetch_batches: int = 2  # batches that each process prepares ahead
    window_shards: int = 8  # shards of a set that are shuffled together
    # Shares of an epoch by dataset, `name=share` each; empty: as the data have them; not listed:
    # none.
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # the same by kind: `cross_view=1,cross_pose=3`
    parts: tuple[str, ...] = ()  # the same by part: `body`, `left_hand`, `right_hand`
    max_bad_share: float = 0.01  # damaged samples, as a share of all, above which the run stops

    def __post_init__(self) -> None:
        for name in ("batch_size", "prefetch_batches", "window_shards"):
            if getattr(self, name) < 1:
                raise ValueError(f"loader.{name} must be 1 or more, got {getattr(self, name)}")
        if self.num_workers < 0:
            raise ValueError(f"loader.num_workers must be 0 or more, got {self.num_workers}")

    @property
    def shares(self) -> Shares:
        """What is asked of the mixture."""
        return Shares(sources=self.sources, kinds=self.kinds, parts=self.parts)


class StreamLoader(ABC, Generic[Made, Batch]):
    """An endless iterator over batches; `state` and `restore` give and take its position."""

    def __init__(self, urls: Sequence[str], maker: Maker[Made], config: StreamConfig) -> None:
        """Raises ValueError for fewer samples than one batch."""
        self._urls, self._maker, self._config = list(urls), maker, config
        self.epoch, self.batch = 0, 0  # of the batch that comes next
        self.damaged: Damage = {}  # set, shard, position -> what was wrong

    def refuse_too_few(self, what: str, num_ranks: int) -> None:
        """Raise ValueError when there is no batch in an epoch; `what` names the samples."""
        if not self.num_batches:
            raise ValueError(
                f"{self.num_samples} {what} are fewer than one batch of "
                f"{num_ranks * self._config.batch_size}: lower loader.batch_size or add shards"
            )

    @property
    def num_samples(self) -> int:
        """Samples of one epoch over all ranks, damaged ones included."""
        return self._maker.num_slots

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
                f"{', '.join(self._urls)}, or in those of another number of ranks: use the same "
                "ones, or another --out"
            )
        self.epoch, self.batch = state["epoch"], state["batch"]

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from the position on, epoch after epoch.

        Raises ValueError when more than `max_bad_share` of an epoch's samples are damaged.
        """
        workers = self._config.num_workers
        # The clients of object stores do not survive a fork.
        start = "spawn" if workers and any("://" in url for url in self._urls) else None
        cv2.setNumThreads(0)  # its threads do not survive a fork; processes are the parallelism
        self._open()
        made_batches: DataLoader[Any] = DataLoader(
            _Refusing(self._maker),
            batch_size=None,
            collate_fn=_as_it_is,
            sampler=_places(self.epoch, self.batch, self.num_batches),
            num_workers=workers,
            prefetch_factor=self._config.prefetch_batches if workers else None,
            multiprocessing_context=start,
            worker_init_fn=_follow_the_trainer if workers else None,
        )
        try:
            for made in made_batches:
                if isinstance(made, _Refused):
                    raise ValueError(made.reason)
                self.batch += 1
                if self.batch == self.num_batches:
                    self.epoch, self.batch = self.epoch + 1, 0
                batch, damaged = self._finish(made)
                self.damaged.update(damaged)
                self._check_damaged()
                yield batch
        finally:
            self._close()

    def _open(self) -> None:
        """Prepare what loader processes need, before they start."""

    def _close(self) -> None:
        """Release it."""

    @abstractmethod
    def _finish(self, made: Made) -> tuple[Batch, Damage]:
        """Turn what a loader process made into a batch, and what was damaged of it."""

    def _check_damaged(self) -> None:
        # Over the epochs a rank meets nearly every damaged sample there is.
        if len(self.damaged) > self._config.max_bad_share * self.num_samples:
            raise ValueError(
                f"{len(self.damaged)} of {self.num_samples} samples are damaged, more than "
                f"loader.max_bad_share = {self._config.max_bad_share} allows; the last: "
                f"{list(self.damaged.values())[-1]}"
            )


@dataclass(frozen=True)
class _Refused:
    """Why there is no batch, on its way out of a loader process."""

    reason: str


class _Refusing(Dataset[Any]):
    """A maker whose errors leave a loader process as one sentence, without a traceback."""

    def __init__(self, maker: Maker[Any]) -> None:
        self._maker = maker

    def __getitem__(self, place: Any) -> Any:
        try:
            return self._maker[place]
        except (ValueError, OSError) as error:
            return _Refused(str(error))


def _places(epoch: int, batch: int, num_batches: int) -> Iterator[Place]:
    turn = 0
    while True:
        for number in range(batch, num_batches):
            yield epoch, number, turn
            turn += 1
        epoch, batch = epoch + 1, 0


def _as_it_is(made: Any) -> Any:
    return made


def _follow_the_trainer(worker: int) -> None:
    """Live as long as the trainer: schedulers send SIGTERM to all processes of a job, and it still
    needs this one; when it was killed, nothing else ends a process that waits to hand on a batch.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_parent, daemon=True, name="follow").start()


def _leave_with_the_parent() -> None:
    parent = os.getppid()  # the trainer, or a server of processes that ends with it
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
