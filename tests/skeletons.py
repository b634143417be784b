"""Stick figures with known truth: people who walk, cameras on a ring around them, and what these
would detect.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.identity.fits import Track

Array = NDArray[np.float64]

# COCO order; x to the body's left, y up, z ahead, in metres above the ground between the feet.
STANDING_M = np.array(
    [
        [0.00, 1.60, 0.10],
        [0.03, 1.64, 0.08],
        [-0.03, 1.64, 0.08],
        [0.08, 1.62, 0.0],
        [-0.08, 1.62, 0.0],
        [0.18, 1.42, 0.0],
        [-0.18, 1.42, 0.0],
        [0.24, 1.12, 0.0],
        [-0.24, 1.12, 0.0],
        [0.26, 0.86, 0.05],
        [-0.26, 0.86, 0.05],
        [0.12, 0.92, 0.0],
        [-0.12, 0.92, 0.0],
        [0.13, 0.50, 0.02],
        [-0.13, 0.50, 0.02],
        [0.14, 0.08, 0.0],
        [-0.14, 0.08, 0.0],
    ]
)
SWING = {
    7: -0.5,
    8: 0.5,
    9: -1.0,
    10: 1.0,
    13: 0.6,
    14: -0.6,
    15: 1.0,
    16: -1.0,
}  # share of a stride, ahead
WIDTH_PX, HEIGHT_PX = 1080, 1920


def walk(
    times_s: Array,
    start_m: Sequence[float] = (0.0, 0.0),
    velocity_m_per_s: Sequence[float] = (1.0, 0.0),
    *,
    heading_deg: float | None = None,
    phase: float = 0.0,
    height_m: float = 1.7,
) -> Array:
    """Joints (T, 17, 3) in metres, z up, of a person who walks a line and swings arms and legs once
    a second.

    They face where they go, or `heading_deg`, counted from x to y.
    """
    velocity = np.array(velocity_m_per_s, dtype=np.float64)
    heading = (
        np.arctan2(velocity[1], velocity[0]) if heading_deg is None else np.radians(heading_deg)
    )
    ahead = np.array([np.cos(heading), np.sin(heading), 0.0])
    left = np.array([-ahead[1], ahead[0], 0.0])
    body = np.repeat(STANDING_M[None], len(times_s), axis=0)
    stride = 0.3 * np.sin(2 * np.pi * times_s + phase)
    for joint, share in SWING.items():
        body[:, joint, 2] += share * stride
    body *= height_m / 1.7
    axes = np.stack([left, np.array([0.0, 0.0, 1.0]), ahead])
    place = np.zeros((len(times_s), 1, 3))
    place[:, 0, :2] = np.array(start_m) + np.asarray(times_s)[:, None] * velocity
    joints: Array = body @ axes + place
    return joints


def ring_of_cameras(
    count: int, radius_m: float = 5.0, height_m: float = 1.6, arc_deg: float = 360.0
) -> list[Camera]:
    """Cameras at even angles on a ring, that look at a point one metre above its middle, each with
    distortion.
    """
    cameras = []
    for angle in np.radians(np.arange(count) * arc_deg / count):
        centre = np.array([radius_m * np.cos(angle), radius_m * np.sin(angle), height_m])
        ahead = np.array([0.0, 0.0, 1.0]) - centre
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        world_from_cam[:3, 3] = centre
        intrinsics = np.array([[1200.0, 0, WIDTH_PX / 2], [0, 1200.0, HEIGHT_PX / 2], [0, 0, 1]])
        cameras.append(
            Camera(
                intrinsics=intrinsics,
                world_from_cam=world_from_cam,
                distortion=np.array([-0.05, 0.1, 0.0005, 0.0005, 0.0]),
            )
        )
    return cameras


def turned(camera: Camera, angle_deg: float, generator: np.random.Generator) -> Camera:
    """The camera turned by an angle about a random axis, and moved by a few centimetres."""
    axis = generator.normal(size=3)
    turn, _ = cv2.Rodrigues(np.radians(angle_deg) * axis / np.linalg.norm(axis))
    world_from_cam = camera.world_from_cam.copy()
    world_from_cam[:3, :3] = turn @ world_from_cam[:3, :3]
    world_from_cam[:3, 3] += generator.normal(0, 0.02, 3)
    return replace(camera, world_from_cam=world_from_cam)


def detect(
    camera: Camera,
    joints_world: Array,
    generator: np.random.Generator,
    noise_px: float = 2.0,
    missing: float = 0.0,
) -> Array:
    """Keypoints (T, K, 3) as a detector would see them: pixel noise, and a share of joints not
    seen.
    """
    pixels = camera.project(joints_world.reshape(-1, 3)).reshape(*joints_world.shape[:2], 2)
    pixels += generator.normal(0, noise_px, pixels.shape)
    confidence = np.where(generator.random(pixels.shape[:2]) < missing, 0.0, 0.9)
    keypoints: Array = np.concatenate([pixels, confidence[..., None]], axis=2)
    return keypoints


def boxes_around(keypoints_px: Array) -> Array:
    """Boxes (N, 4) a little larger than keypoints (N, 17, 3)."""
    low, high = keypoints_px[..., :2].min(axis=1), keypoints_px[..., :2].max(axis=1)
    margin = 0.05 * (high - low)
    boxes: Array = np.concatenate([low - margin, high + margin], axis=1)
    return boxes


def film(
    people: Sequence[Array],
    cameras: Sequence[Camera],
    times_s: Array,
    generator: np.random.Generator,
    noise_px: float = 2.0,
    seen_by: dict[int, Sequence[int]] | None = None,
) -> tuple[list[Track], list[int]]:
    """Tracks of all people in all cameras in shuffled order, and who each is; `seen_by` lists a
    person's cameras.
    """
    tracks, who = [], []
    for view, camera in enumerate(cameras):
        for person in generator.permutation(len(people)):
            if seen_by is None or view in seen_by.get(int(person), range(len(cameras))):
                keypoints = detect(camera, people[person], generator, noise_px, missing=0.05)
                tracks.append(Track(view=view, times_s=times_s, keypoints_px=keypoints))
                who.append(int(person))
    order = generator.permutation(len(tracks))
    return [tracks[i] for i in order], [who[i] for i in order]
