"""Cameras found from the people they film stand as they truly do, or are not given at all."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from mining.calibration.bones import BODY, bones_of
from mining.calibration.bundle import Priors, Sightings, Solution, _cost, _linearize
from mining.calibration.estimate_cameras import estimate_cameras
from mining.calibration.estimate_config import EstimateConfig
from mining.calibration.two_views import triangulate_rays
from mining.geometry.cameras import angle_between_views_deg
from mining.identity.fits import Track
from mining.identity.only_person import is_one_person
from tests.skeletons import HEIGHT_PX, WIDTH_PX, film, ring_of_cameras, walk

CONFIG = EstimateConfig(max_moments=24)
TIMES_S = np.arange(0, 4, 0.1)
MIDDLE_WORLD = np.array([0.0, 0.0, 1.0])


def stroll(phase=0.0, start_m=(-0.9, -0.4)):
    """Somebody who walks, turns round, and walks back another way; (40, 17, 3)."""
    half = TIMES_S[:20]
    there = walk(half, start_m, (0.9, 0.3), phase=phase)
    middle = np.array(start_m) + 1.9 * np.array([0.9, 0.3])
    back = walk(half, middle, (-0.5, 0.7), phase=phase + 1.0)
    return np.concatenate([there, back])


def confused(tracks, generator, share=0.08, far_px=80.0):
    """The same with a share of keypoints far off, and of detections with left and right swapped."""
    changed = []
    for track in tracks:
        keypoints = track.keypoints_px.copy()
        bad = generator.random(keypoints.shape[:2]) < share
        keypoints[bad, :2] += generator.normal(0, far_px, (bad.sum(), 2))
        flipped = generator.random(len(keypoints)) < share
        keypoints[flipped] = keypoints[flipped][:, BODY.mirrored]
        changed.append(replace(track, keypoints_px=keypoints))
    return changed


def estimate(tracks, num_views, given=None, config=CONFIG):
    sizes_px = [(WIDTH_PX, HEIGHT_PX)] * num_views
    return estimate_cameras(
        tracks, sizes_px, given or [None] * num_views, config, max_sync_error_s=0.02
    )


def angle_errors_deg(found, cameras):
    """How wrong the angle between every two views is, at the middle of the scene."""
    at_middle = [camera.project(MIDDLE_WORLD[None])[0] for camera in cameras]
    rays = [
        view.camera.normalize(pixel[None]) for view, pixel in zip(found, at_middle, strict=True)
    ]
    relative = found[1].camera.cam_from_world @ found[0].camera.world_from_cam
    middle = triangulate_rays(relative[:3, :3], relative[:3, 3], rays[0], rays[1])[0]
    middle = (found[0].camera.world_from_cam @ np.append(middle, 1))[:3]
    return [
        abs(
            angle_between_views_deg(found[a].camera, found[b].camera, middle)
            - angle_between_views_deg(cameras[a], cameras[b], MIDDLE_WORLD)
        )
        for a, b in combinations(range(len(cameras)), 2)
    ]


def test_four_views_of_one_walker_stand_as_they_do_though_the_detector_errs():
    cameras, generator = ring_of_cameras(4, arc_deg=280, height_m=1.9), np.random.default_rng(0)
    tracks, _ = film([stroll()], cameras, TIMES_S, generator, noise_px=6.0)
    found = estimate(confused(tracks, generator), 4)
    assert max(angle_errors_deg(found, cameras)) < 4
    for view in found:
        assert 4 < view.error_px < 12 and view.spread_deg < 4 and view.num_keypoints > 200
        assert 0.8 < view.camera.intrinsics[0, 0] / 1200 < 1.25


def test_two_people_in_shuffled_views_are_not_mixed():
    cameras, generator = ring_of_cameras(3, arc_deg=180, height_m=1.9), np.random.default_rng(1)
    people = [stroll(), stroll(phase=2.5, start_m=(-0.2, 0.7))[::-1]]
    tracks, _ = film(people, cameras, TIMES_S, generator, noise_px=4.0)
    assert max(angle_errors_deg(estimate(tracks, 3), cameras)) < 4


def test_up_is_up_the_floor_is_at_zero_and_metres_are_about_metres():
    cameras = ring_of_cameras(3, arc_deg=180, height_m=1.9)
    tracks, _ = film([stroll()], cameras, TIMES_S, np.random.default_rng(2), noise_px=3.0)
    for view in estimate(tracks, 3):
        assert pytest.approx(view.camera.centre_world[2], abs=0.4) == 1.9
        assert pytest.approx(np.linalg.norm(view.camera.centre_world[:2]), abs=1.2) == 5.0


def test_given_cameras_stay_and_the_missing_one_joins_their_frame():
    cameras = ring_of_cameras(3, arc_deg=180, height_m=1.9)
    tracks, _ = film([stroll()], cameras, TIMES_S, np.random.default_rng(3), noise_px=3.0)
    found = estimate(tracks, 3, [cameras[0], None, cameras[2]])
    assert found[0].camera is cameras[0] and found[2].camera is cameras[2]
    assert np.linalg.norm(found[1].camera.centre_world - cameras[1].centre_world) < 0.4
    assert found[0].error_px is None and found[1].error_px < 6


def test_someone_at_rest_is_too_little_evidence():
    cameras = ring_of_cameras(3, arc_deg=120)
    still = np.repeat(stroll()[:1], len(TIMES_S), axis=0)
    tracks, _ = film([still], cameras, TIMES_S, np.random.default_rng(4), noise_px=3.0)
    for view in estimate(tracks, 3):
        assert view.camera is None and view.problem[0] == "too_few_moments"


@pytest.mark.parametrize("seed", range(3))
def test_two_views_of_different_people_get_no_cameras(seed):
    cameras, generator = ring_of_cameras(2, arc_deg=140), np.random.default_rng(seed)
    people = [stroll(), stroll(phase=2.0, start_m=(0.3, -0.8))[::-1]]
    seen_by = {0: [0], 1: [1]}
    tracks, _ = film(people, cameras, TIMES_S, generator, noise_px=5.0, seen_by=seen_by)
    assert [view.camera for view in estimate(tracks, 2)] == [None, None]


@pytest.mark.parametrize("late_s", [0.4, 0.7])
def test_two_views_that_are_not_of_one_time_get_no_cameras(late_s):
    cameras = ring_of_cameras(2, arc_deg=140)
    tracks, _ = film([stroll()], cameras, TIMES_S, np.random.default_rng(5), noise_px=5.0)
    late = [replace(track, times_s=track.times_s + late_s * track.view) for track in tracks]
    assert [view.camera for view in estimate(late, 2)] == [None, None]


def test_nobody_and_one_view_are_too_little_evidence():
    assert [view.problem[0] for view in estimate([], 2)] == ["too_few_moments"] * 2
    alone = Track(view=0, times_s=TIMES_S, keypoints_px=np.full((40, 17, 3), 0.9))
    assert [view.camera for view in estimate([alone], 2)] == [None, None]


def test_the_slopes_of_the_adjustment_are_those_of_its_cost():
    generator = np.random.default_rng(0)
    num_kinds = len(BODY.usual_m)
    solution = Solution(
        rotation=np.stack([np.eye(3)] * 2),
        shift_m=generator.normal(0, 0.3, (2, 3)) + np.array([0, 0, 4]),
        log_focal=np.log([900.0, 1100.0]),
        joints_world=generator.normal(0, 0.5, (3, 17, 3)),
        log_bones=np.log(BODY.usual_m) + generator.normal(0, 0.1, (1, num_kinds)),
    )
    seen = Sightings(
        points_px=generator.normal(0, 100, (2, 3, 17, 2)),
        weights=generator.choice([0.0, 0.9], (2, 3, 17)),
        spread_px=np.full((2, 3), 40.0),
        person=np.zeros(3, np.int64),
    )
    priors = Priors(
        log_focal=np.log([1000.0, 1000.0]), focal_deviation=0.3, focal_difference=0.1,
        bone_deviation=0.1, bone_change=0.06,
    )  # fmt: skip
    system = _linearize(solution, seen, BODY, priors)
    for field, slope in (
        ("joints_world", system.joints_slope.reshape(3, 17, 3)),
        ("shift_m", system.shared_slope[:14].reshape(2, 7)[:, 3:6]),
        ("log_focal", system.shared_slope[:14].reshape(2, 7)[:, 6]),
        ("log_bones", system.shared_slope[14:].reshape(1, -1)),
    ):
        values = getattr(solution, field)
        for place in list(np.ndindex(values.shape))[::5]:
            costs = []
            for step in (-1e-5, 1e-5):
                moved = values.copy()
                moved[place] += step
                costs.append(_cost(replace(solution, **{field: moved}), seen, BODY, priors))
            numeric = (costs[1] - costs[0]) / 2e-5
            assert slope[place] == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_bones_pair_left_with_right():
    mirrored = {tuple(sorted(BODY.mirrored[list(ends)])) for ends in BODY.ends}
    assert mirrored == {tuple(sorted(ends)) for ends in BODY.ends}
    with pytest.raises(ValueError, match="17 or 21"):
        bones_of(5)


def at_times(view, times_s):
    return Track(
        view=view, times_s=np.asarray(times_s), keypoints_px=np.zeros((len(times_s), 17, 3))
    )


def test_the_only_person_of_all_views_is_one_also_when_a_track_broke():
    tracks = [at_times(0, TIMES_S), at_times(1, TIMES_S[:15]), at_times(1, TIMES_S[20:] + 0.004)]
    assert is_one_person(tracks, max_sync_error_s=0.02)


@pytest.mark.parametrize(
    "tracks",
    [
        pytest.param(
            [at_times(0, TIMES_S), at_times(1, TIMES_S), at_times(1, TIMES_S[30:])],
            id="one view sees two people at once",
        ),
        pytest.param(
            [at_times(0, TIMES_S[:20]), at_times(1, TIMES_S[20:])],
            id="two views see nobody at the same time",
        ),
        pytest.param([at_times(0, TIMES_S)], id="one view sees people"),
        pytest.param([], id="no view sees anybody"),
    ],
)
def test_where_it_is_not_certain_nobody_is_joined(tracks):
    assert not is_one_person(tracks, max_sync_error_s=0.02)
