"""The Anny body model as the synthetic captures use it, once for each process."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.anny_file import load_anny
from catalog.keypoints import COCO_KEYPOINTS


@dataclass(frozen=True)
class BodyModel:
    """Anny and what is read off its reference pose: everything that does not depend on a person.

    `faces` (F, 3) index `reference_vertices` (V, 3), the default person in the reference pose.
    `bone_heads` (B, 3) are the joints of that pose, in the order of `bones`. `keypoint_weights`
    (17, V) regress the COCO keypoints.
    """

    anny: Any
    faces: NDArray[np.int32]
    bones: tuple[str, ...]
    bone_heads: NDArray[np.float64]
    bone_weights: NDArray[np.float32]
    reference_vertices: NDArray[np.float32]
    keypoint_weights: NDArray[np.float32]


@cache
def body_model() -> BodyModel:
    """Load the body model of this process, building its file when this machine has none yet.

    It always runs on the CPU, where posing takes 1 to 4 ms a body.
    """
    from mining.synthetic.render import device_name

    device_name()  # starts warp our way, before anny does
    from anny.keypoints import KeypointsRegressor

    anny = load_anny()
    output = anny()
    vertices = output["vertices"][0].numpy()
    regressor = KeypointsRegressor.coco(anny, labels=list(COCO_KEYPOINTS))
    weights = regressor.regression_weights.numpy()
    bone_weights = np.zeros((len(vertices), len(anny.bone_labels)), np.float32)
    np.add.at(
        bone_weights,
        (np.arange(len(vertices))[:, None], anny.vertex_bone_indices.numpy()),
        anny.vertex_bone_weights.numpy(),
    )
    return BodyModel(
        anny=anny,
        faces=anny.faces.numpy().astype(np.int32),
        bones=tuple(anny.bone_labels),
        bone_heads=output["bone_poses"][0, :, :3, 3].numpy().astype(np.float64),
        bone_weights=bone_weights,
        reference_vertices=vertices,
        keypoint_weights=weights,
    )
