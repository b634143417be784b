"""A world frame made from the people in it: up is where standing bodies point.

Cameras found from people alone stand anywhere; this turns them so that z is up, metres are those of
people of usual size, and the floor is about z = 0.
"""

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import NUM_BODY_KEYPOINTS
from mining.geometry.cameras import Camera

Array = NDArray[np.float64]

SHOULDERS, ANKLES = [5, 6], [15, 16]


def people_from_world(joints_world: Array, first: Camera) -> Array:
    """The transform (4, 4) into the people's frame: z along the median direction from ankles to
    shoulders, the origin below the people's middle at the height of their lower ankles, x towards
    the camera `first`.

    `joints_world` is (N, K, 3); where they are no bodies, `first` is the frame.
    """
    transform: Array = np.eye(4)
    if joints_world.shape[1] != NUM_BODY_KEYPOINTS:
        transform[:] = first.cam_from_world
        return transform
    upwards = joints_world[:, SHOULDERS].mean(axis=1) - joints_world[:, ANKLES].mean(axis=1)
    upwards /= np.maximum(np.linalg.norm(upwards, axis=1, keepdims=True), 1e-9)
    up = np.median(upwards, axis=0)
    up /= np.linalg.norm(up)
    middle = np.median(joints_world.reshape(-1, 3), axis=0)
    ahead = first.centre_world - middle
    ahead -= (ahead @ up) * up
    if np.linalg.norm(ahead) < 1e-6:  # straight above: any direction will do
        ahead = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    ahead /= np.linalg.norm(ahead)
    floor = np.percentile(joints_world[:, ANKLES] @ up, 10)
    origin = middle - (middle @ up - floor) * up
    transform[:3, :3] = np.stack([ahead, np.cross(up, ahead), up])
    transform[:3, 3] = -transform[:3, :3] @ origin
    return transform
