"""Colours of a person's clothes, or of a hand, as a short histogram that tells people apart in any
light and from any side.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mining.cropping.visible_share import Figure

SIDE_PX = 64  # crops are looked at in this size, which blends the threads of patterns
HUES, GREYS = 8, 3
BINS = 2 * HUES + GREYS  # hues of strong and of weak colours, then greys from dark to bright
UPPER, LOWER = (0, 1, 4, 5, 7, 8), (10, 11, 13, 14)  # bones of a body: trunk and arms; legs
MIN_PIXELS = 12  # of a zone; fewer say nothing


def appearance(pixels: NDArray[np.uint8], cells: NDArray[np.uint8], figure: Figure) -> list[float]:
    """Describe the foreground of an RGB crop (S, S, 3): of a body 38 numbers, of a hand 19, which
    add up to 1, or are all 0 where nothing is seen.

    `cells` is its foreground map and `figure` the skeleton in shares of the crop's side. A body has
    two zones, above and below the hips, each one histogram; head, hands and feet are left out. Hue
    and saturation do not change with the strength of light; greys are told apart by brightness.
    """
    small = cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    shown = cv2.resize(cells, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR) > 127
    zones = _zones(figure)
    histograms = np.zeros((len(zones), BINS))
    if np.isfinite(figure.unit_px) and shown.any():
        rows, columns = np.nonzero(shown)
        bins = _colours(small[rows, columns])
        places = np.stack([columns, rows], axis=1).astype(np.float64) + 0.5
        nearest = _nearest_bones(places, figure)
        for zone, bones in enumerate(zones):
            chosen = np.isin(nearest, bones)
            if chosen.sum() >= MIN_PIXELS:
                histograms[zone] = bins[chosen].sum(axis=0)
    total = histograms.sum()
    return [round(float(value), 4) for value in (histograms / max(total, 1.0)).ravel()]


def appearance_similarity(a: Sequence[float] | None, b: Sequence[float] | None) -> float | None:
    """How alike two descriptions of one part are, 0 to 1: the Bhattacharyya coefficient of each
    zone's colours, weighed by what both show of it; None where they show no zone in common.
    """
    if a is None or b is None or len(a) != len(b):
        return None
    zones_a, zones_b = (np.asarray(zones, np.float64).reshape(-1, BINS) for zones in (a, b))
    sizes_a, sizes_b = zones_a.sum(axis=1), zones_b.sum(axis=1)
    weights = np.minimum(sizes_a, sizes_b)
    if not weights.sum() > 0:
        return None
    alike = np.sqrt(zones_a * zones_b).sum(axis=1) / np.sqrt(np.maximum(sizes_a * sizes_b, 1e-12))
    return float(min(1.0, alike @ weights / weights.sum()))


def _zones(figure: Figure) -> tuple[tuple[int, ...], ...]:
    return (UPPER, LOWER) if figure.is_body else (tuple(range(len(figure.bones))),)


def _nearest_bones(points: NDArray[np.float64], figure: Figure) -> NDArray[np.int64]:
    """The bone (N,) whose capsule each point (N, 2), in pixels of the small crop, is deepest in."""
    ends = figure.ends() * SIDE_PX
    radii = np.array([bone.radius for bone in figure.bones]) * figure.unit_px * SIDE_PX
    way = ends[:, 1] - ends[:, 0]
    off = points[:, None] - ends[:, 0]
    share = (off * way).sum(axis=2) / np.maximum((way * way).sum(axis=1), 1e-9)
    off -= np.clip(share, 0, 1)[..., None] * way
    return np.argmin(np.sqrt((off * off).sum(axis=2)) / radii, axis=1)


def _colours(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The share of each bin that pixels (N, 3) belong to, (N, BINS); neighbouring bins share what
    lies between them.
    """
    hsv = cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0].astype(np.float64)
    hue, saturation, value = hsv[:, 0] / 360 * HUES, hsv[:, 1], hsv[:, 2]
    coloured = np.clip((saturation * np.minimum(value / 0.2, 1.0) - 0.12) / 0.16, 0, 1)
    strong = np.clip((saturation - 0.35) / 0.3, 0, 1)
    bins = np.zeros((len(rgb), BINS))
    first = np.floor(hue).astype(int)
    rows = np.arange(len(rgb))
    for place, part in ((first, 1 - (hue - first)), (first + 1, hue - first)):
        bins[rows, place % HUES] += coloured * strong * part
        bins[rows, HUES + place % HUES] += coloured * (1 - strong) * part
    level = np.clip((value - 0.15) / 0.35, 0, 1) * (GREYS - 1)
    low = np.minimum(np.floor(level).astype(int), GREYS - 2)
    bins[rows, 2 * HUES + low] += (1 - coloured) * (1 - (level - low))
    bins[rows, 2 * HUES + low + 1] += (1 - coloured) * (level - low)
    return bins
