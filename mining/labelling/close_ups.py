"""Close-ups of hands: a scene of one person at one time, whose cameras each look at one hand from
near by.

Cameras that see all of a person show hands of 20 to 40 pixels; these show them at about half the
image's width, so that small renders, which are cheap, are large enough.
"""

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera, angle_between_views_deg
from mining.labelling.gestures import GesturePlan
from mining.sources.base import Part
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.placement import look_at
from mining.synthetic.render import gaps_before
from mining.synthetic.scene import Scene

HANDS: tuple[Part, ...] = ("left_hand", "right_hand")
TRIED = 24  # places for each camera of a hand
WELL_SEEN = 12  # of a hand's 21 keypoints
SKIN_M = 0.025  # a keypoint is seen where the first thing hit is this near before it
MIN_HEIGHT_M = 0.05
VIEW_ANGLES_DEG = (20.0, 120.0)  # between two cameras of one hand


class CloseUps(Scene):
    """A scene whose first cameras look at the left hand and whose others look at the right one."""

    def __init__(self, config: SyntheticConfig, index: int) -> None:
        """Set up capture `index`. Raises ValueError for a config that is not of one person at one
        time, seen by an even number of cameras.
        """
        if (config.people_per_capture, config.num_frames, config.num_views % 2) != (1, 1, 0):
            raise ValueError(
                "close-ups are of one person at one time, seen by an even number of cameras, got "
                f"{config.people_per_capture}, {config.num_frames} and {config.num_views}"
            )
        self.plan = GesturePlan(config, index)
        super().__init__(config, index, self.plan)
        each = config.num_views // 2
        self.shown: tuple[Part, ...] = tuple(part for part in HANDS for _ in range(each))
        self.cameras = tuple(camera for part in HANDS for camera in self._around(part, each))

    def gesture(self, part: Part) -> str:
        """The gesture of a hand."""
        return self.plan.gesture(0, 0, part.removesuffix("_hand"))

    def _around(self, part: Part, num: int) -> list[Camera]:
        """Cameras that see a hand well, from directions that differ."""
        joints = self.joints_world(0, 0, part)
        rng = self.plan.rng("close-ups", part)
        tried = [self._camera(joints, rng) for _ in range(TRIED * num)]
        posed = self.mesh(0, 0)
        seen = []
        for camera in tried:
            gap_m, face = gaps_before(posed, camera, joints)
            seen.append(int(((face < 0) | (gap_m < SKIN_M)).sum()))
        middle = joints.mean(axis=0)
        chosen: list[Camera] = []
        # those that see it well in the order drawn, then the others, the best first
        for k in sorted(range(len(tried)), key=lambda k: (-min(seen[k], WELL_SEEN), k)):
            low, high = VIEW_ANGLES_DEG
            angles = [angle_between_views_deg(tried[k], other, middle) for other in chosen]
            if all(low <= angle <= high for angle in angles):
                chosen.append(tried[k])
            if len(chosen) == num:
                return chosen
        return chosen + tried[: num - len(chosen)]

    def _camera(self, joints: NDArray[np.float64], rng: np.random.Generator) -> Camera:
        middle = (joints.min(axis=0) + joints.max(axis=0)) / 2
        radius_m = float(np.linalg.norm(joints - middle, axis=1).max()) + 0.015
        half_fov = np.radians(rng.uniform(20.0, 45.0)) / 2
        distance_m = radius_m / np.tan(half_fov) / rng.uniform(0.6, 0.85)
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-40, 60))
        away = np.array([
            np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ])  # fmt: skip
        position = middle + distance_m * away
        position[2] = max(position[2], MIN_HEIGHT_M)
        aim = middle + rng.normal(scale=0.08 * radius_m, size=3)
        size = np.array([self.config.width_px, self.config.height_px])
        focal_px = size.min() / 2 / np.tan(half_fov)
        intrinsics = np.diag([focal_px, focal_px, 1.0])
        intrinsics[:2, 2] = size * (0.5 + rng.normal(scale=0.01, size=2))
        roll = np.radians(rng.normal(scale=15.0))
        return Camera(intrinsics=intrinsics, world_from_cam=look_at(position, aim, roll))
