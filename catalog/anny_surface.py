"""The parts of Anny's surface, which dense labels number. Plain names and numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# By what moves it: the bone that holds most of a triangle. The numbers of a part map are places in
# this list (labels count from 1, 0 is nobody). The torso ends at the collar bones and the hip
# joints, a hand at the wrist.
BODY_PARTS = (
    "head", "torso",
    "left_upper_arm", "left_lower_arm", "left_hand",
    "left_upper_leg", "left_lower_leg", "left_foot",
    "right_upper_arm", "right_lower_arm", "right_hand",
    "right_upper_leg", "right_lower_leg", "right_foot",
)  # fmt: skip
_OF_BONES = {
    "head": "head", "neck": "head", "eye": "head",
    "upperarm": "upper_arm", "lowerarm": "lower_arm",
    "wrist": "hand", "finger": "hand", "metacarpal": "hand",
    "upperleg": "upper_leg", "lowerleg": "lower_leg", "foot": "foot", "toe": "foot",
}  # fmt: skip


def parts_of_faces(
    bones: Sequence[str], bone_weights: NDArray[np.float32], faces: NDArray[np.integer]
) -> NDArray[np.int8]:
    """Name the part of each triangle, (F,), by its place in `BODY_PARTS`.

    `bone_weights` (V, number of bones) says what moves each vertex; `faces` (F, 3) index those.
    """
    weights = np.zeros((len(bone_weights), len(BODY_PARTS)), np.float32)
    for bone, name in enumerate(bones):
        weights[:, BODY_PARTS.index(_part_of_bone(name))] += bone_weights[:, bone]
    return weights[faces].sum(axis=1).argmax(axis=1).astype(np.int8)


def _part_of_bone(name: str) -> str:
    for start, part in _OF_BONES.items():
        if name.startswith(start):
            side = {"L": "left_", "R": "right_"}.get(name[-1], "") if part != "head" else ""
            return side + part
    return "torso"
