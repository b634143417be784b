"""Pose distance ignores where, how large and how turned a pose is; view angles are those that the
body feels.
"""

import numpy as np
import pytest
from scipy.spatial import procrustes

from mining.geometry.pose import (
    body_view_angle_deg,
    covisibility,
    pose_distance,
    pose_distance_world,
    torso_axes,
)
from tests.skeletons import STANDING_M, ring_of_cameras, walk


def keypoints(points, confidence=0.9):
    return np.column_stack([points, np.full(len(points), confidence)])


def turned(points, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[c, s], [-s, c]])


@pytest.fixture
def poses():
    generator = np.random.default_rng(0)
    pose = STANDING_M[:, :2] * 200
    return pose, pose + generator.normal(0, 20, pose.shape)


def test_shift_turn_and_scale_cost_nothing(poses):
    pose, _ = poses
    assert pose_distance(keypoints(pose), keypoints(turned(pose, 70) * 0.3 + 500)) == pytest.approx(
        0, abs=1e-6
    )


def test_a_mirrored_pose_is_another_pose(poses):
    pose = poses[0] + np.linspace(0, 80, 17)[:, None] * [1.0, 0.0]
    assert pose_distance(keypoints(pose), keypoints(pose * [-1, 1])) > 0.05


def test_distance_is_that_of_scipy_and_the_same_either_way(poses):
    a, b = poses
    expected = np.sqrt(procrustes(a, b)[2])
    assert pose_distance(keypoints(a), keypoints(b)) == pytest.approx(expected)
    assert pose_distance(keypoints(b), keypoints(a)) == pytest.approx(expected)


def test_distance_is_a_share_of_the_size(poses):
    pose, _ = poses
    noise = np.random.default_rng(1).normal(0, 1, pose.shape)
    size = np.sqrt(((pose - pose.mean(axis=0)) ** 2).sum(axis=1).mean())
    noisy = pose + noise * 0.05 * size / np.sqrt(2)
    assert pose_distance(keypoints(pose), keypoints(noisy)) == pytest.approx(0.05, rel=0.35)


def test_joints_that_one_does_not_see_are_left_out(poses):
    a, b = keypoints(poses[0]), keypoints(poses[0])
    b[3] = [9999, -9999, 0.1]
    a[4] = [np.nan, np.nan, 0.9]
    assert pose_distance(a, b) == pytest.approx(0, abs=1e-6)


def test_too_few_joints_give_no_distance(poses):
    a, b = keypoints(poses[0]), keypoints(poses[0])
    a[:8, 2] = 0
    b[12:, 2] = 0
    assert pose_distance(a, b) is None
    assert pose_distance(a, b, min_joints=4) == pytest.approx(0, abs=1e-6)
    assert pose_distance(keypoints(np.zeros((17, 2))), b) is None
    assert pose_distance(np.full((17, 3), np.nan), b) is None


def test_distance_in_space_ignores_heading_and_place():
    times_s = np.array([0.0])
    here = walk(times_s, (0, 0), (1, 0), phase=1.0)[0]
    there = walk(times_s, (3, 2), (-1, 0.5), phase=1.0)[0]
    other = walk(times_s, (3, 2), (-1, 0.5), phase=-1.5)[0]
    assert pose_distance_world(here, there) == pytest.approx(0, abs=1e-6)
    assert pose_distance_world(here, other) > 0.2
    here[:12] = np.nan
    assert pose_distance_world(here, there) is None


def test_the_torso_faces_where_the_walker_goes():
    for heading in (0, 45, 200):
        joints = walk(np.zeros(1), heading_deg=heading)[0]
        left, up, ahead = torso_axes(joints).T
        np.testing.assert_allclose(up, [0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(
            ahead, [np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0], atol=1e-9
        )
        np.testing.assert_allclose(np.cross(left, up), ahead, atol=1e-9)
    joints[5] = np.nan
    assert torso_axes(joints) is None
    assert torso_axes(np.zeros((17, 3))) is None


def test_a_turning_body_is_as_good_as_a_moving_camera():
    cameras = ring_of_cameras(6, height_m=1.17)  # as high as the torso's centre
    facing, away = (walk(np.zeros(1), heading_deg=heading)[0] for heading in (0, 60))
    assert body_view_angle_deg(cameras[0], facing, cameras[1], facing) == pytest.approx(60, abs=0.5)
    assert body_view_angle_deg(cameras[0], facing, cameras[0], away) == pytest.approx(60, abs=0.5)
    assert body_view_angle_deg(cameras[0], facing, cameras[1], away) == pytest.approx(0, abs=0.5)
    assert body_view_angle_deg(cameras[0], facing, cameras[1], np.full((17, 3), np.nan)) is None


def test_covisibility_is_that_of_a_cylinder_by_sampling():
    directions = np.linspace(0, 360, 36000, endpoint=False)
    everything = keypoints(STANDING_M[:, :2])
    for angle in (0.0, 30.0, 60.0, 90.0, 150.0, 180.0):
        a, b = np.cos(np.radians(directions)) > 0, np.cos(np.radians(directions - angle)) > 0
        expected = (a & b).sum() / (a | b).sum()
        assert covisibility(everything, everything, angle) == pytest.approx(expected, abs=1e-3)


def test_covisibility_counts_keypoints_seen_in_both():
    a, b = keypoints(STANDING_M[:, :2]), keypoints(STANDING_M[:, :2])
    a[:5, 2], b[15:, 2] = 0.0, 0.0
    assert covisibility(a, b, None) == pytest.approx(10 / 17)
    assert covisibility(a, b, 60.0) == pytest.approx(10 / 17 / 2)
    assert covisibility(np.full((17, 3), np.nan), np.full((17, 3), np.nan), 0.0) == 0
