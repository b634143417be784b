"""What chance does to the two images of a pair, and the part of it that loader processes carry out.

The images are treated independently, as in CroCo: another random crop and other colours in each,
never a flip. A loader process draws everything and cuts the crop; colours and background are
changed on the training device (`colour.py`), where a whole batch costs next to nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from training.keypoints import NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS, NUM_KEYPOINTS

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


def draw_look(config: AugmentConfig, rng: np.random.Generator | None) -> Look:
    """Draw what happens to one image.

    Without a generator, as for held-out pairs, nothing is left to chance: central crop, true
    colours, mid-grey.
    """
    if rng is None:
        margin = (1 - config.crop_share) / 2
        return Look(margin, margin, config.crop_share, 1.0, 1.0, 1.0, 0.5)
    left, top, *colours, grey = rng.random(6).tolist()
    room = 1 - config.crop_share
    jitter = [1 + config.jitter * (2 * share - 1) for share in colours]
    brightness, contrast, saturation = jitter
    return Look(left * room, top * room, config.crop_share, brightness, contrast, saturation, grey)


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


def resample_shares(cells: Floats, look: Look, size: int) -> Floats:
    """Average a map over each of `size` x `size` parts of the window, weighted by area.

    Exact, also where the two grids do not align.
    """
    columns = _overlap_weights(cells.shape[1], look.left, look.side, size)
    rows = _overlap_weights(cells.shape[0], look.top, look.side, size)
    return np.asarray(rows @ cells @ columns.T, np.float32)


def place_keypoints(keypoints: Floats, look: Look) -> Floats:
    """Return a body's or hand's keypoints in their places among all, (NUM_KEYPOINTS, 3) float32.

    `keypoints` are x and y as shares of the image's side, and confidence; the result's x and y are
    shares of the window's side. Confidence is 0 where a keypoint was not seen or lies outside the
    window. Raises ValueError for another number of keypoints.
    """
    placed = np.zeros((NUM_KEYPOINTS, 3), np.float32)
    if len(keypoints) not in (0, NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS):
        raise ValueError(f"{len(keypoints)} keypoints, expected those of a body or of a hand")
    first = NUM_BODY_KEYPOINTS if len(keypoints) == NUM_HAND_KEYPOINTS else 0
    moved = np.array(keypoints, np.float32).reshape(-1, 3)
    moved[:, :2] = (moved[:, :2] - (look.left, look.top)) / look.side
    moved[((moved[:, :2] < 0) | (moved[:, :2] >= 1)).any(axis=1)] = 0
    placed[first : first + len(moved)] = np.where(moved[:, 2:] > 0, moved, 0)
    return placed


def _overlap_weights(num_cells: int, start: float, side: float, size: int) -> Floats:
    """Weights (size, cells) of the cells in the means over `size` equal parts of a window."""
    edges = (start + side * _fractions(size)) * num_cells
    cell = _cells(num_cells)
    low, high = edges[:-1, None], edges[1:, None]
    overlap = np.minimum(high, cell + 1) - np.maximum(low, cell)
    return np.maximum(overlap, 0, dtype=np.float32) / (high - low).astype(np.float32)


@lru_cache
def _fractions(size: int) -> Floats:
    return np.arange(size + 1) / size


@lru_cache
def _cells(num_cells: int) -> Floats:
    return np.arange(num_cells, dtype=np.float64)
