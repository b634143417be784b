"""Make the batch of a given epoch and number: read, decode, augment, mask, stack.

What a batch holds follows from the sets' indexes, the seed and the epoch (`order.py`), and what
chance does to a sample from (seed, epoch, slot, pair_id). So any process can make any batch.

Shapes: B samples, H = W = image_px, N patches, V visible and M masked ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from catalog import storage
from catalog.ids import content_id, seed_of
from shards.format import read_index
from training.loading.augment import AugmentConfig, augment_image
from training.loading.masking import MaskingConfig, draw_mask
from training.loading.mixture import Shares
from training.loading.order import Slots, epoch_order, make_mixture
from training.loading.prefetch import Prefetcher
from training.loading.reader import Pair, ShardCache, decode_pair
from training.loading.roles import Roles, is_swapped
from training.loading.shard_files import ShardFiles, ShardFilesConfig

ARRAYS = ("images_a", "images_b", "foreground", "visible", "masked")


@dataclass(frozen=True, kw_only=True)
class View:
    """How samples become arrays; held-out ones owe nothing to chance but a fixed mask."""

    image_px: int
    patch_px: int
    augment: AugmentConfig
    masking: MaskingConfig
    seed: int
    held_out: bool = False


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
class PairBatch:
    """One batch. A training batch is always full: good samples stand in for damaged ones."""

    images_a: Tensor  # (B, H, W, 3) uint8
    images_b: Tensor  # (B, H, W, 3) uint8
    foreground: Tensor  # (B, N) float32: share of each patch of image a that is the person
    visible: Tensor  # (B, V) int64, patch indices of image a
    masked: Tensor  # (B, M) int64
    metas: list[dict[str, Any]]  # each sample's JSON, as mined
    swapped: list[bool]  # whether `images_a` is what the sample's JSON calls b
    places: list[str]  # shard and position of each sample, for messages
    damaged: dict[tuple[int, ...], str]  # slot -> what was wrong, of the samples left out

    def to(self, device: torch.device) -> "PairBatch":
        """Copy the tensors to a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: values[name].to(device, non_blocking=True) for name in ARRAYS}
        return PairBatch(**{**values, **moved})

    @property
    def pair_ids(self) -> list[str]:
        """The ids of the pairs, in order."""
        return [meta["pair_id"] for meta in self.metas]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the pairs, in order."""
        return [meta["kind"] for meta in self.metas]


class BatchMaker(Dataset[PairBatch]):
    """The batches of one rank, by (epoch, number); a copy lives in every loader process."""

    def __init__(
        self, urls: Sequence[str], view: View, reading: Reading, files: ShardFilesConfig
    ) -> None:
        """Read the sets' indexes. Raises ValueError for none or a damaged one."""
        if not urls:
            raise ValueError("no shard set given: name at least one folder with an index.json")
        indexes = [read_index(url) for url in urls]
        shards = [index.of_split(reading.split) for index in indexes]
        crops_px = [index.crop_px * view.augment.crop_share for index in indexes]
        self._half_size = [crop_px >= 2 * view.image_px for crop_px in crops_px]
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

    def __getitem__(self, place: tuple[int, int]) -> PairBatch:
        epoch, number = place
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.mixture, self._view.seed, epoch))
        size = self._reading.batch_size
        first = (number * self._reading.world_size + self._reading.rank) * size
        self._prefetcher.look_ahead(epoch, self._order[1], first)
        samples: list[tuple[list[np.ndarray], dict[str, Any], str, bool]] = []
        damaged: dict[tuple[int, ...], str] = {}
        for slot in range(first, min(first + size, self.mixture.num_slots)):
            of_set, shard, position = self._order[1][slot].tolist()
            url, entry = self._shards[of_set][shard]
            name = f"{url} sample {position}"
            try:
                key, files = self._cache.get(url, entry).read(position)
                pair = decode_pair(key, files, self._half_size[of_set])
                swapped = self._give_roles(pair, epoch, slot)
                arrays = make_arrays(pair, self._view, epoch, slot)
                samples.append((arrays, pair.meta, name, swapped))
            except (ValueError, OSError) as error:
                damaged[(of_set, shard, position)] = f"{name}: {error}"
        if samples and not self._view.held_out:
            samples = [samples[i % len(samples)] for i in range(size)]
        columns = zip(*(sample[0] for sample in samples), strict=True)
        stacked = [torch.from_numpy(np.stack(column)) for column in columns]
        return PairBatch(
            **dict(zip(ARRAYS, stacked or [torch.empty(0)] * len(ARRAYS), strict=True)),
            metas=[sample[1] for sample in samples],
            places=[sample[2] for sample in samples],
            swapped=[sample[3] for sample in samples],
            damaged=damaged,
        )

    def _give_roles(self, pair: Pair, epoch: int, slot: int) -> bool:
        """Put the image first that is to be masked; tell whether that swapped the two."""
        roles, view = self._reading.roles, self._view
        if roles == "random" and view.held_out:
            return False
        swapped = is_swapped(pair.meta, roles, view.seed, epoch, slot)
        if swapped:
            pair.images.reverse()
            pair.foregrounds.reverse()
        return swapped


def make_arrays(pair: Pair, view: View, epoch: int, slot: int) -> list[np.ndarray]:
    """Augment and mask a pair; returns what `ARRAYS` names, without the B."""
    pair_id = pair.meta["pair_id"]
    key = ["held out", view.seed] if view.held_out else ["training", view.seed, epoch, slot]
    rng = np.random.default_rng(seed_of(*key, pair_id))
    chance = None if view.held_out else rng
    grid = view.image_px // view.patch_px
    (image_a, foreground_a), (image_b, _) = (
        augment_image(image, cells, view.augment, view.image_px, grid, chance)
        for image, cells in zip(pair.images, pair.foregrounds, strict=True)
    )
    visible, masked = draw_mask(foreground_a.ravel(), view.masking, rng)
    return [image_a, image_b, foreground_a.ravel(), visible, masked]
