"""What chance does to the two images of a pair, and the part of it that loader processes carry out.

The images are treated independently, as in CroCo: another random crop and other colours in each,
never a flip. A loader process draws everything and cuts the crop; colours and background are
changed on the training device (`colour.py`), where a whole batch costs next to nothing.

Shapes: B images, G cells along a foreground map's side, L values of a `Look`, S parts along a side.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from catalog.keypoints import NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS
from training.keypoints import NUM_KEYPOINTS

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Paired augmentation; the defaults are the published ones."""

    crop_share: float = 0.875  # side of the random crop over the image's side (224 of 256 px)
    jitter: float = 0.4  # brightness, contrast and saturation each vary in 1 - jitter .. 1 + jitter
    background: Literal["keep", "grey"] = "keep"  # grey: a plain grey, new in every image

    def __post_init__(self) -> None:
        if not 0 < self.crop_share <= 1 or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"augment.crop_share {self.crop_share} must lie in (0, 1] and augment.jitter "
                f"{self.jitter} in [0, 1]"
            )


class Look(NamedTuple):
    """Everything drawn for one image; the first three are shares of the image's side."""

    left: float
    top: float
    side: float  # of the square window that is kept
    brightness: float  # 1: unchanged, as the next two
    contrast: float
    saturation: float
    grey: float  # 0..1, of a replaced background


NUM_DRAWS = 6  # numbers that a look takes
NUM_LOOK = len(Look._fields)


def make_looks(config: AugmentConfig, chance_B6: Floats | None, size: int) -> Floats:
    """Make the looks of `size` images, (size, NUM_LOOK), from numbers in [0, 1).

    Without them, as for held-out pairs, nothing is left to chance: central crop, true colours,
    mid-grey.
    """
    room = 1 - config.crop_share
    looks = np.empty((size, NUM_LOOK))
    looks[:, 2] = config.crop_share
    if chance_B6 is None:
        looks[:, :2], looks[:, 3:6], looks[:, 6] = room / 2, 1.0, 0.5
    else:
        looks[:, :2] = chance_B6[:, :2] * room
        looks[:, 3:6] = 1 + config.jitter * (2 * chance_B6[:, 2:5] - 1)
        looks[:, 6] = chance_B6[:, 5]
    return looks


def cut_window(image: Bytes, look: Look, image_px: int) -> Bytes:
    """Cut the window out of a square image of any size and scale it to `image_px`."""
    full_px = image.shape[0]
    side_px = round(look.side * full_px)
    x_px = min(round(look.left * full_px), full_px - side_px)
    y_px = min(round(look.top * full_px), full_px - side_px)
    part = image[y_px : y_px + side_px, x_px : x_px + side_px]
    if side_px == image_px:
        return part
    how = cv2.INTER_AREA if side_px > image_px else cv2.INTER_LINEAR
    return cv2.resize(part, (image_px, image_px), interpolation=how).astype(np.uint8, copy=False)


def resample_shares(cells_BGG: Floats, looks_BL: Floats, size: int) -> Floats:
    """Average maps over each of `size` x `size` parts of their windows, weighted by area.

    Exact, also where the two grids do not align.
    """
    num_cells = cells_BGG.shape[1]
    columns_BSG = _overlap_weights(num_cells, looks_BL[:, 0], looks_BL[:, 2], size)
    rows_BSG = _overlap_weights(num_cells, looks_BL[:, 1], looks_BL[:, 2], size)
    return np.asarray(rows_BSG @ cells_BGG @ columns_BSG.transpose(0, 2, 1), np.float32)


def keypoint_places(count: int) -> slice:
    """Where a body's or a hand's keypoints have their places among all. Raises ValueError for
    another number of them.
    """
    if count == NUM_HAND_KEYPOINTS:
        return slice(NUM_BODY_KEYPOINTS, NUM_KEYPOINTS)
    if count in (0, NUM_BODY_KEYPOINTS):
        return slice(0, count)
    raise ValueError(f"{count} keypoints, expected those of a body or of a hand")


def move_keypoints(keypoints_BK3: Floats, looks_BL: Floats) -> Floats:
    """Turn shares of the images' sides into shares of their windows' sides: x, y, confidence.

    Confidence becomes 0 where a keypoint was not seen or lies outside the window, and x and y, too.
    """
    moved_BK3 = keypoints_BK3.copy()
    moved_BK3[:, :, :2] -= looks_BL[:, None, :2]
    moved_BK3[:, :, :2] /= looks_BL[:, None, 2:3]
    places_BK2 = moved_BK3[:, :, :2]
    inside_BK = ((places_BK2 >= 0) & (places_BK2 < 1)).all(axis=2) & (moved_BK3[:, :, 2] > 0)
    return np.where(inside_BK[:, :, None], moved_BK3, 0)


def _overlap_weights(num_cells: int, start_B: Floats, side_B: Floats, size: int) -> Floats:
    """Weights (B, size, cells) of the cells in the means over `size` equal parts of a window."""
    edges = (start_B[:, None] + side_B[:, None] * np.arange(size + 1) / size) * num_cells
    cell = np.arange(num_cells)
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    overlap = (np.minimum(high, cell + 1) - np.maximum(low, cell)).clip(min=0)
    return (overlap / (high - low)).astype(np.float32)
