"""Shared surfaces are those of rendered bodies and hands, of a cylinder where joints are unknown,
and nothing where somebody stands before them.
"""

from dataclasses import replace
from functools import cache, partial
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from mining.geometry.covisibility import seen_surface, shared_cylinder, shared_surface
from mining.geometry.surface import place_bones, surface_of
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from tests.skeletons import STANDING_M, ring_of_cameras, walk

SIZE_PX = 160
CONFIG = SyntheticConfig(
    people_per_capture=2, num_views=4, num_frames=3, image_px=(SIZE_PX,), max_fill=1.3, seed=5
)
MOMENTS = [(view, frame) for frame in range(3) for view in range(4)]


@cache
def compared(part):
    """Kind, true and estimated covisibility of pairs of views of everybody in a rendered scene."""
    scene = Scene(CONFIG, 0)
    cameras = [replace(scene.cameras[v], size_px=(SIZE_PX, SIZE_PX)) for v, _ in MOMENTS]
    bodies = [np.stack([scene.joints_world(p, t) for _, t in MOMENTS]) for p in range(2)]
    rows = []
    for person in range(2):
        joints = np.stack([scene.joints_world(person, t, part) for _, t in MOMENTS])
        others = [b for p, b in enumerate(bodies) if part != "body" or p != person]
        seen = seen_surface(joints, cameras, others)
        for i, j in combinations(range(len(MOMENTS)), 2):
            truth = scene.covisibility(person, part, *MOMENTS[i], *MOMENTS[j])
            kind = "cross_view" if MOMENTS[i][1] == MOMENTS[j][1] else "cross_pose"
            rows.append((kind, truth, shared_surface(seen[i], seen[j], joints.shape[1])))
    return rows


@pytest.mark.parametrize("kind", ["cross_view", "cross_pose"])
@pytest.mark.parametrize("part", ["body", "left_hand"])
def test_shared_surfaces_rank_as_those_of_rendered_people(part, kind):
    truth, found = np.array([row[1:] for row in compared(part) if row[0] == kind], float).T
    assert len(truth) >= 36
    assert spearmanr(truth, found)[0] > 0.8
    assert np.abs(truth - found).mean() < 0.1


def seen_of(joints, cameras, others=()):
    repeated = np.repeat(joints[None], len(cameras), axis=0)
    others = [np.repeat(other[None], len(cameras), axis=0) for other in others]
    return seen_surface(repeated, cameras, others)


def test_the_same_view_shares_all_and_the_opposite_one_little():
    cameras = ring_of_cameras(6)
    seen = seen_of(walk(np.zeros(1))[0], cameras)
    shares = [shared_surface(seen[0], other, 17) for other in seen]
    assert shares[0] == 1 and shares[3] < 0.08
    assert shares[0] > shares[1] > shares[2] > shares[3]
    assert shares[1] == pytest.approx(shares[5], abs=0.08)


def test_a_turned_body_shares_what_a_moved_camera_would():
    cameras = ring_of_cameras(6, height_m=1.0)
    facing, turned = (walk(np.zeros(1), heading_deg=heading)[0] for heading in (0, 60))
    (a, b), (c,) = seen_of(facing, cameras[:2]), seen_of(turned, cameras[:1])
    assert shared_surface(a, c, 17) == pytest.approx(shared_surface(a, b, 17), abs=0.05)


def test_somebody_before_a_person_hides_them():
    camera = ring_of_cameras(1)[0]
    joints = walk(np.zeros(1))[0]
    ahead = camera.centre_world * [1, 1, 0]
    nearer, farther = joints + 0.3 * ahead, joints - 0.3 * ahead
    alone, before, behind = (seen_of(joints, [camera], o)[0] for o in ([], [nearer], [farther]))
    area = surface_of(17).area
    assert area @ (before > 0) < 0.2 * (area @ (alone > 0))
    np.testing.assert_array_equal(behind, alone)


def test_what_lies_outside_the_image_is_not_seen():
    camera = ring_of_cameras(1)[0]
    joints = walk(np.zeros(1))[0]
    whole = seen_of(joints, [camera])[0]
    upper = seen_of(joints, [replace(camera, size_px=(1080, 960))])[0]
    assert 0.3 < (upper > 0).sum() / (whole > 0).sum() < 0.7


def test_unknown_joints_leave_their_part_of_the_surface_out():
    cameras = ring_of_cameras(4)
    joints = walk(np.zeros(1))[0]
    expected = seen_of(joints, cameras)
    joints[[9, 15]] = np.nan
    found = seen_of(joints, cameras)
    assert (found[0] < 0).any() and shared_surface(found[0], found[1], 17) == pytest.approx(
        shared_surface(expected[0], expected[1], 17), abs=0.06
    )
    joints[5:] = np.nan
    assert seen_of(joints, cameras) == [None] * 4
    assert seen_surface(joints[None], [None]) == [None]


def test_bones_turn_with_the_body():
    joints = walk(np.zeros(1))
    turn = np.radians(70)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    ends, frames = place_bones(joints, 0.5)
    turned_ends, turned_frames = place_bones(joints @ rotation.T, 0.5)
    np.testing.assert_allclose(turned_ends, ends @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(turned_frames, rotation @ frames, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-6)


shared = partial(shared_cylinder, min_confidence=0.5)


def test_the_cylinder_is_that_of_sampling():
    directions = np.linspace(0, 360, 36000, endpoint=False)
    everything = np.column_stack([STANDING_M[:, :2], np.full(17, 0.9)])
    for angle in (0.0, 30.0, 60.0, 90.0, 150.0, 180.0):
        a, b = np.cos(np.radians(directions)) > 0, np.cos(np.radians(directions - angle)) > 0
        expected = (a & b).sum() / (a | b).sum()
        assert shared(everything, everything, angle) == pytest.approx(expected, abs=1e-3)


def test_the_cylinder_counts_keypoints_seen_in_both():
    a, b = (np.column_stack([STANDING_M[:, :2], np.full(17, 0.9)]) for _ in range(2))
    a[:5, 2], b[15:, 2] = 0.0, 0.0
    assert shared(a, b, None) == pytest.approx(10 / 17)
    assert shared(a, b, 60.0) == pytest.approx(10 / 17 / 2)
    assert shared(np.full((17, 3), np.nan), np.full((17, 3), np.nan), 0.0) == 0
