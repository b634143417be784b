"""Vertices from coarse to fine, and keypoints from vertices: what a model needs that predicts
vertices and no parameters.

Both are fitted to random poses of the body. A fine vertex is a weighted mean of a few coarse ones
that stay near it. A keypoint lies deep inside, and is one of many more.

Shapes: P poses, V vertices of the body, C coarse ones, K keypoints, N points that one is made of,
G groups.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.bodies.model import BodyModel
from training.bodies.rotations import axis_angle_to_matrix
from training.bodies.subset import farthest_points, upsampling_weights

POSES = 64
KEYPOINT_VERTICES = 64  # that a keypoint is a mean of
# How strongly equal weights are preferred, as a share of the vertices' spread. Of 431 vertices, new
# poses of a body have keypoints 0.4 mm off on average, of a hand 0.2 mm.
STIFFNESS = 1e-6
TURN_RAD = 0.4  # standard deviation of joints' turns
SHAPE_STD = 0.1


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Two levels of a body's vertices, and groups of the coarse ones that lie together."""

    mean_V3: Tensor  # the mean body, upright and facing the camera, around its root joint, in m
    coarse_C: Tensor  # the coarse vertices among the body's
    fine_from_coarse_VC: Tensor  # rows that sum to 1
    keypoints_from_fine_KV: Tensor  # the same
    group_C: Tensor  # of each coarse vertex
    group_V: Tensor  # of each vertex: that of the coarse one it is made of most

    def to(self, device: torch.device) -> "Levels":
        """The same on a device."""
        if self.mean_V3.device == device:
            return self
        return Levels(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@torch.no_grad()
def make_levels(body: BodyModel, num_coarse: int, num_groups: int) -> Levels:
    """Choose the coarse vertices, and fit what is made of them, on the CPU.

    Raises ValueError for more coarse vertices than there are, or more groups than those.
    """
    if not num_groups <= num_coarse <= body.num_vertices:
        raise ValueError(
            f"{num_groups} groups of {num_coarse} coarse vertices of {body.num_vertices} do not "
            "go: each must be no more than the next"
        )
    vertices_PV3, keypoints_PK3 = random_poses(body, POSES, seed=0)
    mean_V3 = body(body.mean_rotations_J33[None], body.mean_shape_S[None]).vertices_BV3[0]
    coarse_C = farthest_points(mean_V3.numpy(), num_coarse)
    fine_from_coarse_VC = _matrix(vertices_PV3, coarse_C)
    group_C = _groups(mean_V3.numpy()[coarse_C], num_groups)
    return Levels(
        mean_V3=mean_V3,
        coarse_C=torch.from_numpy(coarse_C),
        fine_from_coarse_VC=fine_from_coarse_VC,
        keypoints_from_fine_KV=_regressor(vertices_PV3, keypoints_PK3),
        group_C=group_C,
        group_V=group_C[fine_from_coarse_VC.argmax(dim=1)],
    )


def random_poses(
    body: BodyModel, count: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vertices (P, V, 3) and keypoints (P, K, 3) of random poses; the first is unturned."""
    generator = torch.Generator().manual_seed(seed)
    turns_PJ3 = TURN_RAD * torch.randn(count, body.num_joints, 3, generator=generator)
    turns_PJ3[0] = 0.0
    shapes_PS = SHAPE_STD * torch.randn(count, body.num_shape, generator=generator)
    vertices_PV3, keypoints_PK3 = body(
        axis_angle_to_matrix(turns_PJ3), body.mean_shape_S + shapes_PS
    )
    return vertices_PV3.numpy(), keypoints_PK3.numpy()


def _regressor(vertices_PV3: NDArray[np.float32], keypoints_PK3: NDArray[np.float32]) -> Tensor:
    """Keypoints as weighted means of vertices near them, (K, V)."""
    few = min(KEYPOINT_VERTICES, vertices_PV3.shape[1])
    matrix_KV = np.zeros((keypoints_PK3.shape[1], vertices_PV3.shape[1]))
    for row_V, keypoint_P3 in zip(matrix_KV, keypoints_PK3.transpose(1, 0, 2), strict=True):
        apart_PV3 = vertices_PV3.astype(np.float64) - keypoint_P3[:, None]
        near_N = np.argsort((apart_PV3**2).sum(axis=(0, 2)), kind="stable")[:few]
        apart_NR = apart_PV3[:, near_N].transpose(1, 0, 2).reshape(few, -1)
        gram_NN = apart_NR @ apart_NR.T
        gram_NN += np.eye(few) * (STIFFNESS * np.trace(gram_NN))
        weights_N = np.linalg.solve(gram_NN, np.ones(few))
        row_V[near_N] = weights_N / weights_N.sum()
    return torch.from_numpy(matrix_KV).float()


def _matrix(points_PM3: NDArray[np.float32], chosen_C: NDArray[np.int64]) -> Tensor:
    """Points as weighted means of the chosen ones, (M, C)."""
    of_MN, share_MN = upsampling_weights(points_PM3, chosen_C)
    matrix_MC = torch.zeros(len(of_MN), len(chosen_C))
    return matrix_MC.scatter_add_(1, torch.from_numpy(of_MN), torch.from_numpy(share_MN))


def _groups(points_C3: NDArray[np.float32], count: int) -> Tensor:
    """The group of each point: the largest is split at the middle of its longest side, until there
    are `count`.
    """
    groups = [np.arange(len(points_C3))]
    while len(groups) < count:
        largest = groups.pop(max(range(len(groups)), key=lambda index: len(groups[index])))
        points_N3 = points_C3[largest]
        axis = int(np.ptp(points_N3, axis=0).argmax())
        along = largest[np.argsort(points_N3[:, axis], kind="stable")]
        groups += [along[: len(along) // 2], along[len(along) // 2 :]]
    group_C = torch.zeros(len(points_C3), dtype=torch.long)
    for number, members in enumerate(groups):
        group_C[members] = number
    return group_C
