"""From a decoded image to what the model eats: crop, colours, background, foreground by patch.

The two images of a pair are treated independently, as in CroCo: another random crop and other
colours in each, never a flip. All chance comes from the generator that is passed in.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EDGE_STEEPNESS = 4.0  # of a cut-out person's opacity over the share of the cell that is person
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G, B in a pixel's grey

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Paired augmentation; the defaults are the published ones."""

    crop_share: float = 0.875  # side of the random crop over the image's side (224 of 256 px)
    jitter: float = 0.4  # brightness, contrast and saturation each vary in 1 - jitter .. 1 + jitter
    background: Literal["keep", "grey"] = "keep"  # grey: a plain grey, new in every image


@dataclass(frozen=True, kw_only=True)
class Window:
    """The square part of an image that is kept; shares of the image's side."""

    left: float
    top: float
    side: float


def augment_image(
    image: Bytes,
    foreground: Bytes,
    config: AugmentConfig,
    image_px: int,
    grid: int,
    rng: np.random.Generator | None,
) -> tuple[Bytes, Floats]:
    """Return the new image (image_px, image_px, 3), and the person's share 0..1 of each patch.

    `image` is square, of any size; `foreground` covers it with square cells of share 0..255; the
    second result is (grid, grid) float32. Without a generator, as for held-out pairs, nothing is
    left to chance: central crop, true colours, mid-grey.
    """
    left, top = (rng.random(2) if rng else np.full(2, 0.5)) * (1 - config.crop_share)
    window = Window(left=float(left), top=float(top), side=config.crop_share)
    cells = foreground.astype(np.float32) / 255
    new: Floats = _cut(image, window, image_px).astype(np.float32) / 255
    if rng:
        brightness, contrast, saturation = rng.uniform(1 - config.jitter, 1 + config.jitter, 3)
        new = jitter_colour(new, brightness, contrast, saturation)
    if config.background == "grey":
        grey = np.float32(rng.random() if rng else 0.5)
        alpha = _cut_out(cells, window, image_px)[:, :, None]
        new = alpha * new + (1 - alpha) * grey
    new_bytes = np.rint(new.clip(0, 1) * 255).astype(np.uint8)
    return new_bytes, resample_shares(cells, window, grid)


def jitter_colour(image: Floats, brightness: float, contrast: float, saturation: float) -> Floats:
    """Scale brightness, contrast around the mean grey, then saturation around each pixel's grey.

    Values are 0..1 and may leave it. The three steps are linear, so they are one 3 x 4 matrix.
    """
    mean_grey = brightness * float(image.mean(axis=(0, 1)) @ LUMA)
    matrix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
    offset = np.full((3, 1), (1 - contrast) * mean_grey)
    return np.asarray(cv2.transform(image, np.hstack([matrix * contrast * brightness, offset])))


def resample_shares(cells: Floats, window: Window, size: int) -> Floats:
    """Average a map over each of `size` x `size` parts of a window, weighted by area.

    Exact, also where the two grids do not align.
    """
    columns = _overlap_weights(cells.shape[1], window.left, window.side, size)
    rows = _overlap_weights(cells.shape[0], window.top, window.side, size)
    return np.asarray(rows @ cells @ columns.T)


def normalize_images(images_BHW3: Tensor) -> Tensor:
    """Turn uint8 RGB images into the model's input (B, 3, H, W): ImageNet mean 0, deviation 1."""
    mean = torch.tensor(IMAGENET_MEAN, device=images_BHW3.device) * 255
    std = torch.tensor(IMAGENET_STD, device=images_BHW3.device) * 255
    return ((images_BHW3.float() - mean) / std).permute(0, 3, 1, 2)


def _cut(image: Bytes, window: Window, image_px: int) -> Bytes:
    full_px = image.shape[0]
    side_px = round(window.side * full_px)
    x_px = min(round(window.left * full_px), full_px - side_px)
    y_px = min(round(window.top * full_px), full_px - side_px)
    part = image[y_px : y_px + side_px, x_px : x_px + side_px]
    if side_px == image_px:
        return part
    how = cv2.INTER_AREA if side_px > image_px else cv2.INTER_LINEAR
    return cv2.resize(part, (image_px, image_px), interpolation=how).astype(np.uint8, copy=False)


def _cut_out(cells: Floats, window: Window, image_px: int) -> Floats:
    """Opacity 0..1 of each pixel: a steep step where the interpolated share passes one half.

    Half-covered cells show what is behind the person: shown at half opacity, they would be a halo.
    """
    scale = window.side * cells.shape[0] / image_px  # cells per pixel
    offset = np.array([window.left, window.top]) * cells.shape[0] + scale / 2 - 0.5
    cell_from_pixel = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (image_px, image_px)
    share = cv2.warpAffine(cells, cell_from_pixel, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return (EDGE_STEEPNESS * (np.asarray(share) - 0.5) + 0.5).clip(0, 1)


def _overlap_weights(num_cells: int, start: float, side: float, size: int) -> Floats:
    """Weights (size, cells) of the cells in the means over `size` equal parts of a window."""
    edges = (start + side * np.arange(size + 1) / size) * num_cells
    cell = np.arange(num_cells)
    low, high = edges[:-1, None], edges[1:, None]
    overlap = np.minimum(high, cell + 1) - np.maximum(low, cell)
    return (overlap.clip(min=0) / (high - low)).astype(np.float32)
