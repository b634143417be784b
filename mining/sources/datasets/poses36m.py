"""One camera's poses of Human3.6M, whichever layout they come from, and the parts both share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.sources.datasets.view import Tile

# of the images; a camera's number in metadata.xml is its place here
SIZES_PX = {
    "54138969": (1000, 1002),
    "55011271": (1000, 1000),
    "58860488": (1000, 1000),
    "60457274": (1000, 1002),
}


@dataclass(frozen=True, kw_only=True)
class Poses36M:
    """Poses of the frames `indices` (N,): keypoints (N, 17, 2) in pixels and joints (N, 17, 3) in
    metres in the camera's frame, in our order, NaN where there is none; boxes (N, 4) as corners.

    Pixels come from `video` or from `tiles`; `first` is the frame at time 0, `marks` are the files
    that the poses were read from.
    """

    indices: NDArray[np.int64]
    keypoints_px: NDArray[np.float64]
    joints_cam: NDArray[np.float64]
    marks: Sequence[str]
    boxes_px: NDArray[np.float64] | None = None
    video: str | None = None
    tiles: Sequence[tuple[Tile, ...]] = ()
    first: int = 0


def make_camera(
    camera_id: str,
    cam_from_world: NDArray[np.float64],
    centre_m: NDArray[np.float64],
    focal_px: NDArray[np.float64],
    principal_px: NDArray[np.float64],
    radial: NDArray[np.float64],
    tangential: NDArray[np.float64],
) -> Camera:
    """A camera from its rotation (3, 3), its centre, and its lens: three radial and two tangential
    coefficients, which are OpenCV's k1, k2, k3 and p1, p2.
    """
    world_from_cam, intrinsics = np.eye(4), np.eye(3)
    world_from_cam[:3, :3] = cam_from_world.T
    world_from_cam[:3, 3] = centre_m
    intrinsics[[0, 1], [0, 1]] = focal_px
    intrinsics[:2, 2] = principal_px
    return Camera(
        intrinsics=intrinsics,
        world_from_cam=world_from_cam,
        distortion=np.array([radial[0], radial[1], tangential[0], tangential[1], radial[2]]),
        size_px=SIZES_PX.get(camera_id),
    )
