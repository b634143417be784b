"""A rough surface of bodies and hands: capsules around the bones between their joints, sampled at
points that move with the bones.

A bone's frame follows from its parent's by the least turn that takes the bone from where rest would
have it to where it is, so a point of the surface is the same one at every time, up to the twist of
a limb, which joints do not tell. Lengths are shares of the torso (middle of the shoulders to middle
of the hips, about 0.5 m) or of the palm (wrist to the base of the middle finger, about 9 cm).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import NUM_BODY_KEYPOINTS
from mining.geometry.view_angle import own_axes

Array = NDArray[np.float64]

AROUND = 8  # points around a capsule
SPACING = 0.16  # between rings along a capsule, as a share of the torso or palm
LEFT, UP, AHEAD = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
DOWN = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Bone:
    """A capsule: weighted joints of its two ends, radius, direction at rest in the parent's frame,
    parent's place (-1: the trunk or palm) and, beyond the end's joints, how far it goes on.
    """

    start: dict[int, float]
    end: dict[int, float]
    radius: float
    rest: tuple[float, float, float]
    parent: int = -1
    beyond: float = 0.0
    round_end: bool = False


def _near(joint: int, other: int, share: float) -> dict[int, float]:
    """The place a share of the way from a joint to another."""
    return {joint: 1.0 - share, other: share}


def _middle(*joints: int) -> dict[int, float]:
    return dict.fromkeys(joints, 1.0 / len(joints))


# Radii fit the body model of the synthetic captures: an adult, neither thin nor fat.
BODY = (
    Bone(_near(5, 6, 0.25), _near(11, 12, 0.2), 0.23, DOWN),
    Bone(_near(6, 5, 0.25), _near(12, 11, 0.2), 0.23, DOWN),
    Bone(_middle(5, 6), _middle(3, 4), 0.13, UP),
    Bone(_middle(3, 4), _middle(3, 4), 0.20, UP, beyond=0.16, round_end=True),
    Bone({5: 1.0}, {7: 1.0}, 0.10, DOWN),
    Bone({7: 1.0}, {9: 1.0}, 0.08, DOWN, 4),
    Bone({9: 1.0}, {9: 1.0}, 0.07, DOWN, 5, 0.28, True),
    Bone({6: 1.0}, {8: 1.0}, 0.10, DOWN),
    Bone({8: 1.0}, {10: 1.0}, 0.08, DOWN, 7),
    Bone({10: 1.0}, {10: 1.0}, 0.07, DOWN, 8, 0.28, True),
    Bone({11: 1.0}, {13: 1.0}, 0.17, DOWN),
    Bone({13: 1.0}, {15: 1.0}, 0.11, DOWN, 10),
    Bone({15: 1.0}, {15: 1.0}, 0.09, AHEAD, 11, 0.32, True),
    Bone({12: 1.0}, {14: 1.0}, 0.17, DOWN),
    Bone({14: 1.0}, {16: 1.0}, 0.11, DOWN, 13),
    Bone({16: 1.0}, {16: 1.0}, 0.09, AHEAD, 14, 0.32, True),
)
HAND = (
    *(Bone({0: 1.0}, {base: 1.0}, 0.16, UP) for base in (5, 9, 13, 17)),
    Bone({0: 1.0}, {1: 1.0}, 0.17, UP),
    Bone({1: 1.0}, {2: 1.0}, 0.15, UP, 4),
    Bone({2: 1.0}, {3: 1.0}, 0.12, UP, 5),
    Bone({3: 1.0}, {4: 1.0}, 0.10, UP, 6, 0.0, True),
    *(
        Bone({base + k: 1.0}, {base + k + 1: 1.0}, 0.095, UP, -1 if k == 0 else 8 + 3 * f + k - 1,
             0.0, k == 2)
        for f, base in enumerate((5, 9, 13, 17))
        for k in range(3)
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The sampled points of a part: the bone of each (S,), its share along the bone (S,), its
    normal in the bone's rest frame (S, 3) and its area (S,), in shares of the torso or palm
    squared.
    """

    bones: tuple[Bone, ...]
    bone_of: NDArray[np.int64]
    along: Array
    normal: Array
    area: Array


@cache
def surface_of(num_joints: int) -> Surface:
    """The surface of a body (17 joints) or hand (21), with the areas of typical proportions."""
    is_body = num_joints == NUM_BODY_KEYPOINTS
    bones = BODY if is_body else HAND
    lengths = _BODY_LENGTHS if is_body else _HAND_LENGTHS
    bone_of, along, normals, areas = [], [], [], []
    for k, (bone, length) in enumerate(zip(bones, lengths, strict=True)):
        rest = np.array(bone.rest)
        side = np.array(AHEAD if bone.rest != AHEAD else LEFT)
        other = np.cross(rest, side)
        angles = (np.arange(AROUND) + 0.5) * 2 * np.pi / AROUND
        ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * other
        num_rings = max(2, round(length / SPACING))
        for share in (np.arange(num_rings) + 0.5) / num_rings:
            bone_of += [k] * AROUND
            along += [share] * AROUND
            normals.append(ring)
            areas += [2 * np.pi * bone.radius * length / num_rings / AROUND] * AROUND
        if bone.round_end:  # half a sphere: a ring at 45 degrees, and the tip
            tip = np.concatenate([(ring[::2] + rest) / np.sqrt(2), rest[None]])
            bone_of += [k] * len(tip)
            along += [1.0] * len(tip)
            normals.append(tip)
            areas += [2 * np.pi * bone.radius**2 / len(tip)] * len(tip)
    return Surface(
        bones=bones, bone_of=np.array(bone_of), along=np.array(along),
        normal=np.concatenate(normals), area=np.array(areas),
    )  # fmt: skip


# As shares of the torso's or palm's length: medians over the body model of the synthetic captures.
_BODY_LENGTHS = (
    0.95, 0.95, 0.35, 0.16, 0.55, 0.5, 0.28, 0.55, 0.5, 0.28, 0.8, 0.8, 0.32, 0.8, 0.8, 0.32,
)  # fmt: skip
_HAND_LENGTHS = (
    1.0, 1.0, 0.95, 0.95, 0.4, 0.45, 0.38, 0.3, *(0.45, 0.28, 0.24) * 4,
)  # fmt: skip


def unit_lengths_m(joints_world: Array) -> Array:
    """Length of the torso or palm of joints (N, K, 3) in metres, (N,); NaN where unknown."""
    if joints_world.shape[1] == NUM_BODY_KEYPOINTS:
        ends = joints_world[:, [5, 6]].mean(axis=1) - joints_world[:, [11, 12]].mean(axis=1)
    else:
        ends = joints_world[:, 9] - joints_world[:, 0]
    return np.linalg.norm(ends, axis=1)


def place_bones(joints_world: Array, unit_m: float) -> tuple[Array, Array]:
    """The bones of bodies or hands with joints (N, K, 3): their ends (N, B, 2, 3) in world
    coordinates and frames (N, B, 3, 3) that turn rest directions into the world's; NaN where a
    joint or the trunk is unknown.
    """
    bones = surface_of(joints_world.shape[1]).bones
    count = len(joints_world)
    ends = np.full((count, len(bones), 2, 3), np.nan)
    frames = np.full((count, len(bones), 3, 3), np.nan)
    trunk = own_axes(joints_world)
    for k, bone in enumerate(bones):
        start, end = (_place(joints_world, where) for where in (bone.start, bone.end))
        parent = trunk if bone.parent < 0 else frames[:, bone.parent]
        rest = parent @ np.array(bone.rest)
        if bone.start == bone.end:  # a joint alone: the bone goes on as at rest
            frames[:, k] = parent
            direction = rest
        else:
            direction = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
            frames[:, k] = _least_turn(rest, direction) @ parent
        ends[:, k, 0], ends[:, k, 1] = start, end + bone.beyond * unit_m * direction
    return ends, frames


def _place(joints_world: Array, where: dict[int, float]) -> Array:
    place: Array = sum(
        (weight * joints_world[:, joint] for joint, weight in where.items()), np.zeros(3)
    )
    return place


def _least_turn(from_: Array, to: Array) -> Array:
    """The rotations (N, 3, 3) by the least angle that turn unit vectors (N, 3) into others."""
    axis = np.cross(from_, to)
    cosine = np.einsum("ni,ni->n", from_, to)
    cross = np.zeros((len(axis), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= cross.transpose(0, 2, 1)
    return np.eye(3) + cross + cross @ cross / np.maximum(1 + cosine, 1e-3)[:, None, None]
