"""Stream batches of pairs: `stream.py` says in which order, `batches.py` what one is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.loading.arrays import SharedArrays
from training.loading.batches import MadePairs, PairMaker
from training.loading.filling import View
from training.loading.pair_batch import PairBatch
from training.loading.roles import Roles
from training.loading.slots import Damage, Reading
from training.loading.stream import StreamConfig, StreamLoader

HELD = 3  # batches that the user of a loader may hold, or a GPU still copies from


@dataclass(frozen=True, kw_only=True)
class LoaderConfig(StreamConfig):
    """How pairs are read."""

    # The masked image: a as mined, either by chance, or the later one in time (held-out pairs: as
    # mined, or the later one).
    roles: Roles = "as_mined"


def sets_in_turn(config: StreamConfig) -> int:
    """How many sets of shared arrays there are: as many as are prepared ahead, and those that the
    user of a loader holds.
    """
    return config.num_workers * config.prefetch_batches + HELD


class PairLoader(StreamLoader[MadePairs, PairBatch]):
    """Batches of pairs; loader processes fill arrays that they share with this one."""

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
        reading = Reading(
            split=split,
            held_out=view.held_out,
            seed=view.seed,
            batch_size=config.batch_size,
            rank=rank,
            world_size=world_size,
            window_shards=config.window_shards,
            shares=config.shares,
        )
        self._pairs = PairMaker(urls, view, reading, config.roles, config)
        super().__init__(urls, self._pairs, config)
        self._view, self._lend, self._pin_memory = view, lend, pin_memory
        self._shared: SharedArrays | None = None
        self.refuse_too_few(f"{split} pairs", world_size)

    def _open(self) -> None:
        if self._config.num_workers:
            count = sets_in_turn(self._config)
            self._shared = SharedArrays(self._pairs.allocate(), count, self._pin_memory)
        self._pairs.shared = self._shared

    def _close(self) -> None:
        if self._shared is not None:
            self._shared.close()

    def _finish(self, made: MadePairs) -> tuple[PairBatch, Damage]:
        notes, held = made
        size = len(notes.metas)
        tensors = self._shared.tensors(held) if isinstance(held, int) and self._shared else held
        assert not isinstance(tensors, int)
        if self._shared is not None and not self._lend:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        arrays: dict[str, Any] = {name: tensor[:size] for name, tensor in tensors.items()}
        batch = PairBatch(
            **arrays,
            image_px=self._view.image_px,
            background=self._view.augment.background,
            metas=notes.metas,
            places=notes.places,
            swapped=notes.swapped,
            damaged=notes.damaged,
        )
        return batch, notes.damaged
