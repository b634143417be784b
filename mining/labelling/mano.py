"""MANO's mean pose, from the user's own licensed file.

FreiHAND and InterHand2.6M write a finger's rotation as what is added to MANO's mean pose. A label
says each joint's whole rotation, so the mean is needed, and it stands in MANO's file alone.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.sources.datasets.parsing import array, file_name, kept, read_pickle, reading

OPTION = {"mano": ""}  # MANO_RIGHT.pkl, or .npz, below the root or a path of its own; "": no bodies


@kept(1)
def read_mean_pose(path: str) -> NDArray[np.float64]:
    """The mean of the 15 finger joints (15, 3), `hands_mean` of a MANO file.

    Raises ValueError, in one sentence, for a file without it.
    """
    with reading(file_name(path)):
        table: Any = (
            np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
            if path.endswith(".npz")
            else read_pickle(path)
        )
        return array(table["hands_mean"], (45,), "hands_mean").reshape(15, 3)


def whole_pose(pose: Any, mean_pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations (16, 3) that 48 numbers against the mean pose say; the root has no mean."""
    pose_rad = array(pose, (48,), "pose").reshape(16, 3)
    pose_rad[1:] += mean_pose
    return pose_rad
