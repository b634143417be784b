"""Given people as detections: from 2D keypoints, or from 3D joints projected by a given camera."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.sources.base import Detection, Part

BOX_MARGIN = 0.1  # around keypoints, in longer sides: they lie within the body, not on its outline


def given_person(
    keypoints_px: NDArray[np.float64],
    *,
    box_px: tuple[float, float, float, float] | None = None,
    size_px: tuple[int, int] | None = None,
    joints_world: NDArray[np.float64] | None = None,
    identity: str | None = None,
    part: Part = "body",
    body: int | None = None,
) -> Detection | None:
    """A detection from keypoints (K, 3) as x, y, confidence, in our order and in frame pixels.

    Keypoints that are not finite, or outside a frame of `size_px`, get confidence 0. Without
    `box_px` the box is that of the keypoints seen, with a margin. `joints_world` (K, 3) is in
    metres. None where there is neither a box nor a keypoint.
    """
    keypoints = np.array(keypoints_px, dtype=np.float64)
    unseen = ~np.isfinite(keypoints).all(axis=1) | (keypoints[:, 2] <= 0)
    if size_px is not None:
        with np.errstate(invalid="ignore"):
            unseen |= ((keypoints[:, :2] < 0) | (keypoints[:, :2] > size_px)).any(axis=1)
    keypoints[unseen] = 0.0
    keypoints[:, 2] = np.minimum(keypoints[:, 2], 1.0)
    if box_px is None:
        if unseen.all():
            return None
        low, high = keypoints[~unseen, :2].min(axis=0), keypoints[~unseen, :2].max(axis=0)
        margin = BOX_MARGIN * float((high - low).max())
        corners = np.concatenate([low - margin, high + margin])
        if size_px is not None:
            corners = np.clip(corners, 0, [*size_px, *size_px])
    else:
        corners = np.asarray(box_px, dtype=np.float64)
    return Detection(
        box_px=corners.astype(np.float32),
        keypoints_px=keypoints.astype(np.float32),
        score=1.0,
        part=part,
        body=body,
        identity=identity,
        joints_world=joints_world,
    )


def projected_person(
    camera: Camera,
    joints_world: NDArray[np.float64],
    confidence: NDArray[np.float64],
    **given: Any,
) -> Detection | None:
    """A detection from joints in space (K, 3), in metres and in our order, with confidences (K,).

    `given` is handed on to `given_person`. Nothing tells whether a joint is hidden behind
    something, so those are given too.
    """
    pixels = np.full((len(joints_world), 2), np.nan)
    there = np.isfinite(joints_world).all(axis=1) & (confidence > 0)
    if there.any():
        pixels[there] = camera.project(joints_world[there])
    keypoints = np.column_stack([pixels, np.where(there, confidence, 0.0)])
    return given_person(keypoints, joints_world=joints_world, **given)


def corners_of(box_xywh: Any) -> tuple[float, float, float, float] | None:
    """COCO's box (left, top, width, height) as (x0, y0, x1, y1); None for one without area."""
    left, top, width, height = (float(value) for value in box_xywh)
    if not (width > 0 and height > 0):
        return None
    return left, top, left + width, top + height
