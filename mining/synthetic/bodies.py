"""People as meshes: joint angles become rotations of Anny's bones, and those become vertices and
keypoints.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from catalog.anny_bones import POSED_BONES
from mining.sources.base import Part
from mining.synthetic.body_model import body_model
from mining.synthetic.fingers import finger_rotations, hand_joints
from mining.synthetic.hand_shapes import HAND_ANGLES
from mining.synthetic.poses import ANGLES, Pose

_SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
_NECK = ("neck01", "neck02", "neck03", "head")
_TO_FRONT, _TO_LEFT, _UP = np.array([0.0, -1, 0]), np.array([1.0, 0, 0]), np.array([0.0, 0, 1])

# Where each part's keypoints are among a body's 59.
JOINTS: dict[Part, slice] = {
    "body": slice(0, 17),
    "left_hand": slice(17, 38),
    "right_hand": slice(38, 59),
}
NUM_JOINTS = 59


@dataclass(frozen=True)
class PosedBodies:
    """N bodies in metres: vertices (N, V, 3), keypoints (N, 59, 3) of the parts in `JOINTS`, and
    the heads of the body model's bones (N, B, 3).
    """

    vertices: NDArray[np.float32]
    joints: NDArray[np.float64]
    bone_heads: NDArray[np.float64]


def pose_bodies(shapes: list[dict[str, float]], poses: list[Pose]) -> PosedBodies:
    """Pose N bodies in one batch, in the body frame.

    Each body stands on the floor: its lowest vertex has z = 0, its pelvis is above the origin.
    """
    import torch

    model = body_model()
    deltas = np.tile(np.eye(4), (len(poses), len(model.bones), 1, 1))
    for n, pose in enumerate(poses):
        for bone, rotation in bone_rotations(pose).items():
            deltas[n, model.bones.index(bone), :3, :3] = rotation.as_matrix()
    with torch.inference_mode():
        output = model.anny(
            pose_parameters=torch.from_numpy(deltas.astype(np.float32)),
            phenotype_kwargs={
                name: torch.tensor([shape[name] for shape in shapes], dtype=torch.float32)
                for name in shapes[0]
            },
        )
    vertices: NDArray[np.float32] = output["vertices"].numpy().copy()
    heads = output["bone_poses"][:, :, :3, 3].numpy().astype(np.float64)
    lowest_m = vertices[:, :, 2].min(axis=1)[:, None]
    vertices[:, :, 2] -= lowest_m
    heads[:, :, 2] -= lowest_m
    joints = [_regressed(vertices), *(hand_joints(side, heads, vertices) for side in "LR")]
    return PosedBodies(vertices, np.concatenate(joints, axis=1), heads)


def _regressed(vertices: NDArray[np.float32]) -> NDArray[np.float64]:
    """COCO's keypoints (N, 17, 3) of bodies (N, V, 3); few vertices have a weight."""
    weights = body_model().keypoint_weights
    used = np.flatnonzero(weights.any(axis=0))
    keypoints: NDArray[np.float64] = weights[:, used].astype(np.float64) @ vertices[:, used]
    return keypoints


@cache
def joint_depth_m() -> NDArray[np.float32]:
    """How deep each of the 59 keypoints lies under the skin of the reference body, in metres."""
    model = body_model()
    reference = model.reference_vertices
    hands = [hand_joints(side, model.bone_heads[None], reference[None])[0] for side in "LR"]
    joints = np.concatenate([_regressed(reference[None])[0], *hands])
    return np.linalg.norm(joints[:, None] - reference[None], axis=2).min(axis=1).astype(np.float32)


def bone_rotations(pose: Pose) -> dict[str, Rotation]:
    """The rotation of each of `POSED_BONES` relative to its parent, in the axes of the reference
    pose.
    """
    angle = dict(zip(ANGLES, pose, strict=True))
    rotations: dict[str, Rotation] = {"root": _bend(angle, "pelvis")}
    rotations |= dict.fromkeys(_SPINE, _bend(angle, "spine", 1 / len(_SPINE)))
    rotations |= dict.fromkeys(_NECK, _bend(angle, "head", 1 / len(_NECK)))
    for side, letter, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        arm = _arm_axes(letter)
        rotations |= {
            f"{bone}.{letter}": rotation
            for bone, rotation in {
                **_arm(arm, {name: angle[f"{side}_{name}"] for name in _ARM_ANGLES}, sign),
                **_leg({name: angle[f"{side}_{name}"] for name in _LEG_ANGLES}, sign),
            }.items()
        }
        curls = np.array([angle[f"{side}_{name}"] for name in HAND_ANGLES])
        rotations |= finger_rotations(letter, curls)
    assert rotations.keys() == set(POSED_BONES), "labels name other bones than those that move"
    return rotations


_ARM_ANGLES = ("arm_raise", "arm_forward", "arm_turn", "elbow", "forearm_turn", "wrist")
_LEG_ANGLES = ("hip_forward", "hip_spread", "hip_turn", "knee", "ankle")


def _bend(angle: dict[str, float], part: str, share: float = 1.0) -> Rotation:
    """Forward about the left axis, to the left side about the front axis, a twist to the left about
    the vertical.
    """
    degrees = [angle.get(f"{part}_{way}", 0.0) * share for way in ("forward", "side", "twist")]
    return _about(_UP, degrees[2]) * _about(_TO_FRONT, -degrees[1]) * _about(_TO_LEFT, degrees[0])


def _leg(angle: dict[str, float], sign: float) -> dict[str, Rotation]:
    hip = _about(_TO_FRONT, sign * angle["hip_spread"]) * _about(_TO_LEFT, -angle["hip_forward"])
    return {
        "upperleg01": hip * _about(_UP, sign * angle["hip_turn"]),
        "lowerleg01": _about(_TO_LEFT, angle["knee"]),
        "foot": _about(_TO_LEFT, -angle["ankle"]),
    }


def _arm(axes: dict[str, Any], angle: dict[str, float], sign: float) -> dict[str, Rotation]:
    raised, forward = np.radians(angle["arm_raise"]), np.radians(angle["arm_forward"])
    upper = axes["upper"]
    aim = np.array([
        sign * np.sin(raised) * np.cos(forward), -np.sin(raised) * np.sin(forward), -np.cos(raised)
    ])  # fmt: skip
    axis = np.cross(upper, aim)
    swing = np.arctan2(np.linalg.norm(axis), upper @ aim)
    whole = Rotation.from_rotvec(axis / max(np.linalg.norm(axis), 1e-9) * swing)
    # The shoulder blade takes its share when the arm goes above the level, as a real one does.
    lift = max(0.0, angle["arm_raise"] - 60.0) / 105.0
    blade = Rotation.from_rotvec(whole.as_rotvec() * 0.22 * lift)
    return {
        "clavicle": blade,
        "upperarm01": blade.inv() * whole * _about(upper, sign * angle["arm_turn"] * 0.5),
        "upperarm02": _about(upper, sign * angle["arm_turn"] * 0.5),
        "lowerarm01": _about(axes["elbow"], angle["elbow"] - axes["elbow_at_rest_deg"]),
        "lowerarm02": _about(axes["fore"], sign * angle["forearm_turn"] * 0.6),
        "wrist": _about(axes["fore"], sign * angle["forearm_turn"] * 0.4)
        * _about(axes["knuckles"], angle["wrist"]),
    }


@cache
def _arm_axes(letter: str) -> dict[str, Any]:
    """Directions of an arm at rest: its two bones, and what the elbow and the hand bend about."""
    model = body_model()
    names = ("upperarm01", "lowerarm01", "wrist", "finger2-1", "finger5-1")
    at = {name: model.bone_heads[model.bones.index(f"{name}.{letter}")] for name in names}
    upper, fore = _unit(at["lowerarm01"] - at["upperarm01"]), _unit(at["wrist"] - at["lowerarm01"])
    across = _unit(at["finger5-1"] - at["finger2-1"])
    return {
        "upper": upper,
        "fore": fore,
        "elbow": _unit(np.cross(upper, fore)),
        "elbow_at_rest_deg": float(np.degrees(np.arccos(upper @ fore))),
        # Bending about it closes the hand: the palm faces the thigh at rest, on both sides.
        "knuckles": across * (1.0 if letter == "L" else -1.0),
    }


def _about(axis: NDArray[np.float64], degrees: float) -> Rotation:
    return Rotation.from_rotvec(axis * np.radians(degrees))


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
