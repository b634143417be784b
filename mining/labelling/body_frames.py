"""Poses of body models brought into the camera's axes, and left hands' mirrored."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from shards.labels import Body

Array = NDArray[np.float64]
MIRROR_ROTATION = np.array([1.0, -1.0, -1.0])  # of axis times angle, where x becomes -x
MIRROR_POINT = np.array([-1.0, 1.0, 1.0])


def turned(pose_rad: Array, cam_from_world: Array) -> Array:
    """A pose (J, 3) in world axes to one in the camera's; the first joint turns the whole body."""
    root = Rotation.from_matrix(cam_from_world[:3, :3]) * Rotation.from_rotvec(pose_rad[0])
    return np.concatenate([root.as_rotvec()[None], pose_rad[1:]])


def mirrored(body: Body) -> Body:
    """A left hand's body as that of its mirror image, a right hand: x becomes -x in the camera.

    MANO's and Anny's left hands are their right ones mirrored, in shape too, so only rotations and
    place change.
    """
    return replace(
        body,
        pose_rad=body.pose_rad * MIRROR_ROTATION,
        translation_m=body.translation_m * MIRROR_POINT,
    )
