"""Poses compared: how far two are apart, in the image or in space, whatever their place, size and
turn.

Keypoints are (K, 3) as x, y, confidence, joints (K, 3) in world coordinates, NaN where unknown: of
a body (K = 17) or of a hand (21).
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def seen_keypoints(keypoints_px: Array, min_confidence: float) -> NDArray[np.bool_]:
    """Which of (..., K, 3) keypoints were seen: finite, and confidence above the threshold; (...,
    K).
    """
    seen: NDArray[np.bool_] = np.isfinite(keypoints_px).all(axis=-1) & (
        keypoints_px[..., 2] > min_confidence
    )
    return seen


def pose_distance(
    keypoints_a: Array, keypoints_b: Array, *, min_confidence: float, min_joints: int
) -> float | None:
    """Distance of two poses in the image after the best similarity fit (shift, turn, scale; no
    mirroring).

    RMS distance of the keypoints seen in both as a share of the pose's RMS size, from 0 to 1 and
    the same either way. None where fewer than `min_joints` are seen in both.
    """
    both = seen_keypoints(keypoints_a, min_confidence) & seen_keypoints(keypoints_b, min_confidence)
    return _procrustes(keypoints_a[both, :2], keypoints_b[both, :2], min_joints)


def pose_distance_world(joints_a: Array, joints_b: Array, *, min_joints: int) -> float | None:
    """Distance of two poses in space: as `pose_distance`, over the joints known in both."""
    both = np.isfinite(joints_a).all(axis=1) & np.isfinite(joints_b).all(axis=1)
    return _procrustes(joints_a[both], joints_b[both], min_joints)


def pose_distances(
    keypoints_a: Array, keypoints_b: Array, *, min_confidence: float, min_joints: int
) -> Array:
    """`pose_distance` of N pairs at once: keypoints (N, K, 3) and (N, K, 3) to distances (N,), NaN
    where it gives None.

    In the plane the best turn has a closed form: as complex numbers, centred and of unit size, two
    poses have the distance sqrt(1 - |<a, b>|^2).
    """
    both = seen_keypoints(keypoints_a, min_confidence) & seen_keypoints(keypoints_b, min_confidence)
    shapes = []
    for keypoints in (keypoints_a, keypoints_b):
        points = np.where(both, keypoints[..., 0] + 1j * keypoints[..., 1], 0.0)
        middle = points.sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        shapes.append(np.where(both, points - middle[:, None], 0.0))
    sizes = np.prod([np.linalg.norm(shape, axis=1) for shape in shapes], axis=0)
    known = (both.sum(axis=1) >= max(min_joints, 3)) & (sizes > 1e-18)
    product = np.abs((np.conj(shapes[0]) * shapes[1]).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        distances = np.sqrt(np.maximum(0.0, 1.0 - (product / sizes) ** 2))
    return np.where(known, distances, np.nan)


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
