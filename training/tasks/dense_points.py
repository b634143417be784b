"""Dense labels as points of fixed number: from a map of every pixel, or from a few marked by hand.

Both are the same arrays, so that losses and metrics know no difference: a map gives a point for
each pixel of the output, marked points are few and the rest has weight 0.

Shapes: M points, S = output_px, M = S x S.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.loading.placed import Placed

Arrays = dict[str, npt.NDArray[np.generic]]


def dense_points(image: Placed, output_px: int) -> Arrays | None:
    """The labelled points of an image; None where it has none.

    `place` (M, 2) float32, x and y as shares of the image's side; `part` (M,) uint8, 0 for the
    background; `uv` (M, 2) float32, 0..1; `weight` (M,) float32, 0 for padding.
    """
    if image.iuv is not None:
        return _points_of_map(image, output_px)
    if image.label.dense_points is not None:
        return _marked_points(image, image.label.dense_points, output_px)
    return None


def pixel_centres(output_px: int) -> npt.NDArray[np.float32]:
    """The centres of the output's pixels (M, 2), row by row, as shares of the image's side."""
    along = (np.arange(output_px, dtype=np.float32) + 0.5) / output_px
    x_SS, y_SS = np.meshgrid(along, along)
    return np.stack([x_SS.ravel(), y_SS.ravel()], axis=1)


def _points_of_map(image: Placed, output_px: int) -> Arrays:
    # Warped straight to the output's size, so that each point lies on the centre of its pixel.
    dense_SS3 = replace(image, image_px=output_px).dense_map()
    assert dense_SS3 is not None
    dense_M3 = dense_SS3.reshape(-1, 3)
    return _arrays(
        pixel_centres(output_px), dense_M3[:, 0], dense_M3[:, 1:] / 255, np.ones(len(dense_M3))
    )


def _marked_points(image: Placed, points_P5: npt.NDArray[np.floating[Any]], size: int) -> Arrays:
    """Marked points, and pixels that are background for sure: those outside of the person's box."""
    most = size * size
    place_P2 = image.points_px(points_P5[:, :2]) / image.image_px
    inside = ((place_P2 >= 0) & (place_P2 < 1)).all(axis=1) & (points_P5[:, 2] > 0)
    marked = _spread(np.flatnonzero(inside), most)
    centres_M2 = pixel_centres(size)
    outside = _spread(np.flatnonzero(~_in_box(image, centres_M2)), most - len(marked))
    num, padding = len(marked) + len(outside), most - len(marked) - len(outside)
    return _arrays(
        np.concatenate([place_P2[marked], centres_M2[outside], np.zeros((padding, 2))]),
        np.concatenate([points_P5[marked, 2], np.zeros(len(outside) + padding)]),
        np.concatenate([points_P5[marked, 3:], np.zeros((len(outside) + padding, 2))]),
        np.arange(most) < num,
    )


def _in_box(image: Placed, place_M2: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    matrix = np.linalg.inv(image.placement.matrix(image.stored_px, image.image_px))
    stored_M2 = place_M2 * image.image_px @ matrix[:2, :2].T + matrix[:2, 2]
    x0, y0, x1, y1 = image.label.person_box_px
    return np.asarray(((stored_M2 >= (x0, y0)) & (stored_M2 <= (x1, y1))).all(axis=1))


def _spread(chosen: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of them, evenly apart."""
    if len(chosen) <= most:
        return chosen
    return chosen[np.linspace(0, len(chosen) - 1, most).round().astype(np.intp)]


def _arrays(place_M2: Any, part_M: Any, uv_M2: Any, weight_M: Any) -> Arrays:
    return {
        "place": np.asarray(place_M2, np.float32),
        "part": np.asarray(part_M, np.uint8),
        "uv": np.asarray(uv_M2, np.float32),
        "weight": np.asarray(weight_M, np.float32),
    }
