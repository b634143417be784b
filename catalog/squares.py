"""The square around a person or hand: where it lies, the pixels in it, and the map of one to the
other; and how much boxes overlap. A model must be shown what it was trained on, so mining and
predicting share it.

Positions are pixels of the full image, with (0, 0) at the outer corner of its first one.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

PADDING_RGB = (124, 116, 104)  # beyond the frame: ImageNet's mean colour, 0 after normalization
STORED_PX = 256  # side of the stored image
MARGIN = 1.2  # side of the square over the longer side of the person
HAND_MARGIN = 1.5  # the same of a hand

Box = tuple[float, float, float, float]  # left, top, right, bottom
Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]


def square_around(points_px: Floats, margin: float) -> Box:
    """The square around points (N, 2), a margin times as long as they spread, in whole pixels."""
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    side = max(1, round(float((high - low).max()) * margin))
    left, top = np.round((low + high) / 2 - side / 2).tolist()
    return left, top, left + side, top + side


def share_inside(box_px: Box, width_px: int, height_px: int) -> float:
    """The share of a square that lies within the image."""
    left, top, right, bottom = box_px
    wide = max(0.0, min(right, width_px) - max(left, 0))
    high = max(0.0, min(bottom, height_px) - max(top, 0))
    return wide * high / ((right - left) * (bottom - top))


def box_overlaps(boxes_a: Floats, boxes_b: Floats) -> Floats:
    """Intersection over union of boxes (M, 4) and (N, 4) as left, top, right, bottom: (M, N), 0 of
    boxes without an area.
    """
    low = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    high = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (boxes_a, boxes_b))
    return shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-12)


def cut_square(image: Bytes, box_px: Box, padding: tuple[int, int, int] | int) -> Bytes:
    """Copy a square of whole pixels out of an image (H, W[, 3]); what lies beyond the frame gets
    `padding`.
    """
    left, top, right, bottom = (int(edge) for edge in box_px)
    height, width = image.shape[:2]
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    edges = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if not any(edges):
        return inside
    value = padding if isinstance(padding, tuple) else (padding,)
    return cv2.copyMakeBorder(inside, *edges, cv2.BORDER_CONSTANT, value=value)


def cut_to_size(image: Bytes, box_px: Box, size_px: int) -> Bytes:
    """Cut a square out of an RGB image (H, W, 3) and resize it once, (size_px, size_px, 3)."""
    square = cut_square(image, box_px, PADDING_RGB)
    method = cv2.INTER_AREA if square.shape[0] > size_px else cv2.INTER_CUBIC
    return cv2.resize(square, (size_px, size_px), interpolation=method)


def stored_from_image(box_px: Box, size_px: int) -> npt.NDArray[np.float64]:
    """The (3, 3) map of homogeneous pixels from the full image to the stored square."""
    scale = size_px / (box_px[2] - box_px[0])
    return np.array([[scale, 0, -scale * box_px[0]], [0, scale, -scale * box_px[1]], [0, 0, 1.0]])
