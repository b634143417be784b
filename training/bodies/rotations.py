"""Rotations as matrices, as axis-angles and as six numbers.

Networks give six numbers, the first two columns of a matrix before they are made orthonormal (Zhou
et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019): a
continuous way to name a rotation, unlike any with three or four numbers. Labels hold axis-angles,
in radians. Gradients are finite for all rotations, the identity and half turns included.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1e-6  # of a squared angle: below it series are exact in float32


def matrix_from_6d(six: Tensor) -> Tensor:
    """Six numbers (..., 6), two columns one after the other, as rotation matrices (..., 3, 3)."""
    first, second = six[..., :3], six[..., 3:]
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def matrix_to_6d(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) as their first two columns (..., 6)."""
    return matrix[..., :2].transpose(-1, -2).flatten(-2)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Axis-angles (..., 3) as rotation matrices (..., 3, 3), by Rodrigues' formula."""
    squared = axis_angle.square().sum(-1)[..., None, None]
    small = squared < SMALL
    angle = torch.where(small, torch.ones_like(squared), squared).sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, 2 * ((angle / 2).sin() / angle).square())
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine * cross + cosine * (cross @ cross)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) as axis-angles (..., 3) of at most half a turn."""
    quaternion = _quaternion(matrix)
    real, axis = quaternion[..., :1], quaternion[..., 1:]
    squared = axis.square().sum(-1, keepdim=True)
    small = squared < SMALL
    sine = torch.where(small, torch.ones_like(squared), squared).sqrt()
    # The angle over its half's sine; near the identity a series, where both vanish.
    scale = torch.where(small, (2 + squared / 3), 2 * torch.atan2(sine, real) / sine)
    return scale * axis


def _quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions (..., 4), real part first and not negative: of the four rows that each name
    the same one, the longest, so that nothing is divided by a small number.
    """
    xx, yy, zz = matrix.diagonal(dim1=-2, dim2=-1).unbind(-1)
    zy, xz, yx = (
        matrix[..., 2, 1] - matrix[..., 1, 2],
        matrix[..., 0, 2] - matrix[..., 2, 0],
        matrix[..., 1, 0] - matrix[..., 0, 1],
    )
    xy, zx, yz = (
        matrix[..., 1, 0] + matrix[..., 0, 1],
        matrix[..., 0, 2] + matrix[..., 2, 0],
        matrix[..., 2, 1] + matrix[..., 1, 2],
    )
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, zy, xz, yx], dim=-1),
            torch.stack([zy, 1 + xx - yy - zz, xy, zx], dim=-1),
            torch.stack([xz, xy, 1 - xx + yy - zz, yz], dim=-1),
            torch.stack([yx, zx, yz, 1 - xx - yy + zz], dim=-1),
        ],
        dim=-2,
    )
    longest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    index = longest[..., None, None].expand(*longest.shape, 1, 4)
    chosen = F.normalize(rows.gather(-2, index)[..., 0, :], dim=-1)
    return torch.where(chosen[..., :1] < 0, -chosen, chosen)
