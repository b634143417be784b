"""Rotations: round trips between their forms, and gradients everywhere."""

import pytest
import torch

from training.bodies.rotations import (
    axis_angle_to_matrix,
    matrix_from_6d,
    matrix_to_6d,
    matrix_to_axis_angle,
)


def random_axes(count: int) -> torch.Tensor:
    axes = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return axes / axes.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1e-3, 0.5, 2.0, 3.1, torch.pi - 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_axis_angles_come_back_from_their_matrices(angle: float, dtype: torch.dtype) -> None:
    axis_angles = (random_axes(50) * angle).to(dtype)
    matrices = axis_angle_to_matrix(axis_angles)
    tolerance = 2e-6 if dtype is torch.float32 else 1e-10
    slow = torch.linalg.matrix_exp(
        torch.linalg.cross(axis_angles[:, None], torch.eye(3, dtype=dtype)[None]).transpose(1, 2)
    )
    assert (matrices - slow).abs().max() < tolerance
    back = matrix_to_axis_angle(matrices)
    flipped = torch.minimum((back - axis_angles).norm(dim=1), (back + axis_angles).norm(dim=1))
    far = (back - axis_angles).norm(dim=1) if angle < 3.14 else flipped
    assert far.max() < 10 * tolerance


def test_half_turns_come_back_as_half_turns() -> None:
    axis_angles = random_axes(50) * torch.pi
    back = matrix_to_axis_angle(axis_angle_to_matrix(axis_angles))
    assert (axis_angle_to_matrix(back) - axis_angle_to_matrix(axis_angles)).abs().max() < 1e-9


def test_six_numbers_name_the_rotation_whatever_their_scale() -> None:
    matrices = axis_angle_to_matrix(random_axes(50) * 2.5)
    six = matrix_to_6d(matrices)
    assert torch.allclose(matrix_from_6d(six * 3), matrices)
    skewed = matrix_from_6d(torch.randn(50, 6, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(skewed @ skewed.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5)
    assert (torch.linalg.det(skewed) > 0).all()


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1.0, 3.1, torch.pi])
def test_gradients_are_finite_at_every_angle(angle: float) -> None:
    axes = torch.cat([random_axes(20), torch.eye(3, dtype=torch.float64)]).float()
    axis_angles = (axes * angle).requires_grad_()
    matrices = axis_angle_to_matrix(axis_angles)
    matrices.retain_grad()
    (matrix_to_axis_angle(matrices).sum() + matrix_from_6d(matrix_to_6d(matrices)).sum()).backward()
    assert axis_angles.grad is not None and axis_angles.grad.isfinite().all()


def test_a_small_turns_gradient_is_its_axis() -> None:
    axis_angle = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(
        lambda turn: matrix_to_axis_angle(axis_angle_to_matrix(turn)), axis_angle
    )
    assert torch.allclose(jacobian, torch.eye(3, dtype=torch.float64))
