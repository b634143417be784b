"""Plausible poses as joint angles in degrees: drawn around everyday stances, kept within a body's limits, interpolated.

A pose is a vector in the order of `ANGLES`. Angles rather than rotations, so that limits are boxes and the way from one
pose to another stays plausible. Left and right follow the person; positive angles of an arm's `turn` or a leg's `spread`
and `turn` are outwards, `forward` is towards the person's front.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        "hip_spread": (-6, 38, 5),
        "hip_turn": (-15, 30, 7),
        "knee": (2, 130, 6),
        "ankle": (-25, 20, 4),
    }),
}  # fmt: skip
ANGLES = tuple(LIMITS)
_LOW, _HIGH, _SPREAD = np.array(list(LIMITS.values()), dtype=np.float64).T

# Everyday stances: what differs from standing. Names without a side go to both.
STANCES: dict[str, dict[str, float]] = {
    "stand": {},
    "weight on one leg": {
        "pelvis_side": 6, "spine_side": -8, "left_knee": 5, "right_knee": 28, "right_hip_forward": 22, "right_hip_spread": 9,
    },
    "stride": {
        "left_hip_forward": 28, "left_knee": 8, "right_hip_forward": -16, "right_knee": 22, "right_ankle": -12,
        "left_arm_raise": 24, "left_arm_forward": -45, "right_arm_raise": 28, "right_arm_forward": 90, "elbow": 30,
    },
    "run": {
        "spine_forward": 14, "left_hip_forward": 62, "left_knee": 85, "right_hip_forward": -14, "right_knee": 32,
        "right_ankle": -18, "left_arm_raise": 42, "left_arm_forward": -45, "right_arm_raise": 38,
        "right_arm_forward": 95, "elbow": 92, "fingers": 60,
    },
    "squat": {
        "spine_forward": 32, "hip_forward": 88, "hip_spread": 22, "hip_turn": 18, "knee": 108, "ankle": 18,
        "arm_raise": 62, "arm_forward": 92,
    },
    "lunge": {
        "spine_forward": 10, "left_hip_forward": 72, "left_knee": 78, "right_hip_forward": -18, "right_knee": 48,
        "right_ankle": -15,
    },
    "sit": {"spine_forward": 8, "hip_forward": 84, "hip_spread": 12, "knee": 88, "elbow": 55, "arm_forward": 70},
    "bend forward": {
        "pelvis_forward": 18, "spine_forward": 48, "hip_forward": 22, "knee": 22, "arm_raise": 55, "arm_forward": 92,
    },
    "arms up": {"arm_raise": 145, "arm_forward": 35, "elbow": 22},
    "arms wide": {"arm_raise": 86, "arm_forward": 12, "elbow": 10, "hip_spread": 14},
    "wave": {"right_arm_raise": 82, "right_arm_forward": 15, "right_arm_turn": -40, "right_elbow": 95},
    "point": {"left_arm_raise": 84, "left_arm_forward": 72, "left_elbow": 6, "left_fingers": 30},
    "hands on hips": {"arm_raise": 44, "arm_forward": -28, "arm_turn": 38, "elbow": 92, "hip_spread": 9},
    "arms folded": {"arm_raise": 32, "arm_forward": 72, "elbow": 108, "forearm_turn": 10},
    "phone": {"right_arm_raise": 42, "right_arm_forward": 62, "right_elbow": 128, "head_side": -8, "right_fingers": 55},
    "throw": {
        "spine_twist": -22, "right_arm_raise": 105, "right_arm_forward": -15, "right_elbow": 88, "left_arm_raise": 68,
        "left_arm_forward": 80, "left_hip_forward": 32, "left_knee": 28, "right_hip_forward": -8, "right_knee": 14,
    },
    "kick": {
        "spine_forward": -5, "left_hip_forward": 78, "left_knee": 12, "right_knee": 12, "left_arm_raise": 48,
        "right_arm_raise": 62, "arm_forward": 15,
    },
    "guard": {
        "spine_forward": 10, "arm_raise": 42, "arm_forward": 85, "elbow": 122, "fingers": 80, "left_hip_forward": 22,
        "left_knee": 28, "right_hip_forward": -6, "right_knee": 24, "hip_spread": 11,
    },
    "carry": {"arm_raise": 28, "arm_forward": 82, "elbow": 78, "spine_forward": -3},
    "tiptoe reach": {"left_arm_raise": 160, "left_arm_forward": 60, "left_elbow": 8, "ankle": -24, "head_forward": -18},
}  # fmt: skip
_STANDING = {"arm_raise": 12, "arm_forward": 25, "elbow": 15, "fingers": 22, "hip_spread": 5, "hip_turn": 5, "knee": 4}


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
    """A slow walk in a circle: `phase_rad` at time 0, steps of `stride_m` (two steps), legs swinging by `swing_deg`."""

    phase_rad: float
    stride_m: float
    swing_deg: float


def walking_pose(key_poses: tuple[Pose, ...], progress: float, gait: Gait, distance_m: float) -> Pose:
    """The pose after walking a distance: arms and trunk ease through the key poses (`progress` counts them), legs walk."""
    at = int(np.floor(progress))
    share = progress - at
    share = share * share * (3.0 - 2.0 * share)
    first, second = key_poses[at % len(key_poses)], key_poses[(at + 1) % len(key_poses)]
    pose = dict(zip(ANGLES, (1.0 - share) * first + share * second, strict=True))
    phase = gait.phase_rad + 2.0 * np.pi * distance_m / gait.stride_m
    for side, shift in (("left", 0.0), ("right", np.pi)):
        swing = np.sin(phase + shift)
        lifting = max(0.0, np.cos(phase + shift))  # the foot is in the air while the leg swings forward
        pose |= {
            f"{side}_hip_forward": gait.swing_deg * (swing + 0.3 + 0.4 * lifting),
            f"{side}_knee": 6.0 + 1.9 * gait.swing_deg * lifting + 5.0 * max(0.0, -swing),
            f"{side}_ankle": -6.0 * max(0.0, -swing),
            f"{side}_hip_spread": 2.0,
            f"{side}_hip_turn": 5.0,
        }
    pose["spine_forward"] = min(pose["spine_forward"], 12.0)
    pose["pelvis_forward"] = 2.0
    return np.clip(np.array(list(pose.values())), _LOW, _HIGH)


def _stance(name: str) -> Pose:
    angles = dict.fromkeys(ANGLES, 0.0)
    for changes in (_STANDING, STANCES[name]):
        for key, value in changes.items():
            sided = {f"left_{key}", f"right_{key}"} & angles.keys()
            given = {other for other in STANCES[name] if other != key}
            angles |= {target: value for target in (sided - given if sided else {key})}
    return np.array(list(angles.values()))


def _with_arms(pose: Pose, other: Pose) -> Pose:
    parts = ("arm", "elbow", "forearm", "wrist", "fingers")
    is_arm = np.array([name.partition("_")[2].startswith(parts) for name in ANGLES])
    return np.where(is_arm, other, pose)
