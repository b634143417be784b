"""The Anny body's constants, cut to the bones, vertices and keypoints that one model needs.

Shapes: M vertices of the mesh, V given, C bones kept, J posed bones, A blend shapes, K keypoints, P
pieces of keypoints.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catalog.anny_bones import HAND_BONES, POSED_BONES, fingertip_weights
from catalog.anny_file import load_anny
from catalog.keypoints import COCO_KEYPOINTS

FULLY_MOVED = 0.999  # a hand's vertices are those that nothing but the hand's bones move


@dataclass(frozen=True)
class Part:
    """What one model takes of the body.

    `bones` (C) are numbers of Anny's bones, `posed` (J) those of them that a pose moves. `vertices`
    (M) are numbers of Anny's vertices and `faces` (F, 3) index them. Keypoint k is a weighted mean
    of vertices, by `keypoint_weights` (K, all of Anny's), or the head of the bone
    `keypoint_bones[k]` where that is not negative.
    """

    bones: list[int]
    posed: list[int]
    vertices: NDArray[np.int64]
    faces: NDArray[np.int64]
    keypoint_weights: Tensor
    keypoint_bones: list[int]


@cache
def anny() -> Any:
    """The package's own model, on the CPU, once for each process."""
    return load_anny("lbs")


@cache
def reference() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The default person in the reference pose: vertices (M, 3) and bone heads (C, 3)."""
    with torch.no_grad():
        output = anny()()
    return output["vertices"][0].numpy(), output["bone_poses"][0, :, :3, 3].numpy()


def whole_body() -> Part:
    """Everything, with COCO's keypoints."""
    from anny.keypoints import KeypointsRegressor

    model = anny()
    weights = KeypointsRegressor.coco(model, labels=list(COCO_KEYPOINTS)).regression_weights
    return Part(
        bones=list(range(len(model.bone_labels))),
        posed=[model.bone_labels.index(name) for name in POSED_BONES],
        vertices=np.arange(len(model.template_vertices)),
        faces=model.faces.numpy(),
        keypoint_weights=weights,
        keypoint_bones=[-1] * len(COCO_KEYPOINTS),
    )


def right_hand() -> Part:
    """The right hand from the wrist on, with its 21 keypoints."""
    model = anny()
    vertices, heads = reference()
    names = model.bone_labels
    starts = ("wrist.R", "finger", "metacarpal")
    bones = [
        place for place, name in enumerate(names) if name.startswith(starts) and name[-1] == "R"
    ]
    posed = [names.index(f"{name}.R") for name in HAND_BONES]
    weights = model.dense_vertex_bone_weights.numpy()
    inside = weights[:, bones].sum(axis=1) > FULLY_MOVED
    faces = model.faces.numpy()
    faces = faces[inside[faces].all(axis=1)]
    kept, faces = np.unique(faces, return_inverse=True)
    tips = fingertip_weights("R", tuple(names), heads, weights, vertices)
    keypoint_weights = torch.zeros(21, len(vertices))
    keypoint_weights[4::4] = torch.from_numpy(tips)
    fingers = [[*posed[first : first + 3], -1] for first in range(1, 16, 3)]
    return Part(
        bones=bones,
        posed=posed,
        vertices=kept,
        faces=faces.reshape(-1, 3),
        keypoint_weights=keypoint_weights,
        keypoint_bones=[posed[0], *(bone for finger in fingers for bone in finger)],
    )


def keypoint_pieces(part: Part) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Take keypoints apart by the bones that move them: each piece's keypoint (P), bone (P, a place
    in `part.bones`), mass (P), and its place times its mass, without shape (P, 3) and with each
    blend shape (A, P, 3).

    A keypoint is a weighted mean of vertices, a vertex is moved by bones in shares, and both are
    sums; so a keypoint needs one point a bone, and none of its thousands of vertices.
    """
    model = anny()
    keypoints, bones, masses, places, moved = [], [], [], [], []
    for keypoint, head in enumerate(part.keypoint_bones):
        if head >= 0:
            pieces = torch.ones(1, 1)
            touched = [head]
            template, shapes = model.template_bone_heads[[head]], model.bone_heads_blendshapes
            shapes = shapes[:, [head]]
        else:
            used = part.keypoint_weights[keypoint].nonzero()[:, 0]
            share = part.keypoint_weights[keypoint, used, None]
            pieces = (share * model.dense_vertex_bone_weights[used]).T  # bones x vertices used
            touched = [bone for bone in part.bones if pieces[bone].any()]
            pieces = pieces[touched]
            template = pieces @ model.template_vertices[used]
            shapes = torch.einsum("pv,avd->apd", pieces, model.blendshapes[:, used])
        keypoints += [keypoint] * len(touched)
        bones += [part.bones.index(bone) for bone in touched]
        masses.append(pieces.sum(1))
        places.append(template)
        moved.append(shapes)
    return (
        torch.tensor(keypoints),
        torch.tensor(bones),
        torch.cat(masses),
        torch.cat(places),
        torch.cat(moved, dim=1),
    )
