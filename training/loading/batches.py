"""Make the batch of a given epoch and number: read, decode, augment, mask, stack.

What a batch holds follows from the sets' indexes, the seed and the epoch (`order.py`), and what
chance does to a sample from (seed, epoch, slot, pair_id). So any process can make any batch.

Shapes: B samples, H = W = image_px, N patches, V visible and M masked ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from catalog import storage
from catalog.ids import content_id, seed_of
from shards.format import FOREGROUND_GRID, read_index
from training.keypoints import NUM_KEYPOINTS
from training.loading.augment import (
    AugmentConfig,
    Look,
    cut_window,
    draw_look,
    place_keypoints,
    resample_shares,
)
from training.loading.masking import MaskingConfig, draw_mask, num_masked
from training.loading.mixture import Shares
from training.loading.order import Slots, epoch_order, make_mixture
from training.loading.pair_batch import PairBatch
from training.loading.prefetch import Prefetcher
from training.loading.reader import Pair, ShardCache, decode_pair
from training.loading.roles import Roles, is_swapped
from training.loading.shard_files import ShardFiles, ShardFilesConfig

MAX_SUBSTITUTES = 4  # batches tried until one has a readable sample

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class View:
    """How samples become arrays; held-out ones owe nothing to chance but a fixed mask."""

    image_px: int
    patch_px: int
    augment: AugmentConfig
    masking: MaskingConfig
    seed: int
    held_out: bool = False

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_px // self.patch_px


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
        """Make a batch.

        Raises ValueError when neither it nor the next few have a readable sample.
        """
        epoch, number = place
        damaged: dict[tuple[int, ...], str] = {}
        for ahead in range(MAX_SUBSTITUTES):  # every rank must have a batch for every step
            batch = self._make(epoch, (number + ahead) % self.num_batches)
            damaged |= batch.damaged
            if batch.metas or self._view.held_out:
                batch.damaged = damaged
                return batch
        raise ValueError(
            f"no readable sample in {MAX_SUBSTITUTES} batches; the last: "
            f"{list(damaged.values())[-1]}"
        )

    def _make(self, epoch: int, number: int) -> PairBatch:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, epoch_order(self.mixture, self._view.seed, epoch))
        size = self._reading.batch_size
        first = (number * self._reading.world_size + self._reading.rank) * size
        slots = range(first, min(first + size, self.mixture.num_slots))
        self._prefetcher.look_ahead(epoch, self._order[1], first)
        arrays = _allocate(len(slots), self._view)
        metas: list[dict[str, Any]] = []
        places, swapped = [], []
        damaged: dict[tuple[int, ...], str] = {}
        for slot in slots:
            of_set, shard, position = self._order[1][slot].tolist()
            url, entry = self._shards[of_set][shard]
            name = f"{url} sample {position}"
            try:
                key, files = self._cache.get(url, entry).read(position)
                pair = decode_pair(key, files, self._half_size[of_set])
                row = {field: array[len(metas)] for field, array in arrays.items()}
                swap = self._give_roles(pair, epoch, slot)
                fill_row(row, pair, self._view, epoch, slot)
            except (ValueError, OSError) as error:
                damaged[(of_set, shard, position)] = f"{name}: {error}"
                continue
            metas.append(pair.meta)
            places.append(name)
            swapped.append(swap)
        num_good = len(metas)
        rows = list(range(num_good))
        if num_good and not self._view.held_out:
            rows = [row % num_good for row in range(size)]
        if len(rows) < len(slots) or num_good < len(slots):
            arrays = {field: array[rows] for field, array in arrays.items()}
        return PairBatch(
            **{field: torch.from_numpy(array) for field, array in arrays.items()},
            background=self._view.augment.background,
            metas=[metas[row] for row in rows],
            places=[places[row] for row in rows],
            swapped=[swapped[row] for row in rows],
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
            pair.keypoints.reverse()
        return swapped


def fill_row(row: dict[str, Array], pair: Pair, view: View, epoch: int, slot: int) -> None:
    """Draw, cut and mask a pair into one row of a batch's arrays.

    Raises ValueError for keypoints that are neither a body's nor a hand's.
    """
    pair_id = pair.meta["pair_id"]
    key = ["held out", view.seed] if view.held_out else ["training", view.seed, epoch, slot]
    rng = np.random.default_rng(seed_of(*key, pair_id))
    chance = None if view.held_out else rng
    for source, side in enumerate("ab"):
        look = draw_look(view.augment, chance)
        row[f"images_{side}"][...] = cut_window(pair.images[source], look, view.image_px)
        row[f"looks_{side}"][...] = look
        row[f"cells_{side}"][...] = pair.foregrounds[source]
        row[f"keypoints_{side}"][...] = place_keypoints(pair.keypoints[source], look)
        if side == "a":
            shares = resample_shares(pair.foregrounds[source] / np.float32(255), look, view.grid)
            row["foreground"][...] = shares.ravel()
    row["visible"][...], row["masked"][...] = draw_mask(row["foreground"], view.masking, rng)


def _allocate(size: int, view: View) -> dict[str, Array]:
    """The arrays of a batch, by the names of `PairBatch`, to be filled row by row."""
    num_patches = view.grid**2
    num_hidden = num_masked(num_patches, view.masking.ratio)
    of_image: dict[str, tuple[tuple[int, ...], type]] = {
        "images": ((view.image_px, view.image_px, 3), np.uint8),
        "looks": ((len(Look._fields),), np.float32),
        "cells": ((FOREGROUND_GRID, FOREGROUND_GRID), np.uint8),
        "keypoints": ((NUM_KEYPOINTS, 3), np.float32),
    }
    arrays: dict[str, Array] = {
        f"{name}_{side}": np.empty((size, *shape), dtype)
        for name, (shape, dtype) in of_image.items()
        for side in "ab"
    }
    arrays["foreground"] = np.empty((size, num_patches), np.float32)
    arrays["visible"] = np.empty((size, num_patches - num_hidden), np.int64)
    arrays["masked"] = np.empty((size, num_hidden), np.int64)
    return arrays
