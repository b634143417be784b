"""Hands of the body model: how curls bend its finger bones, and where their 21 keypoints are."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from catalog.anny_bones import HAND_BONES, fingertip_weights
from mining.synthetic.body_model import body_model

Array = NDArray[np.float64]
_LINKS = range(1, 4)
# How a curl is shared among a finger's three joints, and how far each finger fans out per degree
# of spread (the middle one stays).
_CURLS = (0.8, 1.0, 0.62)
_THUMB_CURLS = (0.45, 0.6, 0.9)
_FANS = {2: -1.0, 3: 0.0, 4: 0.9, 5: 1.9}
_THUMB_FAN = -2.0


def finger_rotations(letter: str, hand: Array) -> dict[str, Rotation]:
    """Each finger bone's rotation relative to its parent, for `HAND_ANGLES` (6,) in degrees.

    `letter` is L or R; the axes are those of the reference pose.
    """
    curls, spread = hand[:5], hand[5]
    axes = _axes(letter)
    rotations = {}
    for finger, curl in enumerate(curls, start=1):
        shares = _THUMB_CURLS if finger == 1 else _CURLS
        fan = (_THUMB_FAN if finger == 1 else _FANS[finger]) * spread
        for link, share in zip(_LINKS, shares, strict=True):
            rotation = Rotation.from_rotvec(axes[f"bend{finger}"] * np.radians(curl * share))
            if link == 1:
                rotation = Rotation.from_rotvec(axes["fan"] * np.radians(fan)) * rotation
            rotations[f"finger{finger}-{link}.{letter}"] = rotation
    return rotations


@cache
def _axes(letter: str) -> dict[str, Any]:
    """What each finger bends about, so that a positive angle closes it, and what all fan about."""
    model = body_model()
    at = {name: model.bone_heads[model.bones.index(f"{name}.{letter}")] for name in HAND_BONES}
    across = at["finger5-1"] - at["finger2-1"]
    ahead = at["finger3-1"] - at["wrist"]
    turned = _unit(np.cross(across, ahead))
    out_of_palm = turned if letter == "L" else -turned
    axes: dict[str, Any] = {"fan": -turned}
    for finger in range(2, 6):
        along = _unit(at[f"finger{finger}-2"] - at[f"finger{finger}-1"])
        axes[f"bend{finger}"] = _unit(np.cross(along, out_of_palm))
    thumb = _unit(at["finger1-3"] - at["finger1-2"])
    axes["bend1"] = _unit(np.cross(thumb, _unit(at["finger5-1"] - at["finger1-2"])))
    return axes


@cache
def joint_bones(letter: str) -> list[int]:
    """The bones whose heads are the 16 hand keypoints that are joints: the wrist, then three for
    each finger from the thumb.
    """
    return [body_model().bones.index(f"{name}.{letter}") for name in HAND_BONES]


@cache
def tip_weights(letter: str) -> NDArray[np.float32]:
    """(5, V) weights that average vertices to the fingertips, from the thumb's on."""
    model = body_model()
    return fingertip_weights(
        letter, model.bones, model.bone_heads, model.bone_weights, model.reference_vertices
    )


def hand_joints(letter: str, bone_heads: Array, vertices: NDArray[np.float32]) -> Array:
    """The 21 keypoints of N posed bodies' hands, (N, 21, 3), from their bones' heads (N, B, 3) and
    vertices (N, V, 3): wrist, then thumb, index, middle, ring and little finger, base to tip.
    """
    used = np.flatnonzero(tip_weights(letter).any(axis=0))
    tips = np.einsum("fv,nvd->nfd", tip_weights(letter)[:, used], vertices[:, used])
    joints = bone_heads[:, joint_bones(letter)]
    fingers = np.concatenate([joints[:, 1:].reshape(-1, 5, 3, 3), tips[:, :, None]], axis=2)
    return np.concatenate([joints[:, :1], fingers.reshape(-1, 20, 3)], axis=1)


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector)
    return unit
