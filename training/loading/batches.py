"""Make the batch of pairs of a given epoch and number: read its samples, decode, fill its arrays.

Which samples it has, `slots.py` says; what chance does to one follows from (seed, epoch, slot). So
any process can make any batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from shards.pairs import EXTENSIONS
from training.loading.arrays import SharedArrays, allocate, as_arrays
from training.loading.filling import Filler, View
from training.loading.masking import num_masked
from training.loading.reader import Pair, parse_pair
from training.loading.roles import Roles
from training.loading.shard_files import ShardFilesConfig
from training.loading.slots import Damage, Maker, Reading, SlotReader

MadePairs = tuple["BatchNotes", dict[str, Tensor] | int]  # and its arrays, or which shared ones


@dataclass(kw_only=True)
class BatchNotes:
    """What is known of a batch's samples besides its arrays; one of each for every row."""

    metas: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    swapped: list[bool] = field(default_factory=list)
    damaged: Damage = field(default_factory=dict)


class PairMaker(Maker[MadePairs]):
    """Makes batches of pairs; with `shared`, in one of its sets of arrays, by turns."""

    shared: SharedArrays | None = None  # where loader processes put their arrays

    def __init__(
        self,
        urls: Sequence[str],
        view: View,
        reading: Reading,
        roles: Roles,
        files: ShardFilesConfig,
    ) -> None:
        """Read the sets' indexes; `roles` says which image is masked. Raises as SlotReader."""
        super().__init__(SlotReader(urls, reading, files, EXTENSIONS))
        crops_px = [index.crop_px for index in self._slots.indexes]
        # Side of the stored images, and of the decoded ones where half of it is enough.
        self._sizes: list[tuple[int, int | None]] = [
            (px, px // 2 if px * view.augment.crop_share >= 2 * view.image_px else None)
            for px in crops_px
        ]
        # Where a window is as large as the model's image, images are decoded right into the batch.
        whole_px = crops_px[0] if len(set(crops_px)) == 1 else 0
        is_window = round(whole_px * view.augment.crop_share) == view.image_px
        self._pixels_px = whole_px if is_window else view.image_px
        self._view, self._roles = view, roles

    def allocate(self) -> dict[str, Tensor]:
        """Return the empty arrays of a batch."""
        view = self._view
        hidden = num_masked(view.num_patches, view.masking.ratio)
        return allocate(self._reading.batch_size, self._pixels_px, view.num_patches, hidden)

    def _make(self, epoch: int, number: int, turn: int, damaged: Damage) -> MadePairs | None:
        held: dict[str, Tensor] | int
        if self.shared is None:
            tensors = held = self.allocate()
        else:
            held = turn % len(self.shared)
            tensors = self.shared.tensors(held)
        notes = self._fill(tensors, epoch, number, damaged)
        return (notes, held) if notes.metas or self._view.held_out else None

    def _fill(
        self, tensors: dict[str, Tensor], epoch: int, number: int, damaged: Damage
    ) -> BatchNotes:
        first, slots = self._slots.find(epoch, number)
        filler = Filler(as_arrays(tensors), self._view, self._roles, epoch, first, len(slots))
        notes = BatchNotes(damaged=damaged)
        # All are read before the first is decoded, which costs less than taking turns: images drive
        # what the code needs out of the processor's caches.
        for i, pair in self._read(slots, damaged).items():
            name = self._slots.name(slots[i])
            try:
                swapped = filler.add(pair, i, *self._sizes[slots[i][0]])
            except ValueError as error:
                damaged[tuple(slots[i])] = f"{name}: {error}"
                continue
            notes.metas.append(pair.meta)
            notes.places.append(name)
            notes.swapped.append(swapped)
        num_good = len(notes.metas)
        if not num_good:
            return notes
        wanted = num_good if self._view.held_out else self._reading.batch_size
        filler.finish(wanted)
        again = [row % num_good for row in range(num_good, wanted)]
        notes.metas += [notes.metas[row] for row in again]
        notes.places += [notes.places[row] for row in again]
        notes.swapped += [notes.swapped[row] for row in again]
        return notes

    def _read(self, slots: Sequence[Sequence[int]], damaged: Damage) -> dict[int, Pair]:
        """The samples of some slots, their images still encoded, by their place among them; those
        that cannot be had go to `damaged`.
        """
        pairs = {}
        for i, slot in enumerate(slots):
            try:
                pairs[i] = parse_pair(*self._slots.read(slot))
            except (ValueError, OSError) as error:
                damaged[tuple(slot)] = f"{self._slots.name(slot)}: {error}"
        return pairs
