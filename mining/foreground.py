"""Which cells of a crop show the person: from given pixels, else from capsules drawn around the
skeleton.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.schemas import FOREGROUND_GRID

DRAW_PX = 128  # the skeleton is drawn at this size, then averaged into cells
MIN_CONFIDENCE = 0.3  # keypoints below it are not drawn

# COCO limbs as (from, to, thickness as a share of the torso's length)
LIMBS = (
    (5, 7, 0.30),
    (7, 9, 0.24),
    (6, 8, 0.30),
    (8, 10, 0.24),  # arms
    (11, 13, 0.42),
    (13, 15, 0.32),
    (12, 14, 0.42),
    (14, 16, 0.32),  # legs
    (5, 6, 0.40),
    (11, 12, 0.45),
    (5, 11, 0.40),
    (6, 12, 0.40),  # trunk
)
HEAD_RADIUS = 0.32  # of the torso's length, around the mean of nose, eyes and ears
HAND_RADIUS = 0.20
FOOT_RADIUS = 0.22

ForegroundSource = Literal["mask", "skeleton"]


def from_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Average a crop's person mask (S, S) into a 32x32 map of shares, 0 to 255."""
    shares = cv2.resize(
        mask.astype(np.float32), (FOREGROUND_GRID, FOREGROUND_GRID), interpolation=cv2.INTER_AREA
    )
    return np.round(shares * 255).astype(np.uint8)


def from_skeleton(keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw capsules around keypoints (17, 3: x, y in shares of the crop's side, confidence) as a
    32x32 map.

    Limb widths follow the torso's length; a rough outline, wider than the person rather than
    narrower.
    """
    points = keypoints[:, :2] * DRAW_PX
    seen = keypoints[:, 2] >= MIN_CONFIDENCE
    torso_px = _torso_length(points, seen)
    canvas = np.zeros((DRAW_PX, DRAW_PX), np.uint8)
    trunk = [k for k in (5, 6, 12, 11) if seen[k]]
    if len(trunk) >= 3:
        cv2.fillPoly(canvas, [points[trunk].round().astype(np.int32)], 255)
    for a, b, share in LIMBS:
        if seen[a] and seen[b]:
            cv2.line(
                canvas, _pixel(points[a]), _pixel(points[b]), 255, max(1, round(share * torso_px))
            )
    face = [k for k in range(5) if seen[k]]
    if face:
        cv2.circle(
            canvas,
            _pixel(points[face].mean(axis=0)),
            max(1, round(HEAD_RADIUS * torso_px)),
            255,
            -1,
        )
    for joints, radius in (((9, 10), HAND_RADIUS), ((15, 16), FOOT_RADIUS)):
        for k in joints:
            if seen[k]:
                cv2.circle(canvas, _pixel(points[k]), max(1, round(radius * torso_px)), 255, -1)
    return from_mask(canvas > 0)


def _torso_length(points: NDArray[np.float32], seen: NDArray[np.bool_]) -> float:
    shoulders, hips = [k for k in (5, 6) if seen[k]], [k for k in (11, 12) if seen[k]]
    if shoulders and hips:
        length = float(np.linalg.norm(points[shoulders].mean(axis=0) - points[hips].mean(axis=0)))
        return max(
            length, 0.15 * DRAW_PX
        )  # a person who bends towards the camera has a short torso
    return 0.3 * DRAW_PX


def _pixel(point: NDArray[np.float32]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
