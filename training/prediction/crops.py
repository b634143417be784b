"""A person's crop as a model sees it, and the way back to the image it was cut from.

It is cut as labelled images are (`catalog/squares.py`) and placed as held-out samples are, so a
model meets what it was trained on. Its camera looks at the crop's centre, as `Placed` says; that of
the image is given, or taken to be a usual one.

Shapes: H = W = image_px of the model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.squares import (
    HAND_MARGIN,
    MARGIN,
    STORED_PX,
    Box,
    cut_to_size,
    share_inside,
    square_around,
    stored_from_image,
)
from shards.labels import NUM_KEYPOINTS, ImageLabel
from training.loading.label_augment import LabelAugmentConfig, place
from training.loading.placed import MIRROR, Bytes, Camera, Floats, Placed

MARGINS = {part: MARGIN if part == "body" else HAND_MARGIN for part in NUM_KEYPOINTS}


@dataclass(frozen=True, kw_only=True)
class PersonCrop:
    """What a model is shown of one person or hand."""

    square_px: Box  # in the image's pixels
    pixels_HW3: Bytes
    crop_from_image: Floats  # (3, 3): the model's pixels from the image's
    camera: Camera  # of the crop; `turned` are its axes in those of the image's camera
    mirrored: bool

    def to_image_px(self, places_px: Floats) -> Floats:
        """Where places (..., 2) of the model's pixels lie in the image."""
        image_from_crop = np.linalg.inv(self.crop_from_image)
        return np.asarray(places_px @ image_from_crop[:2, :2].T + image_from_crop[:2, 2])

    def to_image_camera(self, places_m: Floats) -> Floats:
        """Places (..., 3) of the crop's camera in the image's camera; a mirrored hand is left
        again.
        """
        places_m = places_m @ self.camera.turned
        return np.asarray(places_m @ MIRROR if self.mirrored else places_m)


def usual_camera(width_px: int, height_px: int, focal_px: float | None = None) -> Floats:
    """`pixels_from_cam` (3, 3) of an image of which nothing is known: it looks at its centre, and
    its focal length is the image's diagonal (a view of 53 degrees from corner to corner).
    """
    focal_px = focal_px or float(np.hypot(width_px, height_px))
    return np.array([[focal_px, 0, width_px / 2], [0, focal_px, height_px / 2], [0, 0, 1.0]])


def make_crop(
    image: Bytes,
    box_px: npt.ArrayLike,
    pixels_from_cam: Floats,
    margin: float,
    image_px: int,
    augment: LabelAugmentConfig,
    mirrored: bool,
) -> PersonCrop:
    """Cut the person in a box out of an RGB image. Raises ValueError for a box that is none, or
    lies beside the image.
    """
    corners = np.asarray(box_px, np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise ValueError(f"a box is x0, y0, x1, y1 in pixels, got {_short(box_px)}")
    corners = corners.reshape(2, 2)
    if not (corners[1] > corners[0]).all():
        raise ValueError(f"a box needs x0 < x1 and y0 < y1, got {_short(box_px)}")
    height_px, width_px = image.shape[:2]
    square_px = square_around(corners, margin)
    if share_inside(square_px, width_px, height_px) == 0:
        raise ValueError(
            f"the box {_short(box_px)} lies beside the image of {width_px} x {height_px} px"
        )
    stored_px = max(STORED_PX, image_px)
    stored = stored_from_image(square_px, stored_px)
    placed = Placed(
        label=ImageLabel(
            source="",
            box_px=np.array(square_px),
            person_box_px=corners.ravel(),
            keypoints_px=np.zeros((0, 3)),
            pixels_from_cam=stored @ pixels_from_cam,
        ),
        placement=place(augment, None, mirrored),
        stored_px=stored_px,
        image_px=image_px,
    )
    camera = placed.camera()
    assert camera is not None
    return PersonCrop(
        square_px=square_px,
        pixels_HW3=placed.warp(cut_to_size(image, square_px, stored_px)),
        crop_from_image=placed.placement.matrix(stored_px, image_px) @ stored,
        camera=camera,
        mirrored=mirrored,
    )


def _short(box_px: Any) -> str:
    return ", ".join(f"{value:g}" for value in np.asarray(box_px, np.float64).ravel())
