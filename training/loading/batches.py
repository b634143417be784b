"""Make the batch of a given epoch and number: find its samples, read, decode, fill its arrays.

What a batch holds follows from the sets' indexes, the seed and the epoch (`order.py`), and what
chance does to a sample from (seed, epoch, slot). So any process can make any batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from catalog import storage
from catalog.ids import content_id
from shards.format import read_index
from training.loading.arrays import SharedArrays, allocate, as_arrays
from training.loading.filling import Filler, View
from training.loading.masking import num_masked
from training.loading.mixture import Shares
from training.loading.order import Slots, epoch_order, make_mixture
from training.loading.prefetch import Prefetcher
from training.loading.reader import ShardCache, parse_pair
from training.loading.roles import Roles
from training.loading.shard_files import ShardFiles, ShardFilesConfig

MAX_SUBSTITUTES = 4  # batches tried until one has a readable sample

Place = tuple[int, int, int]  # epoch, batch of it, and how many batches were asked for before


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which samples are read, and how they are divided into batches."""

    split: str  # `train` or `val`
    batch_size: int  # pairs on each rank
    rank: int
    world_size: int
    window_shards: int  # shards of a set that are shuffled together
    shares: Shares  # of sources, kinds and parts
    roles: Roles  # which image is masked


@dataclass(kw_only=True)
class BatchNotes:
    """What is known of a batch's samples besides its arrays; one of each for every row."""

    metas: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    swapped: list[bool] = field(default_factory=list)
    damaged: dict[tuple[int, ...], str] = field(default_factory=dict)  # slot -> what was wrong


class BatchMaker(Dataset[tuple[BatchNotes, dict[str, Tensor] | int]]):
    """The batches of one rank, by `Place`; a copy lives in every loader process."""

    shared: SharedArrays | None = None  # where loader processes put their arrays

    def __init__(
        self, urls: Sequence[str], view: View, reading: Reading, files: ShardFilesConfig
    ) -> None:
        """Read the sets' indexes. Raises ValueError for none or a damaged one."""
        if not urls:
            raise ValueError("no shard set given: name at least one folder with an index.json")
        indexes = [read_index(url) for url in urls]
        shards = [index.of_split(reading.split) for index in indexes]
        # Side of the stored images, and of the decoded ones where half of it is enough.
        self._sizes: list[tuple[int, int | None]] = [
            (
                index.crop_px,
                index.crop_px // 2
                if index.crop_px * view.augment.crop_share >= 2 * view.image_px
                else None,
            )
            for index in indexes
        ]
        # Where a window is as large as the model's image, images are decoded right into the batch.
        crops_px = {index.crop_px for index in indexes}
        whole_px = crops_px.pop() if len(crops_px) == 1 else 0
        is_window = round(whole_px * view.augment.crop_share) == view.image_px
        self._pixels_px = whole_px if is_window else view.image_px
        self._shards = [
            [(storage.join(url, shard.name), shard) for shard in of_set]
            for url, of_set in zip(urls, shards, strict=True)
        ]
        self._view, self._reading = view, reading
        shard_files = ShardFiles(files)
        shard_files.prepare([shard for of_set in self._shards for shard in of_set])
        self._cache = ShardCache(shard_files, capacity=len(urls) * (reading.window_shards + 1))
        self._prefetcher = Prefetcher(shard_files, self._shards, files.prefetch_shards)
        self._order: tuple[int, Slots] | None = None
        self.mixture = make_mixture(indexes, reading.split, reading.shares, reading.window_shards)
        # What a position in the order depends on: the same wherever the shards lie.
        self.identity = content_id(
            [[shard.sha256 for shard in of_set] for of_set in shards],
            [reading.batch_size, reading.world_size, reading.window_shards],
            [of_set.quotas_G.tolist() for of_set in self.mixture.sets],
            view.seed,
        )

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, the same on every rank; the last partial one only when held out."""
        per_step = self._reading.batch_size * self._reading.world_size
        full, rest = divmod(self.mixture.num_slots, per_step)
        return full + bool(rest and self._view.held_out)

    def allocate(self) -> dict[str, Tensor]:
        """Return the empty arrays of a batch."""
        view = self._view
        hidden = num_masked(view.num_patches, view.masking.ratio)
        return allocate(self._reading.batch_size, self._pixels_px, view.num_patches, hidden)

    def __getitem__(self, place: Place) -> tuple[BatchNotes, dict[str, Tensor] | int]:
        """Make a batch; return what is known of it, and its arrays or the number of the shared ones
        that it fills.

        Raises ValueError when neither it nor the next few have a readable sample.
        """
        epoch, number, turn = place
        held: dict[str, Tensor] | int
        if self.shared is None:
            tensors = held = self.allocate()
        else:
            held = turn % len(self.shared)
            tensors = self.shared.tensors(held)
        damaged: dict[tuple[int, ...], str] = {}
        for ahead in range(MAX_SUBSTITUTES):  # every rank must have a batch for every step
            notes = self._fill(tensors, epoch, (number + ahead) % self.num_batches)
            notes.damaged = damaged = damaged | notes.damaged
            if notes.metas or self._view.held_out:
                return notes, held
        raise ValueError(
            f"no readable sample in {MAX_SUBSTITUTES} batches; the last: "
            f"{list(damaged.values())[-1]}"
        )

    def _fill(self, tensors: dict[str, Tensor], epoch: int, number: int) -> BatchNotes:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.mixture, self._view.seed, epoch))
        size = self._reading.batch_size
        first = (number * self._reading.world_size + self._reading.rank) * size
        slots = self._order[1][first : first + size].tolist()
        self._prefetcher.look_ahead(epoch, self._order[1], first)
        filler = Filler(
            as_arrays(tensors), self._view, self._reading.roles, epoch, first, len(slots)
        )
        notes = BatchNotes()
        for i, (of_set, shard, position) in enumerate(slots):
            url, entry = self._shards[of_set][shard]
            name = f"{url} sample {position}"
            try:
                key, files = self._cache.get(url, entry).read(position)
                pair = parse_pair(key, files)
                swapped = filler.add(pair, i, *self._sizes[of_set])
            except (ValueError, OSError) as error:
                notes.damaged[(of_set, shard, position)] = f"{name}: {error}"
                continue
            notes.metas.append(pair.meta)
            notes.places.append(name)
            notes.swapped.append(swapped)
        num_good = len(notes.metas)
        if not num_good:
            return notes
        wanted = num_good if self._view.held_out else size
        filler.finish(wanted)
        again = [row % num_good for row in range(num_good, wanted)]
        notes.metas += [notes.metas[row] for row in again]
        notes.places += [notes.places[row] for row in again]
        notes.swapped += [notes.swapped[row] for row in again]
        return notes
