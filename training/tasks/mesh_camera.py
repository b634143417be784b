"""Where a mesh is: from what a head says of an image to metres, and from metres to the image.

A head sees no focal length, so it says how large and where in the image the body is, and the
camera of the image makes metres of it. `shares_from_cam` (B, 3, 3) projects metres to shares of the
image's side, (0, 0) at its upper left corner; at the image's centre the camera looks straight
ahead.

    weak    log of the scale (sides of the image for a metre at the root joint), and the place of
            the root joint as shares of the side
    full    x and y of the root joint in metres, and the log of its depth over the focal length

Shapes: B samples, N points.
"""

from typing import Literal

import torch
from torch import Tensor

CameraKind = Literal["weak", "full"]
MIN_DEPTH_M = 0.1  # nearer points are projected as if they were there: they have no image
MAX_LOG = 7.0  # of scale and depth: a factor of a thousand either way


def mean_camera(kind: CameraKind, scale: float) -> tuple[float, float, float]:
    """What a head starts from: a root joint in the middle of the image, at a usual scale."""
    log_scale = float(torch.tensor(scale).log())
    return (log_scale, 0.5, 0.5) if kind == "weak" else (0.0, 0.0, -log_scale)


def focal_sides(shares_from_cam_B33: Tensor) -> Tensor:
    """The focal length at the image's centre, in sides of the image, (B,)."""
    slope_B22 = shares_from_cam_B33[:, :2, :2] - 0.5 * shares_from_cam_B33[:, 2:, :2]
    slope_B22 = slope_B22 / shares_from_cam_B33[:, 2:, 2:]
    return torch.linalg.det(slope_B22).abs().sqrt()


def root_position(camera_B3: Tensor, shares_from_cam_B33: Tensor, kind: CameraKind) -> Tensor:
    """The root joint in the image's camera, in metres, (B, 3)."""
    focal_B = focal_sides(shares_from_cam_B33)
    if kind == "full":
        depth_B = focal_B * camera_B3[:, 2].clamp(-MAX_LOG, MAX_LOG).exp()
        return torch.stack([camera_B3[:, 0], camera_B3[:, 1], depth_B], dim=1)
    depth_B = focal_B * (-camera_B3[:, 0]).clamp(-MAX_LOG, MAX_LOG).exp()
    place_B3 = torch.cat([camera_B3[:, 1:], torch.ones_like(depth_B)[:, None]], dim=1)
    ray_B3 = torch.linalg.solve(shares_from_cam_B33, place_B3)
    return ray_B3 / ray_B3[:, 2:] * depth_B[:, None]


def seen_at(root_B3: Tensor, shares_from_cam_B33: Tensor) -> Tensor:
    """Log scale and place of a root joint in the image, (B, 3): a `weak` camera."""
    depth_B = root_B3[:, 2].clamp(min=MIN_DEPTH_M)
    log_scale_B = (focal_sides(shares_from_cam_B33) / depth_B).log()
    place_B2 = project(root_B3[:, None], shares_from_cam_B33)[:, 0]
    return torch.cat([log_scale_B[:, None], place_B2], dim=1)


def project(points_BN3: Tensor, shares_from_cam_B33: Tensor) -> Tensor:
    """Points in metres to shares of the image's side, (B, N, 2); finite for all points."""
    seen_BN3 = points_BN3 @ shares_from_cam_B33.mT
    return seen_BN3[..., :2] / seen_BN3[..., 2:].clamp(min=MIN_DEPTH_M)
