"""Pinhole cameras with lens distortion, in OpenCV's convention: x right, y down, z forward; metres;
pixel centres at +0.5.

`world_from_cam` takes points from the camera's frame to the world's, so its last column is the
camera's centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_PARALLAX = 1e-4  # radians; rays nearer to parallel meet nowhere in particular

CROP_TOLERANCE = 0.02  # share of a side that a codec may cut off (1088 becomes 1080)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One calibrated camera: `intrinsics` (3, 3) in pixels, `world_from_cam` (4, 4) in metres.

    `distortion` is OpenCV's; `size_px` the width and height of the images it was calibrated for,
    None where that is not known.
    """

    intrinsics: Array
    world_from_cam: Array
    distortion: Array = field(default_factory=lambda: np.zeros(5))
    size_px: tuple[int, int] | None = None

    def for_images(self, width_px: int, height_px: int) -> "Camera":
        """Return the camera for images of this size.

        It is the same where a codec cut off a few columns or rows at the right or bottom, and
        scaled where both sides are scaled alike. Raises ValueError where the images have another
        shape than the calibration, or the principal point lies outside them.
        """
        width, height = self.size_px or (width_px, height_px)
        scale_x, scale_y = width_px / width, height_px / height
        cut_off = all(1 - CROP_TOLERANCE <= scale <= 1 for scale in (scale_x, scale_y))
        if cut_off:
            scale_x = scale_y = 1.0
        if abs(scale_x / scale_y - 1) > CROP_TOLERANCE:
            raise ValueError(
                f"it was calibrated at {width} x {height} px, its images are {width_px} x "
                f"{height_px} px: give images as calibrated, or scaled alike in both directions"
            )
        intrinsics = np.diag([scale_x, scale_y, 1.0]) @ self.intrinsics
        if not (0 < intrinsics[0, 2] < width_px and 0 < intrinsics[1, 2] < height_px):
            raise ValueError(
                f"its principal point ({intrinsics[0, 2]:.0f}, {intrinsics[1, 2]:.0f}) lies "
                f"outside its {width_px} x {height_px} images"
            )
        return replace(self, intrinsics=intrinsics, size_px=(width_px, height_px))

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
        pixels, _ = cv2.projectPoints(
            points, rotation, extrinsics[:3, 3], self.intrinsics, self.distortion
        )
        pixels = pixels.reshape(-1, 2)
        pixels[self.to_camera(points.reshape(-1, 3))[:, 2] <= 0] = np.nan
        return pixels

    def normalize(self, points_px: Array) -> Array:
        """Undo intrinsics and distortion: pixels (N, 2) to image-plane coordinates (N, 2) at depth
        1.
        """
        points = np.ascontiguousarray(points_px, dtype=np.float64).reshape(-1, 1, 2)
        return cv2.undistortPoints(points, self.intrinsics, self.distortion).reshape(-1, 2)


def triangulate(cameras: Sequence[Camera], points_px: Array, weights: Array) -> tuple[Array, Array]:
    """Triangulate N points seen by V cameras by weighted linear least squares (on undistorted
    rays).

    `points_px` is (V, N, 2) in pixels, `weights` (V, N), 0 where a camera does not see the point
    (its pixels may then be NaN). Returns points in world coordinates (N, 3) in metres and each
    camera's reprojection error (V, N) in pixels. Points seen by fewer than two cameras or at
    infinity, and errors of cameras with weight 0 or in front of which the point does not lie, are
    NaN.

    All points are solved at once by 3x3 normal equations of the distances to the planes that hold a
    ray, in metres, about the median camera's centre, so that squaring them costs no accuracy where
    the world's origin is far away.
    """
    num_views, num_points = weights.shape
    points_world = np.full((num_points, 3), np.nan)
    errors_px = np.full((num_views, num_points), np.nan)
    seen = (weights > 0) & np.isfinite(points_px).all(axis=2)
    if not (seen.sum(axis=0) >= 2).any():
        return points_world, errors_px
    origin_world = np.median([camera.centre_world for camera in cameras], axis=0)
    normal, target = np.zeros((num_points, 3, 3)), np.zeros((num_points, 3))
    for camera, pixels, seen_here, weight in zip(cameras, points_px, seen, weights, strict=True):
        rays = camera.normalize(np.where(seen_here[:, None], pixels, 0.0))
        rotation = camera.cam_from_world[:3, :3]
        planes = rays[:, :, None] * rotation[2] - rotation[:2]  # (N, 2, 3)
        planes *= np.where(seen_here, weight, 0.0)[:, None, None] / np.linalg.norm(
            planes, axis=2, keepdims=True
        )
        offsets = planes @ (camera.centre_world - origin_world)
        normal += planes.transpose(0, 2, 1) @ planes
        target += np.einsum("nij,ni->nj", planes, offsets)
    trace = np.trace(
        normal, axis1=1, axis2=2
    )  # det / (trace / 2)^2 is close to the least eigenvalue
    finite = (seen.sum(axis=0) >= 2) & (np.linalg.det(normal) > MIN_PARALLAX**2 * trace**3 / 8)
    solution = np.linalg.solve(normal[finite], target[finite][..., None])[..., 0]
    points_world[finite] = solution + origin_world
    for v, camera in enumerate(cameras):
        shown = seen[v] & finite
        if shown.any():
            residuals_px = camera.project(points_world[shown]) - points_px[v, shown]
            errors_px[v, shown] = np.linalg.norm(residuals_px, axis=1)
    return points_world, errors_px


def angle_between_views_deg(camera_a: Camera, camera_b: Camera, point_world: Array) -> float:
    """Angle at a world point (3,) between the directions to two cameras, 0 to 180 degrees."""
    to_a = camera_a.centre_world - point_world
    to_b = camera_b.centre_world - point_world
    cosine = to_a @ to_b / (np.linalg.norm(to_a) * np.linalg.norm(to_b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
