"""Plausible poses as joint angles in degrees: drawn around everyday stances, kept within a body's
limits, interpolated.

A pose is a vector in the order of `ANGLES`. Angles rather than rotations, so that limits are boxes
and the way from one pose to another stays plausible. Left and right follow the person; positive
angles of an arm's `turn` or a leg's `spread` and `turn` are outwards, `forward` is towards the
person's front.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.stances import STANCES, STANDING

Pose = NDArray[np.float64]  # (len(ANGLES),) degrees


def _both(limits: dict[str, tuple[float, float, float]]) -> dict[str, tuple[float, float, float]]:
    return {f"{side}_{name}": limit for side in ("left", "right") for name, limit in limits.items()}


# name: lowest, highest, and the spread (standard deviation) around a stance
LIMITS: dict[str, tuple[float, float, float]] = {
    "pelvis_forward": (-10, 25, 3),
    "pelvis_side": (-8, 8, 2),
    "spine_forward": (-15, 60, 7),
    "spine_side": (-20, 20, 6),
    "spine_twist": (-35, 35, 10),
    "head_forward": (-30, 35, 10),
    "head_side": (-20, 20, 6),
    "head_twist": (-60, 60, 20),
    **_both({
        "arm_raise": (3, 165, 15),  # 0 hangs down, 90 is level, 180 overhead
        "arm_forward": (-45, 115, 20),  # 0 raises sidewards, 90 to the front
        "arm_turn": (-45, 45, 15),
        "elbow": (2, 140, 20),
        "forearm_turn": (-60, 60, 25),
        "wrist": (-35, 35, 12),
        "fingers": (0, 85, 20),
        "hip_forward": (-20, 105, 7),
        "hip_spread": (-12, 38, 5),
        "hip_turn": (-15, 30, 7),
        "knee": (2, 130, 6),
        "ankle": (-25, 20, 4),
    }),
}  # fmt: skip
ANGLES = tuple(LIMITS)
_LOW, _HIGH, _SPREAD = np.array(list(LIMITS.values()), dtype=np.float64).T


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw a stance, mirrored half the time, and vary every angle within the body's limits."""
    pose = _stance(str(rng.choice(list(STANCES))))
    if rng.random() < 0.5:
        pose = mirrored(pose)
    if rng.random() < 0.35:  # arms of another stance
        pose = _with_arms(pose, _stance(str(rng.choice(list(STANCES)))))
    return np.clip(pose + rng.normal(size=len(ANGLES)) * _SPREAD, _LOW, _HIGH)


def mirrored(pose: Pose) -> Pose:
    """Exchange left and right."""
    angles = dict(zip(ANGLES, pose, strict=True))
    swapped = {}
    for name in ANGLES:
        side, _, rest = name.partition("_")
        if side in ("left", "right"):
            swapped[name] = angles[f"{'right' if side == 'left' else 'left'}_{rest}"]
        else:
            swapped[name] = -angles[name] if rest in ("side", "twist") else angles[name]
    return np.array(list(swapped.values()))


@dataclass(frozen=True)
class Gait:
    """How somebody walks: `phase_rad` at time 0, `stride_m` for two steps, legs' `swing_deg`."""

    phase_rad: float
    stride_m: float
    swing_deg: float


def walking_pose(
    key_poses: tuple[Pose, ...], progress: float, gait: Gait, distance_m: float
) -> Pose:
    """The pose after walking a distance: arms and trunk ease through the key poses (`progress`
    counts them), legs walk.
    """
    at = int(np.floor(progress))
    share = progress - at
    share = share * share * (3.0 - 2.0 * share)
    first, second = key_poses[at % len(key_poses)], key_poses[(at + 1) % len(key_poses)]
    pose = dict(zip(ANGLES, (1.0 - share) * first + share * second, strict=True))
    phase = gait.phase_rad + 2.0 * np.pi * distance_m / gait.stride_m
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(phase + shift)
        lifting = max(0.0, np.cos(phase + shift))  # the leg is off the floor while it swings ahead
        pose |= {
            f"{side}_hip_forward": gait.swing_deg * (swing + 0.3 + 0.4 * lifting),
            f"{side}_knee": 6.0 + 1.9 * gait.swing_deg * lifting + 5.0 * max(0.0, -swing),
            f"{side}_ankle": -6.0 * max(0.0, -swing),
            f"{side}_hip_spread": -6.0,
            f"{side}_hip_turn": 5.0,
        }
    pose["spine_forward"] = min(pose["spine_forward"], 12.0)
    pose["pelvis_forward"] = 2.0
    return np.clip(np.array(list(pose.values())), _LOW, _HIGH)


@cache
def _stance(name: str) -> Pose:
    angles = dict.fromkeys(ANGLES, 0.0)
    for changes in (STANDING, STANCES[name]):
        for key, value in changes.items():
            sided = {f"left_{key}", f"right_{key}"} & angles.keys()
            given = {other for other in STANCES[name] if other != key}
            angles |= {target: value for target in (sided - given if sided else {key})}
    return np.array(list(angles.values()))


def _with_arms(pose: Pose, other: Pose) -> Pose:
    parts = ("arm", "elbow", "forearm", "wrist", "fingers")
    is_arm = np.array([name.partition("_")[2].startswith(parts) for name in ANGLES])
    return np.where(is_arm, other, pose)
