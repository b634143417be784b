"""One labelled image: the square around its person or hand, the pixels in it, and the labels mapped
from the full image's pixels to the stored ones.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.squares import (
    Box,
    cut_square,
    cut_to_size,
    share_inside,
    square_around,
    stored_from_image,
)
from mining.labelling.config import LabelConfig
from mining.labelling.source import LabelledImage, LabelledSample
from mining.sources.base import Part
from shards.labels import ImageLabel

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An image as it is stored, with its label; `dense` says how every pixel or some points are
    labelled: `map`, `points` or not at all.
    """

    jpeg: bytes
    iuv_png: bytes | None
    label: ImageLabel
    person_px: float  # longer side of the person or hand in the full image
    dense: str | None


def find_box(image: LabelledImage, part: Part, config: LabelConfig) -> Box:
    """The square around the box and the known keypoints, with the part's margin, in whole pixels.

    Raises ValueError for a box that is not finite.
    """
    known = image.keypoints_px[image.keypoints_px[:, 2] > 0, :2]
    corners = np.concatenate([np.asarray(image.box_px, np.float64).reshape(2, 2), known])
    if not np.isfinite(corners).all():
        raise ValueError("its box or keypoints are not finite numbers")
    return square_around(corners, config.margin if part == "body" else config.hand_margin)


def reject_image(
    image: LabelledImage, sample: LabelledSample, box_px: Box, config: LabelConfig
) -> tuple[str, str] | None:
    """Why an image is not good enough, by what is known before it is read: the reason and the
    figure that decided; or None.
    """
    wanted = config.min_person_px if sample.part == "body" else config.min_hand_px
    found = person_px(image)
    if found < wanted:
        return "small", f"{found:.0f} px, at least {wanted} wanted"
    labels = (image.joints_cam_m, image.body, image.iuv, image.dense_points, sample.gesture)
    if not (image.keypoints_px[:, 2] > 0).any() and all(label is None for label in labels):
        return "no_label", "neither keypoints, joints, body, dense labels nor gesture"
    return None


def person_px(image: LabelledImage) -> float:
    """The longer side of the person or hand in the full image."""
    x0, y0, x1, y1 = np.asarray(image.box_px, np.float64).tolist()
    return max(x1 - x0, y1 - y0)


def store(image: LabelledImage, box_px: Box, config: LabelConfig) -> Stored | tuple[str, str]:
    """Cut an image whose pixels are read; or why it is rejected.

    Raises ValueError where the image or its dense map is not what it should be.
    """
    pixels = image.image
    if callable(pixels) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError("the image is not RGB uint8 (H, W, 3)")
    height, width = pixels.shape[:2]
    share = share_inside(box_px, width, height)
    if share < config.min_inside:
        detail = f"{share:.2f} of the square is inside, at least {config.min_inside} wanted"
        return "outside_frame", detail
    if image.iuv is not None and image.iuv.shape != pixels.shape:
        raise ValueError(f"its dense map is {image.iuv.shape}, the image {pixels.shape}")
    square = cut_to_size(pixels, box_px, config.size_px)
    done, jpeg = cv2.imencode(
        ".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]
    )
    assert done, "encoding in memory does not fail"
    points = image.dense_points is not None
    return Stored(
        jpeg=jpeg.tobytes(),
        iuv_png=None if image.iuv is None else _iuv_png(image.iuv, box_px, config.size_px),
        label=_mapped(image, box_px, config.size_px),
        person_px=person_px(image),
        dense="map" if image.iuv is not None else "points" if points else None,
    )


def _mapped(image: LabelledImage, box_px: Box, size_px: int) -> ImageLabel:
    stored = stored_from_image(box_px, size_px)
    keypoints_px = _moved(image.keypoints_px, stored)
    keypoints_px[~(keypoints_px[:, 2] > 0)] = 0
    camera, points = image.pixels_from_cam, image.dense_points
    return ImageLabel(
        source=image.source,
        box_px=np.array(box_px),
        person_box_px=_moved(np.asarray(image.box_px).reshape(2, 2), stored).ravel(),
        keypoints_px=keypoints_px,
        joints_cam_m=image.joints_cam_m,
        pixels_from_cam=None if camera is None else stored @ camera,
        body=image.body,
        dense_points=None if points is None else _moved(points, stored),
        dense_chart=image.dense_chart,
    )


def _moved(rows: Array, stored_from_pixels: Array) -> Array:
    """Rows that begin with x and y, with these mapped."""
    moved = np.array(rows, np.float64)
    moved[:, :2] = moved[:, :2] * np.diag(stored_from_pixels)[:2] + stored_from_pixels[:2, 2]
    return moved


def _iuv_png(iuv: NDArray[np.uint8], box_px: Box, size_px: int) -> bytes:
    """The dense map of the square: each stored pixel takes the value at its centre."""
    square = cut_square(iuv, box_px, (0, 0, 0))
    at = ((np.arange(size_px) + 0.5) * square.shape[0] / size_px).astype(np.intp)
    done, png = cv2.imencode(".png", square[at[:, None], at[None], ::-1])
    assert done, "encoding in memory does not fail"
    return png.tobytes()
