"""What happens in one synthetic capture: who is in it, how they move, where the cameras stand.
Plain numpy and fast.

World frame: metres, z up, floor at z = 0. Every random choice has its own seed, made of the
config's seed, the capture's index and the choice's name, so that no choice depends on what was
asked before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.ids import content_id, seed_of
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.placement import place_cameras
from mining.synthetic.poses import ANGLES, Gait, Pose, random_pose, walking_pose

Array = NDArray[np.float64]
LOOKED_AT = 12  # times that the cameras are placed for, spread over the capture


@dataclass(frozen=True)
class _Walk:
    """A circle around the scene's centre, walked at a constant speed (its sign is the direction),
    with key poses.
    """

    radius_m: float
    start_rad: float
    speed_m_s: float
    key_poses: tuple[Pose, ...]
    key_every_s: float
    gait: Gait


class Plan:
    """Capture `index` of a config, from 0: identities, shapes, motion and cameras, without bodies
    or images.
    """

    def __init__(self, config: SyntheticConfig, index: int) -> None:
        """Raises ValueError for a bad config or a negative index."""
        config.check()
        if index < 0:
            raise ValueError(f"captures are counted from 0, got {index}")
        self.config = config
        self.index = index
        self.times_s = tuple(frame / config.fps for frame in range(config.num_frames))
        self.people = tuple(
            f"person-{content_id('synthetic', config.seed, index, person)}"
            for person in range(config.people_per_capture)
        )
        self.shapes = tuple(_random_shape(self.rng("shape", name)) for name in self.people)
        self._walks = tuple(self._random_walk(person) for person in range(len(self.people)))
        self.cameras = place_cameras(config, self.rng("cameras"), self._reach_world())

    def rng(self, *names: Any) -> np.random.Generator:
        """The generator of one random choice of this capture."""
        return np.random.default_rng(seed_of("synthetic", self.config.seed, self.index, *names))

    def state(self, person: int, time_index: int) -> tuple[Pose, Array]:
        """A person's joint angles and `world_from_body` (4, 4) at a time."""
        walk = self._walks[person]
        if self.config.motion == "smooth":
            time_s = self.times_s[time_index]
            distance_m = walk.speed_m_s * time_s
            around = walk.start_rad + distance_m / walk.radius_m
            pose = walking_pose(
                walk.key_poses, time_s / walk.key_every_s, walk.gait, abs(distance_m)
            )
            heading = around + np.copysign(np.pi / 2, walk.speed_m_s)
            return pose, _standing_at(
                walk.radius_m * np.cos(around), walk.radius_m * np.sin(around), heading
            )
        rng = self.rng("pose", self.people[person], time_index)
        # Everybody has a place on a circle, 1.2 m from the neighbours.
        radius_m = 0.0 if len(self.people) == 1 else 0.6 / np.sin(np.pi / len(self.people))
        slot = 2 * np.pi * person / len(self.people)
        x, y = radius_m * np.array([np.cos(slot), np.sin(slot)]) + rng.normal(scale=0.1, size=2)
        return random_pose(rng), _standing_at(x, y, walk.start_rad + rng.normal(scale=0.9))

    def _random_walk(self, person: int) -> _Walk:
        rng = self.rng("walk", self.people[person])
        stride_m = float(rng.uniform(0.7, 1.1))
        return _Walk(
            radius_m=0.45 + 0.85 * person,
            start_rad=float(rng.uniform(0, 2 * np.pi)),
            speed_m_s=float(rng.uniform(0.3, 0.7) * rng.choice([-1, 1])),
            key_poses=tuple(random_pose(rng) for _ in range(6)),
            key_every_s=float(rng.uniform(0.8, 1.6)),
            gait=Gait(
                phase_rad=float(rng.uniform(0, 2 * np.pi)),
                stride_m=stride_m,
                swing_deg=18.0 * stride_m,
            ),
        )

    def _reach_world(self) -> Array:
        """Points (N, 3) that surround everybody over time, for the cameras to frame."""
        frames = sorted(
            set(np.linspace(0, self.config.num_frames - 1, LOOKED_AT).round().astype(int).tolist())
        )
        points = []
        for person, shape in enumerate(self.shapes):
            for frame in frames:
                pose, world_from_body = self.state(person, frame)
                points.append(
                    _stick_figure_m(pose, stature_m(shape)) @ world_from_body[:3, :3].T
                    + world_from_body[:3, 3]
                )
        return np.concatenate(points)


def stature_m(shape: dict[str, float]) -> float:
    """Standing height of a shape: a fit to 400 Anny bodies, mean error 0.9 cm, largest 9 cm."""
    return (
        0.514 + 1.273 * min(shape["age"], 0.667) - 0.138 * shape["gender"] + 1.074 * shape["height"]
    )


def _random_shape(rng: np.random.Generator) -> dict[str, float]:
    """Draw Anny's phenotype parameters, each from 0 to 1: mostly adults, some children (age below
    0.6).
    """
    child = rng.random() < 0.12
    return {
        "gender": float(np.clip(rng.choice([0.1, 0.9]) + rng.normal(scale=0.12), 0, 1)),
        "age": float(rng.uniform(0.28, 0.5) if child else rng.uniform(0.6, 1.0)),
        "muscle": float(rng.uniform(0.2, 0.85)),
        "weight": float(rng.beta(2.0, 2.2)),
        "height": float(np.clip(rng.normal(0.42, 0.13), 0.1, 0.75)),
        "proportions": float(rng.uniform(0.3, 0.9)),
    }


def _stick_figure_m(pose: Pose, stature: float) -> Array:
    """About where feet, head and hands of a posed body are, with a margin: points (N, 3) in the
    body frame, z from 0.
    """
    angle = dict(zip(ANGLES, np.radians(pose), strict=True))
    lean, twist = angle["pelvis_forward"] + angle["spine_forward"], angle["spine_twist"]
    up = np.array([0.0, -np.sin(lean), np.cos(lean)])
    ahead = np.array([np.sin(twist), -np.cos(twist), 0.0])
    points = [0.3 * up, 0.5 * up + 0.08 * ahead]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        thigh = angle[f"{side}_hip_forward"] - angle["pelvis_forward"]
        shank = thigh - angle[f"{side}_knee"]
        aside = sign * np.array([np.cos(twist), np.sin(twist), 0.0])
        knee = np.array([sign * 0.1, -0.24 * np.sin(thigh), -0.24 * np.cos(thigh)])
        spread = sign * 0.24 * np.sin(angle[f"{side}_hip_spread"])
        ankle = knee + np.array([spread, -0.25 * np.sin(shank), -0.25 * np.cos(shank)])
        raised, forward = angle[f"{side}_arm_raise"], angle[f"{side}_arm_forward"]
        aim = (
            np.sin(raised) * (np.cos(forward) * aside + np.sin(forward) * ahead)
            - np.cos(raised) * up
        )
        shoulder = 0.3 * up + 0.1 * aside
        bent = angle[f"{side}_elbow"] / np.pi
        points += [
            knee,
            ankle,
            ankle + np.array([0.0, -0.09, -0.03]),
            shoulder,
            shoulder + (0.43 - 0.3 * bent) * aim,
        ]
    figure = np.array(points) * stature
    figure[:, 2] -= figure[:, 2].min()
    margin = 0.05 * stature
    return np.concatenate(
        [figure + np.eye(3)[axis] * margin * way for axis in range(2) for way in (-1, 1)]
    )


def _standing_at(x: float, y: float, heading_rad: float) -> Array:
    """`world_from_body` of a person who stands at (x, y) and faces (cos heading, sin heading)."""
    turn = heading_rad + np.pi / 2  # the body faces -y
    world_from_body = np.eye(4)
    world_from_body[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    world_from_body[:2, 3] = x, y
    return world_from_body
