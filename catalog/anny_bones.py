"""What this project moves and reads of the Anny body: its bones, its shape values, its fingertips.
Plain names and numpy, so that labels can be read without the model.

A pose is one rotation for each posed bone, relative to the nearest posed bone above it, in the
axes of the reference pose; the first is the rotation of the whole. All other bones (toes, eyes,
shoulders, second halves of limbs) follow the posed bone above them.
"""

import numpy as np
from numpy.typing import NDArray

# Shape values, each from 0 to 1.
PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")

# The posed bones of one hand, without the side's letter; their heads are its keypoints, tips aside.
HAND_BONES = (
    "wrist",
    *(f"finger{finger}-{link}" for finger in range(1, 5 + 1) for link in range(1, 3 + 1)),
)
_ARM_BONES = ("clavicle", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02")
_LEG_BONES = ("upperleg01", "lowerleg01", "foot")
# The posed bones of a body, parents before their children.
POSED_BONES = (
    "root",
    "spine05", "spine04", "spine03", "spine02", "spine01",
    "neck01", "neck02", "neck03", "head",
    *(f"{bone}.{side}" for side in "LR" for bone in (*_ARM_BONES, *HAND_BONES)),
    *(f"{bone}.{side}" for side in "LR" for bone in _LEG_BONES),
)  # fmt: skip

TIP_M = 0.008  # the tip's keypoint is the middle of this last piece of a finger


def fingertip_weights(
    side: str,
    bones: tuple[str, ...],
    bone_heads: NDArray[np.floating],
    bone_weights: NDArray[np.float32],
    reference_vertices: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Weights (5, V) that average vertices to a hand's fingertips, from the thumb's on.

    `side` is L or R; `bone_heads` (B, 3) and `reference_vertices` (V, 3) are the default person in
    the reference pose, `bone_weights` (V, B) what moves each vertex.
    """
    weights = np.zeros((5, len(reference_vertices)), np.float32)
    for finger in range(1, 6):
        last = bones.index(f"finger{finger}-3.{side}")
        before = bone_heads[bones.index(f"finger{finger}-2.{side}")]
        along = bone_heads[last] - before
        length = reference_vertices @ (along / np.linalg.norm(along))
        length[bone_weights[:, last] < 0.5] = -np.inf
        at_tip = length > length.max() - TIP_M
        weights[finger - 1, at_tip] = 1.0 / at_tip.sum()
    return weights
