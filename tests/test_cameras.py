"""Triangulation agrees with the slow obvious solution and with the truth, whatever each camera
misses.
"""

import numpy as np
import pytest

from mining.geometry.cameras import angle_between_views_deg, triangulate
from tests.skeletons import ring_of_cameras


def slow_triangulate(cameras, points_px, weights):
    """One point at a time, by least squares over its rows."""
    points = np.full((weights.shape[1], 3), np.nan)
    for n in range(weights.shape[1]):
        rows = []
        for camera, pixel, weight in zip(cameras, points_px[:, n], weights[:, n], strict=True):
            if weight > 0:
                x, y = camera.normalize(pixel[None])[0]
                projection = camera.cam_from_world[:3]
                for row in (x * projection[2] - projection[0], y * projection[2] - projection[1]):
                    rows.append(weight * row / np.linalg.norm(row[:3]))
        if len(rows) >= 4:
            stacked = np.array(rows)
            points[n] = np.linalg.lstsq(stacked[:, :3], -stacked[:, 3])[0]
    return points


@pytest.fixture
def scene():
    generator = np.random.default_rng(0)
    cameras = ring_of_cameras(5)
    points_world = generator.uniform([-1, -1, 0], [1, 1, 2], (200, 3))
    points_px = np.stack([camera.project(points_world) for camera in cameras])
    weights = generator.uniform(0.3, 1.0, (5, 200)) * (generator.random((5, 200)) > 0.4)
    return generator, cameras, points_world, points_px, weights


def test_exact_pixels_give_exact_points(scene):
    _, cameras, points_world, points_px, weights = scene
    found, errors_px = triangulate(cameras, points_px, weights)
    solvable = (weights > 0).sum(axis=0) >= 2
    np.testing.assert_allclose(found[solvable], points_world[solvable], atol=1e-4)
    assert np.isnan(found[~solvable]).all() and (~solvable).any()
    assert np.nanmax(errors_px) < 0.05
    assert (np.isfinite(errors_px) == ((weights > 0) & solvable)).all()


def test_noisy_pixels_agree_with_one_point_at_a_time(scene):
    generator, cameras, _, points_px, weights = scene
    noisy_px = points_px + generator.normal(0, 20, points_px.shape)
    found, _ = triangulate(cameras, noisy_px, weights)
    np.testing.assert_allclose(found, slow_triangulate(cameras, noisy_px, weights), atol=1e-6)


def test_a_world_origin_far_away_costs_no_accuracy(scene):
    _, cameras, points_world, _, weights = scene
    far = np.array([5e4, -3e4, 100.0])
    for camera in cameras:
        camera.world_from_cam[:3, 3] += far
    points_px = np.stack([camera.project(points_world + far) for camera in cameras])
    found, _ = triangulate(cameras, points_px, np.ones_like(weights))
    np.testing.assert_allclose(found - far, points_world, atol=1e-4)


def test_pixels_of_cameras_without_weight_may_be_nan(scene):
    _, cameras, points_world, points_px, _ = scene
    weights = np.ones((5, 200))
    points_px[3], weights[3] = np.nan, 0
    points_px[4, :50] = np.nan  # with weight, yet not finite: not seen
    found, errors_px = triangulate(cameras, points_px, weights)
    np.testing.assert_allclose(found, points_world, atol=1e-4)
    assert np.isnan(errors_px[3]).all() and np.isnan(errors_px[4, :50]).all()


def test_nothing_to_triangulate():
    cameras = ring_of_cameras(2)
    points, errors_px = triangulate(cameras, np.zeros((2, 0, 2)), np.zeros((2, 0)))
    assert points.shape == (0, 3) and errors_px.shape == (2, 0)
    points, errors_px = triangulate(cameras[:1], np.zeros((1, 3, 2)), np.ones((1, 3)))
    assert np.isnan(points).all() and np.isnan(errors_px).all()


def test_angles_between_views_are_those_of_the_ring():
    cameras = ring_of_cameras(4, height_m=1.0)
    for view, expected in ((1, 90), (2, 180), (3, 90)):
        angle = angle_between_views_deg(cameras[0], cameras[view], np.array([0.0, 0.0, 1.0]))
        assert angle == pytest.approx(expected)
