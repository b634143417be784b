"""The body's surface as labels: the part that each triangle belongs to, and its place in the body's
texture.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.body_model import body_model

# By what moves it: the bone that holds most of a triangle. The numbers of a part map are places in
# this list. The torso ends at the collar bones and the hip joints, a hand at the wrist.
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


@dataclass(frozen=True)
class Surface:
    """`part` (F,) int8 names each triangle's part in `BODY_PARTS`; `uv` (F, 3, 2) are its corners'
    places in Anny's texture, from 0 to 1, u to the right and v upwards.
    """

    part: NDArray[np.int8]
    uv: NDArray[np.float32]


@cache
def surface() -> Surface:
    """The labels of the body model's triangles, the same for every person."""
    model = body_model()
    weights = np.zeros((len(model.reference_vertices), len(BODY_PARTS)), np.float32)
    for bone, name in enumerate(model.bones):
        weights[:, BODY_PARTS.index(_part_of_bone(name))] += model.bone_weights[:, bone]
    part = weights[model.faces].sum(axis=1).argmax(axis=1).astype(np.int8)
    places = model.anny.texture_coordinates.numpy()
    return Surface(part, places[model.anny.face_texture_coordinate_indices.numpy()])


def faces_of(part: str) -> NDArray[np.int64]:
    """The triangles of a part, `body` for all of them. Raises ValueError for an unknown part."""
    if part == "body":
        return np.arange(len(surface().part))
    if part not in BODY_PARTS:
        raise ValueError(f"unknown body part {part!r}; there are: body, {', '.join(BODY_PARTS)}")
    return np.flatnonzero(surface().part == BODY_PARTS.index(part))


def _part_of_bone(name: str) -> str:
    for start, part in _OF_BONES.items():
        if name.startswith(start):
            side = {"L": "left_", "R": "right_"}.get(name[-1], "") if part != "head" else ""
            return side + part
    return "torso"
