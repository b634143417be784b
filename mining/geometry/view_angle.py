"""From where a body or a hand is seen: its own frame, the direction to a camera in it, and the
angle between two such directions.

Joints are (..., K, 3) in world coordinates, NaN where unknown: K = 17 is a body in COCO order, K =
21 a hand (wrist, then thumb to little finger, each from base to tip).
"""

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import (
    INDEX_BASE,
    LEFT_HIP,
    LEFT_SHOULDER,
    LITTLE_BASE,
    NUM_BODY_KEYPOINTS,
    NUM_HAND_KEYPOINTS,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    WRIST,
)

Array = NDArray[np.float64]

TRUNK = {
    NUM_BODY_KEYPOINTS: [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP],
    NUM_HAND_KEYPOINTS: [WRIST, INDEX_BASE, LITTLE_BASE],
}  # the joints that move as one, by number of joints
MIN_SINE = 0.2  # of the angle between a frame's first two directions: 12 degrees


def own_axes(joints_world: Array) -> Array:
    """The frames of bodies or hands in world coordinates, (..., 3, 3) with unit columns; NaN where
    unknown.

    A body's: to its left, up its spine, ahead, from shoulders and hips. A hand's, from wrist and
    the bases of index and little finger: across the palm to the thumb's side, up the fingers, and
    out of the palm, of a left hand out of its back. Unknown where one of these joints is, or where
    they lie too nearly in a line. Raises ValueError for joints of neither.
    """
    num_joints = joints_world.shape[-2]
    if num_joints == NUM_BODY_KEYPOINTS:
        left_shoulder, right_shoulder, left_hip, right_hip = (
            joints_world[..., k, :] for k in TRUNK[num_joints]
        )
        up = left_shoulder + right_shoulder - left_hip - right_hip
        across = left_shoulder + left_hip - right_shoulder - right_hip
    elif num_joints == NUM_HAND_KEYPOINTS:
        wrist, index, little = (joints_world[..., k, :] for k in TRUNK[num_joints])
        up = index + little - 2 * wrist
        across = index - little
    else:
        raise ValueError(f"a body has 17 joints and a hand 21, got {num_joints}")
    ahead = np.cross(across, up)
    size = np.linalg.norm(across, axis=-1) * np.linalg.norm(up, axis=-1)
    length = np.linalg.norm(ahead, axis=-1)
    known = np.asarray(length > MIN_SINE * size)  # False for NaN too
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = ahead / length[..., None]
        up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    axes = np.stack([np.cross(up, ahead), up, ahead], axis=-1)
    return np.where(known[..., None, None], axes, np.nan)


def directions_to(centres_world: Array, joints_world: Array) -> Array:
    """Unit vectors (N, 3), in world coordinates, from the middle of the known joints (N, K, 3) to
    camera centres (N, 3); NaN where no joint is known.
    """
    known = np.asarray(np.isfinite(joints_world).all(axis=2))
    total = np.where(known[..., None], joints_world, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        away = centres_world - total / known.sum(axis=1)[:, None]
        return away / np.linalg.norm(away, axis=1, keepdims=True)


def directions_from_within(centres_world: Array, joints_world: Array) -> Array:
    """Unit vectors (N, 3) from the middle of the trunk or palm of joints (N, K, 3) to camera
    centres (N, 3), in the body's or hand's own frame; NaN where that is unknown.
    """
    middle = joints_world[:, TRUNK[joints_world.shape[1]]].mean(axis=1)
    away = np.einsum("nij,ni->nj", own_axes(joints_world), centres_world - middle)
    with np.errstate(invalid="ignore"):
        return away / np.linalg.norm(away, axis=1, keepdims=True)


def angle_deg(direction_a: Array, direction_b: Array) -> float | None:
    """Angle between two unit vectors (3,), 0 to 180 degrees; None where one is unknown (NaN).

    Of directions from within it is the angle between two views as the body or hand feels it: who
    turns by 60 degrees before a camera at rest is seen from 60 degrees further round, just as if
    the camera had moved.
    """
    cosine = float(direction_a @ direction_b)
    if np.isnan(cosine):
        return None
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
