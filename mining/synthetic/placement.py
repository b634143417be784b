"""Where cameras stand: on a ring around the scene, at varied heights, each framing all of it."""

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.synthetic.config import SyntheticConfig

Array = NDArray[np.float64]


def place_cameras(
    config: SyntheticConfig, rng: np.random.Generator, points_world: Array
) -> tuple[Camera, ...]:
    """Place `num_views` cameras that see all `points_world` (N, 3): what the people reach over
    time.

    Neighbours differ in azimuth by `min_spread_deg` to `max_spread_deg`, in one direction around
    the scene. World axes: metres, z up, floor at z = 0.
    """
    spreads = rng.uniform(config.min_spread_deg, config.max_spread_deg, config.num_views)
    azimuths = np.radians(rng.uniform(0, 360) + np.cumsum(spreads))
    return tuple(_camera(config, rng, float(azimuth), points_world) for azimuth in azimuths)


def _camera(
    config: SyntheticConfig, rng: np.random.Generator, azimuth: float, points_world: Array
) -> Camera:
    middle = (points_world.min(axis=0) + points_world.max(axis=0)) / 2
    fov = np.radians(rng.uniform(config.min_fov_deg, config.max_fov_deg))
    shorter = min(config.width_px, config.height_px)
    focal_px = shorter / 2 / np.tan(fov / 2)
    height_m = rng.uniform(0.5, config.max_camera_height_m)
    fill = rng.uniform(config.min_fill, config.max_fill)
    centre_px = (
        np.array([config.width_px, config.height_px]) * (0.5 + rng.normal(scale=0.01, size=2))
    ).tolist()
    roll = np.radians(rng.normal(scale=2.5))
    aim = middle + rng.normal(scale=0.03, size=3)
    intrinsics = np.array([[focal_px, 0, centre_px[0]], [0, focal_px, centre_px[1]], [0, 0, 1.0]])

    def at(distance_m: float) -> Camera:
        aside = middle[:2] + distance_m * np.array([np.cos(azimuth), np.sin(azimuth)])
        position = np.append(aside, height_m)
        return Camera(intrinsics=intrinsics, world_from_cam=look_at(position, aim, roll))

    def filled(distance_m: float) -> float:
        """The larger share of the half image, to any side, that the scene takes; infinite when too
        near.
        """
        pixels = at(distance_m).project(points_world)
        if not np.isfinite(pixels).all():
            return np.inf
        half = np.array([config.width_px, config.height_px]) / 2
        return float(np.abs((pixels - half) / half).max())

    near, far = 0.8, 40.0
    for _ in range(13):  # the share falls with distance: bisect for the wanted one
        distance_m = (near + far) / 2
        near, far = (distance_m, far) if filled(distance_m) > fill else (near, distance_m)
    return at(far)


def look_at(position: Array, target: Array, roll_rad: float) -> Array:
    """`world_from_cam` (4, 4) of a camera at a position (3,) that looks at a target, rolled about
    its axis.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.array([forward[1], -forward[0], 0.0]) / np.hypot(forward[0], forward[1])
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    world_from_cam = np.eye(4)
    world_from_cam[:3, 0] = cosine * right + sine * down
    world_from_cam[:3, 1] = -sine * right + cosine * down
    world_from_cam[:3, 2] = forward
    world_from_cam[:3, 3] = position
    return world_from_cam
