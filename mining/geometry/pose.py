"""Poses compared: how far two are apart, from where a body is seen, and how much of it two views
share.

Keypoints are (17, 3) in COCO order as x, y, confidence; joints are (17, 3) in world coordinates,
NaN where unknown.
"""

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera

Array = NDArray[np.float64]

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
TORSO = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]


def seen_keypoints(keypoints_px: Array, min_confidence: float) -> NDArray[np.bool_]:
    """Which of (17, 3) keypoints were seen: finite, and confidence above the threshold; (17,)."""
    seen: NDArray[np.bool_] = np.isfinite(keypoints_px).all(axis=1) & (
        keypoints_px[:, 2] > min_confidence
    )
    return seen


def pose_distance(
    keypoints_a: Array, keypoints_b: Array, *, min_confidence: float = 0.5, min_joints: int = 8
) -> float | None:
    """Distance of two poses in the image after the best similarity fit (shift, turn, scale; no
    mirroring).

    RMS distance of the keypoints seen in both as a share of the pose's RMS size, from 0 to 1 and
    the same either way. None where fewer than `min_joints` are seen in both.
    """
    both = seen_keypoints(keypoints_a, min_confidence) & seen_keypoints(keypoints_b, min_confidence)
    return _procrustes(keypoints_a[both, :2], keypoints_b[both, :2], min_joints)


def pose_distance_world(joints_a: Array, joints_b: Array, *, min_joints: int = 8) -> float | None:
    """Distance of two poses in space: as `pose_distance`, over the joints known in both."""
    both = np.isfinite(joints_a).all(axis=1) & np.isfinite(joints_b).all(axis=1)
    return _procrustes(joints_a[both], joints_b[both], min_joints)


def torso_axes(joints_world: Array) -> Array | None:
    """The torso's frame in world coordinates, (3, 3) with unit columns: to the body's left, up its
    spine, ahead.

    None where a shoulder or hip is unknown, or where they lie too nearly in a line.
    """
    left_shoulder, right_shoulder, left_hip, right_hip = joints_world[TORSO]
    up = left_shoulder + right_shoulder - left_hip - right_hip
    left = left_shoulder + left_hip - right_shoulder - right_hip
    ahead = np.cross(left, up)
    size = np.linalg.norm(left) * np.linalg.norm(up)
    if not np.linalg.norm(ahead) > 0.2 * size:  # NaN too; 0.2 is the sine of 12 degrees
        return None
    ahead /= np.linalg.norm(ahead)
    up /= np.linalg.norm(up)
    return np.stack([np.cross(up, ahead), up, ahead], axis=1)


def view_direction(camera: Camera, joints_world: Array) -> Array | None:
    """Unit vector (3,) from the torso's centre to the camera in the torso's frame; None where that
    is unknown.
    """
    axes = torso_axes(joints_world)
    if axes is None:
        return None
    to_camera = camera.centre_world - joints_world[TORSO].mean(axis=0)
    direction: Array = axes.T @ to_camera / np.linalg.norm(to_camera)
    return direction


def body_view_angle_deg(
    camera_a: Camera, joints_a: Array, camera_b: Camera, joints_b: Array
) -> float | None:
    """Angle in degrees, 0 to 180, between the directions from which two cameras see a body, as the
    body feels them.

    A body that turns by 60 degrees before a camera at rest is seen from 60 degrees further round,
    just as if the camera had moved. None where either torso is unknown.
    """
    direction_a, direction_b = (
        view_direction(camera_a, joints_a),
        view_direction(camera_b, joints_b),
    )
    if direction_a is None or direction_b is None:
        return None
    return float(np.degrees(np.arccos(np.clip(direction_a @ direction_b, -1, 1))))


def covisibility(
    keypoints_a: Array,
    keypoints_b: Array,
    view_angle_deg: float | None,
    *,
    min_confidence: float = 0.5,
) -> float:
    """Estimate the share (0 to 1) of the surface seen by either view that both see.

    The body is taken for an upright cylinder. Each view sees half of it, an arc of 180 degrees;
    views at an angle a share an arc of 180 - a, and together see 180 + a, so the share is (180 - a)
    / (180 + a): 1 for the same direction, 1/2 at 60 degrees, 1/3 at 90, 0 from opposite sides. It
    is multiplied by the intersection over union of the keypoints seen in each, which measures what
    lies outside the frame or behind things. With an unknown angle that second factor stands alone,
    and is too high where the body has turned.
    """
    seen_a, seen_b = (
        seen_keypoints(keypoints_a, min_confidence),
        seen_keypoints(keypoints_b, min_confidence),
    )
    union = int((seen_a | seen_b).sum())
    if union == 0:
        return 0.0
    arc = 1.0 if view_angle_deg is None else (180.0 - view_angle_deg) / (180.0 + view_angle_deg)
    return float(arc * (seen_a & seen_b).sum() / union)


def _procrustes(points_a: Array, points_b: Array, min_joints: int) -> float | None:
    """Full Procrustes distance of points (N, D), None for too few or for points that coincide."""
    if len(points_a) < max(min_joints, 3):
        return None
    shape_a, shape_b = points_a - points_a.mean(axis=0), points_b - points_b.mean(axis=0)
    size_a, size_b = np.linalg.norm(shape_a), np.linalg.norm(shape_b)
    if min(size_a, size_b) < 1e-9:
        return None
    left, values, right = np.linalg.svd(shape_a.T @ shape_b / (size_a * size_b))
    if np.linalg.det(left @ right) < 0:
        values[-1] *= -1
    return float(np.sqrt(max(0.0, 1.0 - values.sum() ** 2)))
