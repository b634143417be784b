"""Distances along surfaces, where they are known; and the vertices that chart places lie at."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from training.metrics.surface import NO_VERTEX, ChartTable, SurfaceDistances


def flat_grid(side: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A square metre of triangles, all diagonals the same way."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    vertices = np.stack([x, y, 0 * x], axis=2).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1, 1)
    halves = np.array([[0, 1, side], [1, side + 1, side]])
    faces = (corner[:, None] + halves).reshape(-1, 3)
    return vertices, faces


def unit_sphere(rings: int = 24, around: int = 36) -> tuple[np.ndarray, np.ndarray]:
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings)[1:-1, None]
    longitude = np.arange(around) * 2 * np.pi / around
    middle = np.stack(np.broadcast_arrays(np.cos(latitude) * np.cos(longitude),
                      np.cos(latitude) * np.sin(longitude), np.sin(latitude)), axis=2)  # fmt: skip
    vertices = np.concatenate([middle.reshape(-1, 3), [[0, 0, -1], [0, 0, 1]]])
    south, north, index = len(vertices) - 2, len(vertices) - 1, np.arange(len(vertices) - 2)
    grid = index.reshape(-1, around)
    right = np.roll(grid, -1, axis=1)
    faces = [
        np.stack([grid[:-1], right[:-1], grid[1:]], axis=2),
        np.stack([right[:-1], right[1:], grid[1:]], axis=2),
        np.stack([np.full(around, south), right[0], grid[0]], axis=1)[None],
        np.stack([np.full(around, north), grid[-1], right[-1]], axis=1)[None],
    ]
    return vertices, np.concatenate([part.reshape(-1, 3) for part in faces])


def plain_distances(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """All pairs along edges alone, by Floyd and Warshall."""
    distance = np.full((len(vertices), len(vertices)), np.inf)
    np.fill_diagonal(distance, 0)
    for face in faces:
        for a, b in zip(face, np.roll(face, 1), strict=True):
            distance[a, b] = distance[b, a] = np.linalg.norm(vertices[a] - vertices[b])
    for k in range(len(vertices)):
        distance = np.minimum(distance, distance[:, [k]] + distance[[k]])
    return distance


def test_distances_along_edges_equal_plain_ones():
    vertices, faces = flat_grid(5)
    found = SurfaceDistances(vertices, faces).rows_m(np.arange(len(vertices)))
    np.testing.assert_allclose(found, plain_distances(vertices, faces), atol=1e-6)


def test_on_a_flat_sheet_paths_are_never_shorter_than_straight_lines():
    vertices, faces = flat_grid()
    straight = np.linalg.norm(vertices - vertices[0], axis=1)
    row = SurfaceDistances(vertices, faces).rows_m([0])[0]
    assert (row >= straight - 1e-6).all()
    # against the diagonals, all of which run the same way
    assert (row[1:] / straight[1:] - 1).max() == pytest.approx(math.sqrt(2) - 1, abs=1e-6)


def test_on_a_sphere_distances_are_great_circles_and_not_through_the_inside():
    vertices, faces = unit_sphere()
    distances = SurfaceDistances(vertices, faces)
    pole = len(vertices) - 1
    arcs = np.arccos(np.clip(vertices @ vertices[pole], -1, 1))
    np.testing.assert_allclose(distances.rows_m([pole])[0], arcs, rtol=0.02, atol=1e-6)
    equator = 11 * 36
    arcs = np.arccos(np.clip(vertices @ vertices[equator], -1, 1))
    row = distances.rows_m([equator])[0]
    assert (row > 0.98 * arcs - 1e-6).all() and row.sum() < 1.2 * arcs.sum()


def test_no_path_leads_from_one_piece_to_another_but_points_in_one_place_are_joined():
    vertices, faces = flat_grid(3)
    two = SurfaceDistances(
        np.concatenate([vertices, vertices + 5]), np.concatenate([faces, faces + 9])
    )
    assert np.isinf(two.rows_m([0])[0, 9:]).all() and np.isfinite(two.rows_m([0])[0, :9]).all()
    flat = SurfaceDistances([[0, 0, 0], [0, 0, 0], [1, 0, 0]], [[0, 1, 2]])
    assert flat.rows_m([0])[0].tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_between_pairs_background_is_infinitely_far_and_no_truth_is_nan():
    vertices, faces = flat_grid(5)
    distances = SurfaceDistances(vertices, faces)
    pred = torch.tensor([[0, 4, NO_VERTEX], [20, NO_VERTEX, 3]])
    true = torch.tensor([[0, 0, 0], [0, NO_VERTEX, NO_VERTEX]])
    expected = torch.tensor([[0, 1, torch.inf], [1, torch.nan, torch.nan]]).double()
    torch.testing.assert_close(distances.between_m(pred, true), expected, equal_nan=True)


def test_rows_are_found_once_and_the_oldest_forgotten(monkeypatch):
    vertices, faces = flat_grid(4)
    fresh = SurfaceDistances(vertices, faces).rows_m(np.arange(16))
    monkeypatch.setattr("training.metrics.surface.MAX_ROWS", 3)
    monkeypatch.setattr("training.metrics.surface.CHUNK_ROWS", 2)
    distances = SurfaceDistances(vertices, faces)
    np.testing.assert_array_equal(distances.rows_m(np.arange(16)[::-1]), fresh[::-1])
    everything = torch.arange(16)
    torch.testing.assert_close(
        distances.between_m(everything.flip(0), everything),
        torch.from_numpy(fresh[np.arange(16), np.arange(16)[::-1]]).double(),
    )
    kept = distances.rows_m([13, 14, 15])
    monkeypatch.setattr("scipy.sparse.csgraph.dijkstra", None)
    np.testing.assert_array_equal(distances.rows_m([15, 13, 14]), kept[[2, 0, 1]])


def test_places_on_charts_are_their_nearest_vertices():
    table = ChartTable(
        torch.tensor([3, 8, 5, 3]),  # vertex 3 is on a seam
        torch.tensor([1, 1, 2, 2]),
        torch.tensor([[0.0, 0], [1, 1], [0, 0], [1, 0]]),
    )
    chart = torch.tensor([[1, 1, 2], [2, 0, 7]])
    uv = torch.tensor([[[0.2, 0.3], [0.9, 0.4], [0.1, 0]], [[0.8, 0], [0.5, 0.5], [0, 0]]])
    assert table.nearest_vertex(chart, uv).tolist() == [[3, 8, 5], [3, NO_VERTEX, NO_VERTEX]]
    assert table.nearest_vertex(torch.tensor([1]), torch.full((1, 2), torch.nan)) == NO_VERTEX


def test_nearest_places_equal_plain_ones():
    rng = np.random.default_rng(0)
    vertex, chart, uv = np.arange(300), rng.integers(1, 25, 300), rng.random((300, 2))
    asked, at = rng.integers(0, 25, 500), rng.random((500, 2))
    expected = [
        min(np.flatnonzero(chart == c), key=lambda i: np.hypot(*(uv[i] - place)))
        if c else NO_VERTEX
        for c, place in zip(asked, at, strict=True)
    ]  # fmt: skip
    table = ChartTable(*(torch.from_numpy(x) for x in (vertex, chart, uv)))
    assert table.nearest_vertex(torch.from_numpy(asked), torch.from_numpy(at)).tolist() == expected


def test_mistakes_of_the_caller_are_named():
    vertices, faces = flat_grid(3)
    with pytest.raises(ValueError, match="triangles"):
        SurfaceDistances(vertices, [[0, 1, 2, 3]])
    with pytest.raises(ValueError, match="0 to 8"):
        SurfaceDistances(vertices, faces).rows_m([9])
    with pytest.raises(ValueError, match="one of each"):
        ChartTable(torch.zeros(2), torch.zeros(2), torch.zeros(1, 2))


def test_without_scipy_one_sentence_says_what_to_install():
    code = """
import sys
sys.modules["scipy"] = sys.modules["scipy.sparse"] = None
from training.metrics.surface import SurfaceDistances
try:
    SurfaceDistances([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install scipy" in said.stdout
