"""Pictures of dense pose: parts in colours of their own, and u and v as red and green, found beside
true.

Shapes: S pixels along the output's side, M labelled points.
"""

import cv2
import numpy as np
import numpy.typing as npt

GOLDEN_TURN = 0.618034  # of the hue from part to part: neighbours in number differ most
OUTSIDE = (40, 40, 40)
FADED = 0.35  # of the image that shows through a map

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB


def part_colours(num_parts: int) -> npt.NDArray[np.uint8]:
    """A colour for the background and for each part, (num_parts + 1, 3)."""
    number = np.arange(num_parts)
    hue = (number * GOLDEN_TURN) % 1 * 179
    value = np.where(number % 2, 255, 190)
    colours = np.stack([hue, np.full(num_parts, 210), value], axis=1).astype(np.uint8)
    rgb = cv2.cvtColor(colours[None], cv2.COLOR_HSV2RGB)[0]
    return np.concatenate([np.array([OUTSIDE], np.uint8), rgb])


def paint_map(
    image_HW3: Picture, part_SS: npt.NDArray[np.integer], uv_SS2: npt.NDArray[np.floating], num: int
) -> Picture:
    """Two panels: the parts, and u and v of each pixel, over the faded image in grey."""
    uv_SS3 = np.concatenate([uv_SS2.clip(0, 1), np.full((*part_SS.shape, 1), 0.5)], axis=2)
    uv_SS3 = np.where(part_SS[..., None] > 0, 255 * uv_SS3, OUTSIDE).astype(np.uint8)
    return np.hstack([_over(image_HW3, part_colours(num)[part_SS]), _over(image_HW3, uv_SS3)])


def paint_points(
    image_HW3: Picture,
    place_M2: npt.NDArray[np.floating],
    part_M: npt.NDArray[np.integer],
    uv_M2: npt.NDArray[np.floating],
    num: int,
    size_px: int,
) -> Picture:
    """The same two panels of labelled points; squares of `size_px` in place of a map's pixels."""
    uv_M3 = np.concatenate([255 * uv_M2.clip(0, 1), np.full((len(part_M), 1), 128)], axis=1)
    uv_M3 = np.where(part_M[:, None] > 0, uv_M3, OUTSIDE)
    panels = []
    for colours_M3 in (part_colours(num)[part_M], uv_M3):
        painted, covered = np.zeros_like(image_HW3), np.zeros(image_HW3.shape[:2], bool)
        corners_M2 = np.floor(place_M2 * image_HW3.shape[0] - (size_px - 1) / 2).astype(int)
        for (x, y), colour in zip(corners_M2.clip(0), colours_M3, strict=True):
            painted[y : y + size_px, x : x + size_px] = colour
            covered[y : y + size_px, x : x + size_px] = True
        panels.append(np.where(covered[..., None], _fade(image_HW3, painted), image_HW3 // 2))
    return np.hstack(panels).astype(np.uint8)


def _over(image_HW3: Picture, map_SS3: Picture) -> Picture:
    size = image_HW3.shape[1], image_HW3.shape[0]
    return _fade(image_HW3, cv2.resize(map_SS3, size, interpolation=cv2.INTER_NEAREST))


def _fade(image_HW3: Picture, map_HW3: Picture) -> Picture:
    grey_HW1 = image_HW3.mean(axis=2, keepdims=True)  # so that colours are the map's alone
    mixed = FADED * grey_HW1 + (1 - FADED) * map_HW3
    return mixed.round().astype(np.uint8)
