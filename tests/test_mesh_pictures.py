"""Drawn meshes lie where their camera sees them, the nearer over the farther."""

import numpy as np

from training.mesh_pictures import draw_mesh, draw_turned

CAMERA = np.array([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])
GREY = np.full((100, 100, 3), 100, np.uint8)
RED, BLUE = (250, 0, 0), (0, 0, 250)
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def square(depth_m: float, half_m: float, x_m: float = 0.0) -> np.ndarray:
    """A square that faces the camera."""
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half_m
    return np.column_stack([corners[:, 0] + x_m, corners[:, 1], np.full(4, depth_m)])


def drawn(picture: np.ndarray) -> np.ndarray:
    return (picture != 100).any(axis=2)


def test_a_square_covers_the_pixels_it_projects_to() -> None:
    rows, columns = np.nonzero(drawn(draw_mesh(GREY, square(2.0, 0.4, x_m=0.2), FACES, CAMERA)))
    # 0.2 m at 2 m is 10 px to the right, and the square is 40 px wide; edges may blend a pixel.
    assert abs(columns.min() - 40) <= 1
    assert abs(columns.max() - 79) <= 1
    assert abs(rows.min() - 30) <= 1
    assert abs(rows.max() - 69) <= 1


def test_the_nearer_hides_the_farther_in_any_order() -> None:
    vertices = np.concatenate([square(3.0, 0.4, x_m=0.9), square(2.0, 0.4)])
    one = draw_mesh(GREY, vertices, np.concatenate([FACES, FACES + 4]), CAMERA)
    other = draw_mesh(GREY, vertices, np.concatenate([FACES + 4, FACES]), CAMERA)
    assert (one == other).all()
    over = draw_mesh(draw_mesh(GREY, square(3.0, 0.4), FACES, CAMERA, RED, 1.0),
                     square(2.0, 0.4), FACES, CAMERA, BLUE, 1.0)  # fmt: skip
    assert over[50, 50, 2] > over[50, 50, 0]


def test_what_is_behind_the_lens_or_not_finite_or_turned_away_is_not_drawn() -> None:
    for vertices in (square(-2.0, 0.4), square(2.0, np.nan), square(2.0, 0.4)[::-1]):
        assert not drawn(draw_mesh(GREY, vertices, FACES, CAMERA)).any()


def test_a_mesh_from_the_side_fills_its_picture() -> None:
    facing = square(2.0, 0.4)
    turned = np.column_stack([-facing[:, 2], facing[:, 1], facing[:, 0]])
    picture = draw_turned(60, turned, FACES)
    assert picture.shape == (60, 60, 3)
    assert 0.4 < (picture != 255).any(axis=2).mean() < 0.9
    assert (draw_turned(60, facing, FACES) == 255).all()  # seen from its edge
