"""How somebody walks: legs that follow the distance walked, arms that swing against them or do
something else, hands that change their shape.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.hand_shapes import HAND_ANGLES, random_hand
from mining.synthetic.poses import ANGLES, HIGH, LOW, Pose, mirrored, random_pose, stance

ARM_ANGLES = ("arm_raise", "arm_forward", "arm_turn", "elbow", "forearm_turn", "wrist")
# What arms do on the way, within reach of the body so that nobody is touched in passing.
GESTURES = ("phone", "wave", "carry", "hands on hips", "guard", "arms folded", "stand")
_LEG_LENGTH = 0.48  # of the stature, from hip to ankle
_STANDING = 0.6  # share of a stride in which a foot is on the floor


@dataclass(frozen=True)
class Gait:
    """`phase_rad` at the start, `stride_m` for two steps, and how far legs swing to either side."""

    phase_rad: float
    stride_m: float
    swing_deg: float


@dataclass(frozen=True)
class Manner:
    """One person's way of walking: a gait, key poses that trunk and head pass through, gestures
    (None: the arms swing) and hand shapes (K, 6) for left and right, each eased from one to the
    next.
    """

    gait: Gait
    arms_out_deg: float
    key_poses: tuple[Pose, ...]
    gestures: tuple[Pose | None, ...]
    hands: dict[str, NDArray[np.float64]]
    key_every_s: float
    hand_every_s: float


def random_gait(rng: np.random.Generator, stature_m: float, speed_m_s: float) -> Gait:
    """A gait for somebody's height and usual speed: strides grow with the root of the speed, and
    legs swing so that the standing foot goes back as fast as the body goes ahead.
    """
    stride_m = stature_m * 0.72 * np.sqrt(speed_m_s) * rng.uniform(0.92, 1.08)
    return Gait(
        phase_rad=float(rng.uniform(0, 2 * np.pi)),
        stride_m=float(stride_m),
        swing_deg=float(np.degrees(_STANDING / 2 * stride_m / (_LEG_LENGTH * stature_m))),
    )


def random_manner(rng: np.random.Generator, stature_m: float, speed_m_s: float) -> Manner:
    """Draw somebody's way of walking."""
    gestures: list[Pose | None] = []
    for _ in range(6):
        if rng.random() < 0.5:
            gestures.append(None)
        else:
            pose = stance(str(rng.choice(GESTURES)))
            gestures.append(mirrored(pose) if rng.random() < 0.5 else pose)
    return Manner(
        gait=random_gait(rng, stature_m, speed_m_s),
        arms_out_deg=float(rng.uniform(7, 16)),
        key_poses=tuple(random_pose(rng) for _ in range(6)),
        gestures=tuple(gestures),
        hands={side: np.stack([random_hand(rng) for _ in range(8)]) for side in ("left", "right")},
        key_every_s=float(rng.uniform(1.1, 1.9)),
        hand_every_s=float(rng.uniform(0.7, 1.2)),
    )


def strolling_pose(manner: Manner, time_s: float, distance_m: float) -> Pose:
    """The pose at a time, after walking a distance."""
    at, share = eased(time_s / manner.key_every_s)
    keys = manner.key_poses
    first, second = keys[at % len(keys)], keys[(at + 1) % len(keys)]
    pose = dict(zip(ANGLES, (1.0 - share) * first + share * second, strict=True))
    phase = manner.gait.phase_rad + 2.0 * np.pi * distance_m / manner.gait.stride_m
    for name in ("spine_forward", "spine_side", "pelvis_side"):
        pose[name] *= 0.3  # upright enough to walk
    pose["spine_twist"] = 0.3 * pose["spine_twist"] + 6.0 * np.cos(phase)
    pose |= legs(manner.gait, phase)
    swinging = _swinging_arms(manner, phase)
    before, after = (
        swinging if gesture is None else _arms_of(gesture)
        for gesture in (manner.gestures[(at + k) % len(manner.gestures)] for k in (0, 1))
    )
    pose |= {name: (1.0 - share) * before[name] + share * after[name] for name in swinging}
    at, share = eased(time_s / manner.hand_every_s)
    for side, hands in manner.hands.items():
        hand = (1.0 - share) * hands[at % len(hands)] + share * hands[(at + 1) % len(hands)]
        pose |= {f"{side}_{name}": value for name, value in zip(HAND_ANGLES, hand, strict=True)}
    return np.clip(np.array(list(pose.values())), LOW, HIGH)


def walking_pose(
    key_poses: tuple[Pose, ...], progress: float, gait: Gait, distance_m: float
) -> Pose:
    """The pose after walking a distance: arms and trunk ease through the key poses (`progress`
    counts them), legs walk.
    """
    at, share = eased(progress)
    first, second = key_poses[at % len(key_poses)], key_poses[(at + 1) % len(key_poses)]
    pose = dict(zip(ANGLES, (1.0 - share) * first + share * second, strict=True))
    pose |= legs(gait, gait.phase_rad + 2.0 * np.pi * distance_m / gait.stride_m)
    pose["spine_forward"] = min(pose["spine_forward"], 12.0)
    return np.clip(np.array(list(pose.values())), LOW, HIGH)


def legs(gait: Gait, phase_rad: float) -> dict[str, float]:
    """The angles of pelvis and legs at a phase of the stride: at 0 the left foot is furthest ahead
    and touches the floor, at pi the right. A standing leg goes back evenly, a lifted one swings.
    """
    angles = {"pelvis_forward": 2.0}
    for side, shift in (("left", 0.0), ("right", 0.5)):
        share = (phase_rad / (2.0 * np.pi) + shift) % 1.0
        if share < _STANDING:
            ahead, lifting = 1.0 - 2.0 * share / _STANDING, 0.0
        else:
            lifted = (share - _STANDING) / (1.0 - _STANDING)
            ahead, lifting = -np.cos(np.pi * lifted), np.sin(np.pi * lifted)
        angles |= {
            f"{side}_hip_forward": gait.swing_deg * (ahead + 0.1 + 0.35 * lifting),
            f"{side}_knee": 6.0 + 2.0 * gait.swing_deg * lifting + 8.0 * max(0.0, -ahead),
            f"{side}_ankle": -8.0 * max(0.0, -ahead),
            f"{side}_hip_spread": -6.0,
            f"{side}_hip_turn": 5.0,
        }
    return angles


def _swinging_arms(manner: Manner, phase_rad: float) -> dict[str, float]:
    angles: dict[str, float] = {}
    for side, shift in (("left", np.pi), ("right", 0.0)):  # against the legs
        swing = np.radians(4.0 + 0.9 * manner.gait.swing_deg * np.cos(phase_rad + shift))
        aside = np.tan(np.radians(manner.arms_out_deg))
        ahead = np.tan(swing)
        angles |= {
            f"{side}_arm_raise": float(np.degrees(np.arctan(np.hypot(aside, ahead)))),
            f"{side}_arm_forward": float(np.degrees(np.arctan2(ahead, aside))),
            f"{side}_arm_turn": 0.0,
            f"{side}_elbow": float(22.0 + 0.8 * np.degrees(max(0.0, swing))),
            f"{side}_forearm_turn": 0.0,
            f"{side}_wrist": 0.0,
        }
    return angles


def _arms_of(pose: Pose) -> dict[str, float]:
    angles = dict(zip(ANGLES, pose, strict=True))
    return {
        f"{side}_{name}": angles[f"{side}_{name}"]
        for side in ("left", "right")
        for name in ARM_ANGLES
    }


def eased(progress: float) -> tuple[int, float]:
    """The key that a progress lies after, and the share of the way to the next, eased at both."""
    at = int(np.floor(progress))
    share = progress - at
    return at, share * share * (3.0 - 2.0 * share)
