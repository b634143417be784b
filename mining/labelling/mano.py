"""What FreiHAND's and InterHand2.6M's labels need of MANO, from the user's own licensed file.

Both write a finger's rotation as what is added to MANO's mean pose, and a label says each joint's
whole rotation. InterHand2.6M's place is that of MANO's origin, and a label's that of the root
joint, which the shape moves about the origin.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.model_files import read_model_file
from mining.sources.datasets.parsing import array, kept

Array = NDArray[np.float64]
OPTION = {"bodies": ""}  # the folder of MANO_RIGHT.pkl or .npz; "": hands have no body
NUM_SHAPES = 10


@dataclass(frozen=True, kw_only=True)
class Mano:
    """The right hand's model; the left one is its mirror image."""

    mean_pose: Array  # (15, 3), axis times angle, of all joints but the root
    template: Array  # (V, 3) in metres
    shapes: Array  # (V, 3, 10)
    root_weights: Array  # (V,)

    def whole_pose(self, pose: Any) -> Array:
        """The rotations (16, 3) that 48 numbers against the mean pose say; the root has no mean."""
        pose_rad = array(pose, (48,), "pose").reshape(16, 3)
        pose_rad[1:] += self.mean_pose
        return pose_rad

    def root_at_rest(self, shape: Array) -> Array:
        """Where the root joint of a shape is before pose and place, (3,) in metres."""
        return self.root_weights @ (self.template + self.shapes @ shape)


@kept(1)
def read_mano(folder: str) -> Mano:
    """Read MANO from a local folder. Raises ValueError, in one sentence, where that fails."""
    data = read_model_file("mano", folder)
    return Mano(
        mean_pose=array(data["hands_mean"], (45,), "hands_mean").reshape(15, 3),
        template=array(data["v_template"], (-1, 3), "v_template"),
        shapes=array(data["shapedirs"], (-1, 3, -1), "shapedirs")[..., :NUM_SHAPES],
        root_weights=array(data["J_regressor"][0], (-1,), "J_regressor"),
    )
