"""From decoded pairs to the rows of a batch's arrays: roles, crops, colours to come, masks.

What costs the same for one sample as for many is done for the whole batch at once.

Shapes: B samples, N patches of image a, L values of a `Look`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.loading.arrays import Arrays
from training.loading.augment import (
    NUM_DRAWS,
    AugmentConfig,
    Look,
    cut_window,
    keypoint_places,
    make_looks,
    move_keypoints,
    resample_shares,
)
from training.loading.chance import draw_held_out, draw_slots
from training.loading.masking import MaskingConfig, choose_masks
from training.loading.reader import Pair, decode_jpeg
from training.loading.roles import Roles, is_swapped

Floats = npt.NDArray[np.floating[Any]]


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
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.image_px // self.patch_px) ** 2


class Filler:
    """Fills the arrays of one batch, sample by sample; the slots may have more samples than fit."""

    def __init__(
        self, arrays: Arrays, view: View, roles: Roles, epoch: int, first: int, count: int
    ) -> None:
        """`first` and `count` are the slots of the epoch that the batch is made from."""
        self._arrays, self._view, self._roles = arrays, view, roles
        self._sides = [
            tuple(arrays[f"{name}_{side}"] for name in ("images", "cells", "keypoints"))
            for side in "ab"
        ]
        self._chosen: list[int] = []  # the place among the slots of each row's sample
        self._pair_ids: list[str] = []
        columns = 2 * NUM_DRAWS + 1 + view.num_patches
        self._chance = None
        looks: list[Floats | None] = [None, None]
        if not view.held_out:
            self._chance = draw_slots(view.seed, epoch, first, count, columns)
            looks = [self._chance[:, :NUM_DRAWS], self._chance[:, NUM_DRAWS : 2 * NUM_DRAWS]]
        self._looks = [make_looks(view.augment, of_side, count) for of_side in looks]

    def add(self, pair: Pair, number: int, crop_px: int, scaled_px: int | None) -> bool:
        """Fill the next row with the sample of the `number`-th slot; tell whether its images
        changed roles.

        Its images have `crop_px` and are decoded at `scaled_px`, where that is given. Raises
        ValueError for a damaged image, or keypoints that are neither a body's nor a hand's.
        """
        swapped = self._swaps(pair, number)
        row = len(self._chosen)
        where = keypoint_places(pair.keypoints_px.shape[1])
        for place, (images, cells, keypoints) in enumerate(self._sides):
            source = 1 - place if swapped else place
            pixels = images[row]
            if len(pixels) == self._view.image_px:
                look = Look(*self._looks[place][number].tolist())
                image = decode_jpeg(pair.jpegs[source], scaled_px)
                pixels[...] = cut_window(image, look, self._view.image_px)
            else:  # whole images: their windows are cut on the training device
                decode_jpeg(pair.jpegs[source], out=pixels)
            cells[row] = pair.foreground[source]
            keypoints[row] = 0
            keypoints[row, where] = pair.keypoints_px[source]
            keypoints[row, where, :2] /= crop_px
        self._chosen.append(number)
        self._pair_ids.append(pair.meta["pair_id"])
        return swapped

    def finish(self, size: int) -> None:
        """Fill what is left of the rows in use, and repeat them until there are `size`."""
        num_rows, view, arrays = len(self._chosen), self._view, self._arrays
        looks_a, looks_b = (of_side[self._chosen] for of_side in self._looks)
        for side, looks in (("a", looks_a), ("b", looks_b)):
            keypoints = arrays[f"keypoints_{side}"][:num_rows]
            arrays[f"looks_{side}"][:num_rows] = looks
            keypoints[...] = move_keypoints(keypoints, looks)
        grid = view.image_px // view.patch_px
        cells = arrays["cells_a"][:num_rows].astype(np.float32) / 255
        foreground = resample_shares(cells, looks_a, grid).reshape(num_rows, -1)
        visible, masked = choose_masks(foreground, self._mask_chance(), view.masking)
        for name, values in (
            ("foreground", foreground), ("visible", visible), ("masked", masked)
        ):  # fmt: skip
            arrays[name][:num_rows] = values
        if num_rows < size:
            again = np.arange(num_rows, size) % num_rows
            for values in arrays.values():
                values[num_rows:size] = values[again]

    def _swaps(self, pair: Pair, number: int) -> bool:
        if self._chance is None and self._roles == "random":
            return False
        chance = 0.0 if self._chance is None else float(self._chance[number, 2 * NUM_DRAWS])
        return is_swapped(pair.meta, self._roles, chance)

    def _mask_chance(self) -> Floats:
        if self._chance is not None:
            return self._chance[self._chosen, 2 * NUM_DRAWS + 1 :]
        return _held_out_chance(self._view, self._pair_ids)


def _held_out_chance(view: View, pair_ids: Sequence[str]) -> Floats:
    drawn = [draw_held_out(view.seed, pair_id, view.num_patches) for pair_id in pair_ids]
    return np.array(drawn).reshape(-1, view.num_patches)
