"""What happens in one synthetic capture: who is in it, how they move, where the cameras stand.
Plain numpy and fast.

World frame: metres, z up, floor at z = 0. Every random choice has its own seed, made of the
config's seed, the capture's index and the choice's name, so that no choice depends on what was
asked before.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.ids import content_id, seed_of
from mining.synthetic.clocks import make_clocks
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.paths import crossing_loops
from mining.synthetic.placement import place_cameras
from mining.synthetic.poses import ANGLES, Pose, random_pose, stance
from mining.synthetic.walking import Gait, random_manner, strolling_pose, walking_pose

Array = NDArray[np.float64]
LOOKED_AT = 12  # times that the cameras are placed for, spread over the capture
NEIGHBOUR_M = 1.35  # between people who stand in a ring
TOUCHING_M = 0.3  # stick figures nearer than this may touch
_ATTEMPTS = 8  # at a pose that does not reach into a neighbour, before the arms go down


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
    """Capture `index` of a config, from 0: identities, shapes, motion, clocks and cameras, without
    bodies or images.
    """

    def __init__(self, config: SyntheticConfig, index: int) -> None:
        """Raises ValueError for a bad config or a negative index."""
        config.check()
        if index < 0:
            raise ValueError(f"captures are counted from 0, got {index}")
        self.config = config
        self.index = index
        self.clocks = make_clocks(config, self.rng)
        self.people = tuple(
            f"person-{content_id('synthetic', config.seed, index, person)}"
            for person in range(config.people_per_capture)
        )
        self.shapes = tuple(_random_shape(self.rng("shape", name)) for name in self.people)
        if config.motion == "crossing":
            lap_s = float(self.rng("lap").uniform(5.5, 7.5))
            self._loops = crossing_loops(
                [self.rng("loop", name) for name in self.people],
                lap_s,
                float(self.rng("turn").uniform(0, 2 * np.pi)),
            )
            self._manners = tuple(
                random_manner(
                    self.rng("walk", name), stature_m(shape), loop.walked_m(lap_s) / lap_s
                )
                for name, shape, loop in zip(self.people, self.shapes, self._loops, strict=True)
            )
        else:
            self._walks = tuple(self._random_walk(person) for person in range(len(self.people)))
        self.standing = cache(self._standing)
        self.cameras = place_cameras(config, self.rng("cameras"), self._reach_world())

    def rng(self, *names: Any) -> np.random.Generator:
        """The generator of one random choice of this capture."""
        return np.random.default_rng(seed_of("synthetic", self.config.seed, self.index, *names))

    def state(self, person: int, time_s: float) -> tuple[Pose, Array]:
        """A person's joint angles and `world_from_body` (4, 4) at a time on the capture's clock;
        with random motion, those of the nearest frame.
        """
        if self.config.motion == "crossing":
            loop = self._loops[person]
            pose = strolling_pose(self._manners[person], time_s, loop.walked_m(time_s))
            x, y = loop.at(time_s).tolist()
            return pose, _standing_at(x, y, loop.heading_rad(time_s))
        if self.config.motion == "smooth":
            walk = self._walks[person]
            distance_m = walk.speed_m_s * time_s
            around = walk.start_rad + distance_m / walk.radius_m
            pose = walking_pose(
                walk.key_poses, time_s / walk.key_every_s, walk.gait, abs(distance_m)
            )
            heading = around + np.copysign(np.pi / 2, walk.speed_m_s)
            return pose, _standing_at(
                walk.radius_m * np.cos(around), walk.radius_m * np.sin(around), heading
            )
        return self.standing(round(time_s * self.config.fps))[person]

    def _standing(self, frame: int) -> tuple[tuple[Pose, Array], ...]:
        """Everybody at a time of random motion: each has a place of a ring, with places exchanged
        from time to time, and a pose that does not reach into those before.
        """
        num_people = len(self.people)
        rng = self.rng("places", frame)
        radius_m = 0.0 if num_people == 1 else NEIGHBOUR_M / 2 / np.sin(np.pi / num_people)
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.permutation(num_people) / num_people
        states: list[tuple[Pose, Array]] = []
        taken = np.empty((0, 3))
        for name, shape, angle in zip(self.people, self.shapes, angles.tolist(), strict=True):
            rng = self.rng("pose", name, frame)
            x, y = radius_m * np.array([np.cos(angle), np.sin(angle)]) + rng.normal(
                scale=0.08, size=2
            )
            for attempt in range(_ATTEMPTS):
                pose = random_pose(rng) if attempt + 1 < _ATTEMPTS else stance("stand")
                placed = _standing_at(x, y, rng.uniform(0, 2 * np.pi))
                figure = _moved(_stick_figure_m(pose, stature_m(shape)), placed)
                gaps_m = np.linalg.norm(figure[:, None] - taken[None], axis=2)
                if gaps_m.min(initial=np.inf) > TOUCHING_M:
                    break
            states.append((pose, placed))
            taken = np.concatenate([taken, figure])
        return tuple(states)

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
        times_s = np.unique(np.concatenate([clock.times_s for clock in self.clocks]))
        looked_at = np.unique(np.linspace(0, len(times_s) - 1, LOOKED_AT).round().astype(int))
        return np.concatenate(
            [
                _moved(_stick_figure_m(pose, stature_m(shape)), placed)
                for time_s in times_s[looked_at].tolist()
                for person, shape in enumerate(self.shapes)
                for pose, placed in [self.state(person, time_s)]
            ]
        )


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


def _moved(points: Array, world_from_body: Array) -> Array:
    moved: Array = points @ world_from_body[:3, :3].T + world_from_body[:3, 3]
    return moved


def _standing_at(x: float, y: float, heading_rad: float) -> Array:
    """`world_from_body` of a person who stands at (x, y) and faces (cos heading, sin heading)."""
    turn = heading_rad + np.pi / 2  # the body faces -y
    world_from_body = np.eye(4)
    world_from_body[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    world_from_body[:2, 3] = x, y
    return world_from_body
