"""Pose distance ignores where, how large and how turned a pose is; view angles are those that the
body feels.
"""

from functools import partial

import numpy as np
import pytest
from scipy.spatial import procrustes

from mining.geometry import pose as of_poses
from mining.geometry.pose import pose_distances
from mining.geometry.view_angle import (
    angle_deg,
    directions_from_within,
    directions_to,
    own_axes,
)
from tests.skeletons import STANDING_M, ring_of_cameras, walk

pose_distance = partial(of_poses.pose_distance, min_confidence=0.5, min_joints=8)
pose_distance_world = partial(of_poses.pose_distance_world, min_joints=8)


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


def test_many_distances_at_once_are_those_one_by_one():
    generator = np.random.default_rng(2)
    a, b = generator.normal(0, 100, (2, 50, 17, 3))
    a[..., 2], b[..., 2] = generator.random((2, 50, 17))
    a[7, 3] = np.nan
    b[8] = 0.0
    expected = [pose_distance(*pair, min_confidence=0.3) for pair in zip(a, b, strict=True)]
    found = pose_distances(a, b, min_confidence=0.3, min_joints=8)
    np.testing.assert_allclose(found, np.array(expected, float), atol=1e-9)
    assert np.isnan(found).any() and np.isfinite(found).any()


def open_hand(curl_deg=0.0, left=False):
    """Joints (21, 3) of a hand in metres: fingers along y, palm to z, thumb to +x (left: -x), all
    fingers bent by an angle at each joint.
    """
    joints = np.zeros((21, 3))
    spread = {1: 0.03, 5: 0.03, 9: 0.01, 13: -0.01, 17: -0.03}
    for base, x in spread.items():
        joints[base] = [x, 0.03 if base == 1 else 0.09, 0.0]
        for k, length in enumerate((0.04, 0.025, 0.02)):
            bend = np.radians(curl_deg * (k + 1))
            way = np.array([0.0, np.cos(bend), np.sin(bend)])
            joints[base + k + 1] = joints[base + k] + length * way
    return joints * ([-1, 1, 1] if left else [1, 1, 1])


def test_hands_have_pose_distances_too():
    flat, fist = open_hand(), open_hand(60)
    in_image = [keypoints(joints[:, 1:] * 1000) for joints in (flat, open_hand(20), fist)]
    near, far = pose_distance(in_image[0], in_image[1]), pose_distance(in_image[0], in_image[2])
    assert 0.02 < near < far < 1
    assert pose_distance_world(flat, fist @ own_axes(fist).T * 2 + 1) == pytest.approx(
        pose_distance_world(flat, fist)
    )
    assert pose_distance_world(fist, open_hand(60, left=True)) > 0.1


def test_the_torso_faces_where_the_walker_goes():
    for heading in (0, 45, 200):
        joints = walk(np.zeros(1), heading_deg=heading)[0]
        left, up, ahead = own_axes(joints).T
        np.testing.assert_allclose(up, [0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(
            ahead, [np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0], atol=1e-9
        )
        np.testing.assert_allclose(np.cross(left, up), ahead, atol=1e-9)
    joints[5] = np.nan
    assert np.isnan(own_axes(joints)).all()
    assert np.isnan(own_axes(np.zeros((17, 3)))).all()


def test_a_hand_has_its_thumb_to_one_side_its_fingers_up_and_its_palm_or_back_ahead():
    for left in (False, True):
        axes = own_axes(open_hand(30, left))
        np.testing.assert_allclose(axes[:, 0], [-1 if left else 1, 0, 0], atol=1e-9)
        np.testing.assert_allclose(axes[:, 1], [0, 1, 0], atol=1e-9)
        np.testing.assert_allclose(axes[:, 2], [0, 0, -1 if left else 1], atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1)
    with pytest.raises(ValueError, match="21"):
        own_axes(np.zeros((5, 3)))


def test_axes_of_many_are_those_one_by_one():
    joints = walk(np.arange(5.0), phase=0.3)
    many = own_axes(joints)
    for k in range(5):
        np.testing.assert_array_equal(many[k], own_axes(joints[k]))


def view_angle(camera_a, joints_a, camera_b, joints_b):
    a, b = (
        directions_from_within(camera.centre_world[None], joints[None])[0]
        for camera, joints in ((camera_a, joints_a), (camera_b, joints_b))
    )
    return angle_deg(a, b)


def test_a_turning_body_is_as_good_as_a_moving_camera():
    cameras = ring_of_cameras(6, height_m=1.17)  # as high as the torso's centre
    facing, away = (walk(np.zeros(1), heading_deg=heading)[0] for heading in (0, 60))
    assert view_angle(cameras[0], facing, cameras[1], facing) == pytest.approx(60, abs=0.5)
    assert view_angle(cameras[0], facing, cameras[0], away) == pytest.approx(60, abs=0.5)
    assert view_angle(cameras[0], facing, cameras[1], away) == pytest.approx(0, abs=0.5)
    assert view_angle(cameras[0], facing, cameras[1], np.full((17, 3), np.nan)) is None


def test_a_turning_hand_is_as_good_as_a_moving_camera():
    cameras = ring_of_cameras(6, height_m=1.0)
    here, turn = np.array([0, 0, 1.0]), np.radians(60)
    about_z = np.array(
        [[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    for left in (False, True):
        hand = open_hand(40, left)
        hand -= hand[[0, 5, 17]].mean(axis=0)
        before, after = hand + here, hand @ about_z + here
        assert view_angle(cameras[0], before, cameras[1], before) == pytest.approx(60, abs=0.5)
        assert view_angle(cameras[0], before, cameras[0], after) == pytest.approx(60, abs=0.5)
        assert view_angle(cameras[0], before, cameras[1], after) == pytest.approx(0, abs=0.5)


def test_the_angle_at_one_instant_needs_no_trunk():
    cameras = ring_of_cameras(6, height_m=1.0)
    joints = np.full((17, 3), np.nan)
    joints[9:11] = [[0.1, 0, 1], [-0.1, 0, 1]]
    centres = np.stack([camera.centre_world for camera in cameras[:2]])
    a, b = directions_to(centres, np.stack([joints, joints]))
    assert angle_deg(a, b) == pytest.approx(60)
    assert np.isnan(directions_to(centres[:1], np.full((1, 17, 3), np.nan))).all()
