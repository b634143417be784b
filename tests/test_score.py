"""Terms are the truth of a synthetic scene, bounds reject with a reason, and DuckDB ranks as the
formulas say.
"""

from dataclasses import replace

import duckdb
import numpy as np
import pytest

from catalog.schemas import PAIR_TERMS, PAIRS
from catalog.scores import PRESETS
from mining.geometry.covisibility import seen_surface
from mining.geometry.pose import pose_distance_world
from mining.geometry.view_angle import directions_from_within, directions_to
from mining.pairing.score import CropFacts, ScoreConfig, pair_terms, reject_reason
from tests.skeletons import boxes_around, detect, ring_of_cameras, walk

CONFIG = ScoreConfig()
RED = [1.0] + [0.0] * 37
HALF_RED = [0.5, 0.5] + [0.0] * 36


def crop_of(camera, joints, name="a", view=0, time_s=0.0, calibrated=True, **measured):
    """A crop of somebody by a perfect detector, with what is known in space where `calibrated`."""
    keypoints = detect(camera, joints[None], np.random.default_rng(0), noise_px=0.0)
    facts = CropFacts(
        crop_id=name,
        view=view,
        time_s=time_s,
        keypoints_px=keypoints[0],
        box_px=boxes_around(keypoints)[0],
        **{"sharpness": 100.0, "phash": "0" * 16, **measured},
    )
    if not calibrated:
        return facts
    centre = camera.centre_world[None]
    return replace(
        facts,
        joints_world=joints,
        to_camera_world=directions_to(centre, joints[None])[0],
        to_camera_within=directions_from_within(centre, joints[None])[0],
        seen_surface=seen_surface(joints[None], [camera])[0],
    )


@pytest.fixture
def cross_view():
    cameras = ring_of_cameras(6, height_m=1.0)
    joints = walk(np.zeros(1))[0]
    a = crop_of(cameras[0], joints, truncation=0.1, occlusion=0.0, appearance=RED)
    b = crop_of(
        cameras[1], joints, "b", view=1, phash="0" * 14 + "ff", sharpness=40.0,
        truncation=0.0, occlusion=0.3, appearance=HALF_RED,
    )  # fmt: skip
    return pair_terms("cross_view", a, b, CONFIG)


@pytest.fixture
def two_poses():
    camera = ring_of_cameras(1, height_m=1.0)[0]
    before, after = walk(np.array([0.0, 0.4]), velocity_m_per_s=(0.2, 0.5))
    return crop_of(camera, before), crop_of(camera, after, "b", time_s=0.4, phash="f" * 16)


@pytest.fixture
def cross_pose(two_poses):
    return pair_terms("cross_pose", *two_poses, CONFIG)


def score(terms, preset="default"):
    """A preset's value for one pair, by DuckDB over a table with the types of `pairs`."""
    types = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE"}
    columns = [column for column in PAIRS.columns if column.name in terms]
    values = ", ".join(
        f"CAST(? AS {types[str(column.type)]}) AS {column.name}" for column in columns
    )
    query = f"SELECT {PRESETS[preset].sql} FROM (SELECT {values})"
    return duckdb.execute(query, [terms[column.name] for column in columns]).fetchone()[0]


def test_every_term_is_a_column_of_pairs(cross_view):
    identity = {
        "pair_id", "part", "dataset", "capture_id", "identity_id", "crop_a", "crop_b", "split",
    }  # fmt: skip
    assert set(cross_view) == {column.name for column in PAIR_TERMS} - identity
    assert all(column.meaning for column in PAIRS.columns)


def test_terms_of_a_cross_view_pair(cross_view):
    assert cross_view["view_angle_deg"] == pytest.approx(60, abs=1.5)
    assert cross_view["covisibility"] == pytest.approx(0.55, abs=0.1)  # a cylinder's is 0.5
    assert cross_view["time_gap_s"] == 0 and cross_view["pose_distance"] is None
    assert cross_view["sharpness_min"] == 40 and cross_view["phash_distance"] == 8
    assert cross_view["truncation_max"] == 0.1 and cross_view["occlusion_max"] == 0.3
    assert cross_view["keypoint_confidence_min"] == pytest.approx(0.9)
    assert cross_view["appearance_similarity"] == pytest.approx(np.sqrt(0.5))
    assert 0.5 < cross_view["scale_ratio"] <= 1
    assert reject_reason(cross_view, CONFIG) is None


def test_terms_of_a_cross_pose_pair(cross_pose):
    assert 0 < cross_pose["view_angle_deg"] < 10
    assert cross_pose["time_gap_s"] == pytest.approx(0.4)
    assert 0.1 < cross_pose["pose_distance"] < 0.5
    assert cross_pose["covisibility"] > 0.5
    assert cross_pose["truncation_max"] is None and cross_pose["appearance_similarity"] is None
    assert reject_reason(cross_pose, CONFIG) is None


def test_scale_is_the_ratio_of_the_boxes_as_they_are_far():
    camera = ring_of_cameras(1, height_m=1.0)[0]
    joints = walk(np.zeros(1), heading_deg=0)[0]
    near, far = (crop_of(camera, joints - [away, 0, 0]) for away in (0.0, 5.0))
    found = pair_terms("cross_pose", near, far, CONFIG)["scale_ratio"]
    assert found == pytest.approx(5 / 10, abs=0.03)


def test_poses_of_one_view_need_no_calibration():
    camera = ring_of_cameras(1)[0]
    before, after = walk(np.array([0.0, 0.4]), velocity_m_per_s=(0.0, 0.5))
    crops = [crop_of(camera, joints, calibrated=False) for joints in (before, after)]
    terms = pair_terms("cross_pose", *crops, CONFIG)
    assert terms["view_angle_deg"] is None and terms["pose_distance"] > 0.05
    assert terms["covisibility"] == 1


def test_poses_across_views_are_compared_in_space():
    cameras = ring_of_cameras(4, height_m=1.0)
    before, after = walk(np.array([0.0, 0.4]), velocity_m_per_s=(0.0, 0.5))
    a, b = crop_of(cameras[0], before), crop_of(cameras[1], after, "b", view=1, time_s=0.4)
    terms = pair_terms("cross_pose", a, b, CONFIG)
    assert terms["pose_distance"] == pytest.approx(pose_distance_world(before, after, min_joints=8))
    nowhere = [replace(crop, joints_world=None) for crop in (a, b)]
    assert reject_reason(pair_terms("cross_pose", *nowhere, CONFIG), CONFIG)[0] == "pose_unknown"


def test_terms_are_the_same_either_way(two_poses, cross_pose):
    assert pair_terms("cross_pose", *two_poses[::-1], CONFIG) == pytest.approx(cross_pose)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phash_distance": 1}, "near_identical"),
        ({"view_angle_deg": 5.0}, "view_angle"),
        ({"view_angle_deg": 120.0}, "view_angle"),
        ({"view_angle_deg": None}, "view_angle_unknown"),
        ({"covisibility": 0.1}, "covisibility"),
        ({"scale_ratio": 0.1}, "scale"),
        ({"sharpness_min": 1.0}, "blurred"),
        ({"keypoint_confidence_min": 0.1}, "keypoints"),
        ({"sharpness_min": float("nan")}, "blurred"),
        ({"truncation_max": 0.7}, "truncated"),
        ({"occlusion_max": 0.7}, "occluded"),
        ({"appearance_similarity": 0.1}, "appearance"),
    ],
)
def test_bounds_of_cross_view_pairs(cross_view, change, reason):
    bounds = {"max_truncation": 0.5, "max_occlusion": 0.5, "min_appearance": 0.3}
    config = replace(CONFIG, require_view_angle=True, **bounds)
    assert reject_reason(cross_view, config) is None
    found = reject_reason(cross_view | change, config)
    assert found is not None and found[0] == reason and found[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pose_distance": 0.01}, "same_pose"),
        ({"pose_distance": 0.95}, "pose_too_far"),
        ({"pose_distance": None}, "pose_unknown"),
        ({"time_gap_s": 60.0}, "time_gap"),
        ({"view_angle_deg": 150.0}, "view_angle"),
    ],
)
def test_bounds_of_cross_pose_pairs(cross_pose, change, reason):
    found = reject_reason(cross_pose | change, CONFIG)
    assert found is not None and found[0] == reason


def test_bounds_are_parameters(cross_view, cross_pose):
    unknown = cross_view | {"view_angle_deg": None}
    assert reject_reason(unknown, CONFIG) is None
    assert reject_reason(unknown, replace(CONFIG, require_view_angle=True)) is not None
    assert reject_reason(cross_pose | {"view_angle_deg": None}, CONFIG) is None
    assert reject_reason(cross_pose, replace(CONFIG, min_pose_distance=0.6)) is not None


def test_the_cross_view_score_peaks_at_sixty_degrees_and_ends_at_ninety(cross_view):
    angles = np.arange(0, 181, 5.0)
    scores = [
        score(cross_view | {"view_angle_deg": angle, "covisibility": 1.0}) for angle in angles
    ]
    cosine = np.cos(np.radians(angles))
    np.testing.assert_allclose(
        scores, np.where(angles > 90, 0, 4 * cosine * (1 - cosine)), atol=1e-9
    )
    assert angles[int(np.argmax(scores))] == 60 and max(scores) == pytest.approx(1)
    assert score(cross_view | {"view_angle_deg": 60.0, "covisibility": 0.4}) == pytest.approx(0.4)


def test_the_cross_pose_score_is_a_band(cross_pose):
    distances = np.array([0.0, 0.02, 0.1, 0.3, 0.6, 1.0])
    scores = [score(cross_pose | {"pose_distance": distance}) for distance in distances]
    assert int(np.argmax(scores)) == 3
    assert scores[0] < scores[1] < scores[2] < scores[3] > scores[4] > scores[5] > 0
    assert scores[3] == pytest.approx(0.5 * 0.9)  # sharpness at its half, confidence 0.9


def test_quality_raises_the_cross_pose_score(cross_pose):
    for term, better in (("sharpness_min", 400.0), ("keypoint_confidence_min", 1.0)):
        assert score(cross_pose | {term: better}) > score(cross_pose)


def test_an_unknown_pose_scores_nothing_and_an_unknown_angle_little(cross_view, cross_pose):
    known = score(cross_view | {"view_angle_deg": 60.0})
    assert score(cross_view | {"view_angle_deg": None}) == pytest.approx(0.27 * known)
    assert score(cross_pose | {"pose_distance": None}) == 0


def test_presets_rank_as_they_say(cross_view, cross_pose):
    near, far = ({"view_angle_deg": angle, "covisibility": 0.5} for angle in (15.0, 85.0))
    small, large = ({"pose_distance": distance} for distance in (0.12, 0.6))
    for easier, harder, pair in ((near, far, cross_view), (small, large, cross_pose)):
        assert score(pair | easier, "easy") > score(pair | harder, "easy")
        assert score(pair | easier, "hard") < score(pair | harder, "hard")
    known = cross_pose | {"view_angle_deg": 60.0, "covisibility": 0.4}
    assert score(known, "crocov2") == pytest.approx(0.4)
    assert score(cross_view, "crocov2") == pytest.approx(score(cross_view))
    whole = cross_view | {"truncation_max": 0.0, "occlusion_max": 0.0}
    assert score(whole, "easy") > score(cross_view, "easy")
