"""Plausible poses as joint angles in degrees: drawn around everyday stances, kept within a body's
limits, interpolated.

A pose is a vector in the order of `ANGLES`. Angles rather than rotations, so that limits are boxes
and the way from one pose to another stays plausible. Left and right follow the person; positive
angles of an arm's `turn` or a leg's `spread` and `turn` are outwards, `forward` is towards the
person's front.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.hand_shapes import FINGERS, HAND_ANGLES, LIMITS_DEG, random_hand
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
        "arm_forward": (-80, 115, 20),  # 0 raises sidewards, 90 to the front
        "arm_turn": (-45, 45, 15),
        "elbow": (2, 140, 20),
        "forearm_turn": (-60, 60, 25),
        "wrist": (-35, 35, 12),
        **{name: (*LIMITS_DEG[name], 6 if name != "spread" else 2) for name in HAND_ANGLES},
        "hip_forward": (-20, 105, 7),
        "hip_spread": (-12, 38, 5),
        "hip_turn": (-15, 30, 7),
        "knee": (2, 130, 6),
        "ankle": (-25, 20, 4),
    }),
}  # fmt: skip
ANGLES = tuple(LIMITS)
LOW, HIGH, _SPREAD = np.array(list(LIMITS.values()), dtype=np.float64).T


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw a stance, mirrored half the time, and vary every angle within the body's limits."""
    pose = stance(str(rng.choice(list(STANCES))))
    if rng.random() < 0.5:
        pose = mirrored(pose)
    if rng.random() < 0.35:  # arms of another stance
        pose = _with_arms(pose, stance(str(rng.choice(list(STANCES)))))
    for side in ("left", "right"):
        if rng.random() < 0.7:
            pose = with_hand(pose, side, random_hand(rng))
    return np.clip(pose + rng.normal(size=len(ANGLES)) * _SPREAD, LOW, HIGH)


def with_hand(pose: Pose, side: str, hand: NDArray[np.float64]) -> Pose:
    """The pose with the fingers of one side set to (6,) degrees in the order of `HAND_ANGLES`."""
    changed = pose.copy()
    changed[[ANGLES.index(f"{side}_{name}") for name in HAND_ANGLES]] = hand
    return changed


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


@cache
def stance(name: str) -> Pose:
    """The pose of one of `STANCES`."""
    angles = dict.fromkeys(ANGLES, 0.0)
    for changes in (_each_finger(STANDING), _each_finger(STANCES[name])):
        for key, value in changes.items():
            sided = {f"left_{key}", f"right_{key}"} & angles.keys()
            given = {other for other in changes if other != key}
            angles |= {target: value for target in (sided - given if sided else {key})}
    return np.array(list(angles.values()))


def _each_finger(changes: dict[str, float]) -> dict[str, float]:
    """`fingers`, of one side or of both, as the curls of its fingers; the thumb follows by half."""
    written: dict[str, float] = {}
    for key, value in changes.items():
        side, _, rest = key.rpartition("_")
        if rest == "fingers":
            before = f"{side}_" if side else ""
            written |= {before + name: value * (0.5 if name == "thumb" else 1) for name in FINGERS}
        else:
            written[key] = value
    return written


def _with_arms(pose: Pose, other: Pose) -> Pose:
    parts = ("arm", "elbow", "forearm", "wrist", *HAND_ANGLES)
    is_arm = np.array([name.partition("_")[2].startswith(parts) for name in ANGLES])
    return np.where(is_arm, other, pose)
