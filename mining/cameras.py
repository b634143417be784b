"""Pinhole cameras with lens distortion, in OpenCV's convention: x right, y down, z forward; metres; pixel centres at +0.5.

`world_from_cam` takes points from the camera's frame to the world's, so its last column is the camera's centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One calibrated camera: `intrinsics` (3, 3) in pixels, `world_from_cam` (4, 4) in metres, OpenCV `distortion`."""

    intrinsics: Array
    world_from_cam: Array
    distortion: Array = field(default_factory=lambda: np.zeros(5))

    @property
    def centre_world(self) -> Array:
        """The camera's centre in world coordinates, (3,) in metres."""
        return self.world_from_cam[:3, 3]

    @property
    def cam_from_world(self) -> Array:
        """The extrinsics as (4, 4), from world to camera."""
        rotation = self.world_from_cam[:3, :3].T
        extrinsics = np.eye(4)
        extrinsics[:3, :3] = rotation
        extrinsics[:3, 3] = -rotation @ self.centre_world
        return extrinsics

    def to_camera(self, points_world: Array) -> Array:
        """Move points (N, 3) from world to camera coordinates."""
        extrinsics = self.cam_from_world
        return points_world @ extrinsics[:3, :3].T + extrinsics[:3, 3]

    def project(self, points_world: Array) -> Array:
        """Project points (N, 3) to pixels (N, 2). Points behind the camera become NaN."""
        extrinsics = self.cam_from_world
        rotation, _ = cv2.Rodrigues(extrinsics[:3, :3])
        points = np.ascontiguousarray(points_world, dtype=np.float64).reshape(-1, 1, 3)
        pixels, _ = cv2.projectPoints(points, rotation, extrinsics[:3, 3], self.intrinsics, self.distortion)
        pixels = pixels.reshape(-1, 2)
        pixels[self.to_camera(points.reshape(-1, 3))[:, 2] <= 0] = np.nan
        return pixels

    def normalize(self, points_px: Array) -> Array:
        """Undo intrinsics and distortion: pixels (N, 2) to image-plane coordinates (N, 2) at depth 1."""
        points = np.ascontiguousarray(points_px, dtype=np.float64).reshape(-1, 1, 2)
        return cv2.undistortPoints(points, self.intrinsics, self.distortion).reshape(-1, 2)


def triangulate(cameras: Sequence[Camera], points_px: Array, weights: Array) -> tuple[Array, Array]:
    """Triangulate N points seen by V cameras by weighted linear least squares (DLT on undistorted rays).

    `points_px` is (V, N, 2) in pixels, `weights` (V, N), 0 where a camera does not see the point (its pixels may then
    be NaN). Returns points in world coordinates (N, 3) in metres and each camera's reprojection error (V, N) in
    pixels. Points seen by fewer than two cameras or at infinity, and errors of cameras with weight 0 or in front of
    which the point does not lie, are NaN.

    All points are solved at once from the 4x4 normal matrices of rows scaled to unit length; about the median
    camera's centre, so that squaring them costs no accuracy where the world's origin is far away.
    """
    num_views, num_points = weights.shape
    points_world = np.full((num_points, 3), np.nan)
    errors_px = np.full((num_views, num_points), np.nan)
    seen = (weights > 0) & np.isfinite(points_px).all(axis=2)
    solvable = seen.sum(axis=0) >= 2
    if not solvable.any():
        return points_world, errors_px
    origin_world = np.median([camera.centre_world for camera in cameras], axis=0)
    normal = np.zeros((num_points, 4, 4))
    for camera, pixels, seen_here, weight in zip(cameras, points_px, seen, weights, strict=True):
        rays = camera.normalize(np.where(seen_here[:, None], pixels, 0.0))
        projection = camera.cam_from_world[:3].copy()
        projection[:, 3] += projection[:, :3] @ origin_world
        rows = rays[:, :, None] * projection[2] - projection[:2]  # (N, 2, 4)
        scale = np.where(seen_here, weight, 0.0)[:, None, None]
        rows = rows / np.linalg.norm(rows[..., :3], axis=2, keepdims=True) * scale
        normal += rows.transpose(0, 2, 1) @ rows
    homogeneous = np.linalg.eigh(normal)[1][:, :, 0]  # of the smallest eigenvalue
    finite = solvable & (np.abs(homogeneous[:, 3]) > 1e-9)
    points_world[finite] = homogeneous[finite, :3] / homogeneous[finite, 3:] + origin_world
    for v, camera in enumerate(cameras):
        shown = seen[v] & finite
        if shown.any():
            residuals_px = camera.project(points_world[shown]) - points_px[v, shown]
            errors_px[v, shown] = np.linalg.norm(residuals_px, axis=1)
    return points_world, errors_px


def angle_between_views_deg(camera_a: Camera, camera_b: Camera, point_world: Array) -> float:
    """Angle at a world point (3,) between the directions to two cameras, in degrees from 0 to 180."""
    to_a = camera_a.centre_world - point_world
    to_b = camera_b.centre_world - point_world
    cosine = to_a @ to_b / (np.linalg.norm(to_a) * np.linalg.norm(to_b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
