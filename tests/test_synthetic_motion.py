"""People of synthetic captures move as said: paths cross and nobody is touched, standing feet stay,
hands change, and each camera's clock shows the true state at its own time.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mining.synthetic.config import SyntheticConfig, quality_scenes, training_scenes
from mining.synthetic.paths import APART_M, crossing_loops, crossings, nearest_m
from mining.synthetic.plan import Plan
from mining.synthetic.reader import SyntheticReader, view_uri
from mining.synthetic.scene import Scene

CROSSING = SyntheticConfig(
    seed=4, people_per_capture=3, num_views=3, num_frames=24, fps=8.0, motion="crossing",
    background="static", image_px=(160,),
)  # fmt: skip
SKEWED = replace(CROSSING, clock="skewed", dropped_share=0.2)


@pytest.fixture(scope="module")
def scene():
    return Scene(CROSSING, 0)


@pytest.fixture(scope="module")
def skewed():
    return Scene(SKEWED, 0)


@pytest.mark.parametrize("num_people", [2, 3, 4])
def test_paths_cross_and_people_keep_their_distance(num_people):
    for seed in range(3):
        rngs = [np.random.default_rng([seed, person]) for person in range(num_people)]
        loops = crossing_loops(rngs, 6.0, 0.3)
        assert crossings(loops) >= num_people * (num_people - 1)  # twice for every two people
        for number, loop in enumerate(loops):
            for other in loops[:number]:
                assert nearest_m(loop.at, other.at, 24.0) > APART_M - 0.05


def test_walking_is_along_the_path_and_counts_its_length():
    [loop] = crossing_loops([np.random.default_rng(3)], 6.0, 0.0)
    for time_s in (0.0, 1.3, 4.4):
        step = loop.at(time_s + 1e-4) - loop.at(time_s)
        heading = loop.heading_rad(time_s)
        assert step @ [np.cos(heading), np.sin(heading)] > 0.9999 * np.linalg.norm(step)
    fine = loop.at(np.linspace(0, 7.5, 20_000))
    length_m = np.linalg.norm(np.diff(fine, axis=0), axis=1).sum()
    assert loop.walked_m(7.5) == pytest.approx(length_m, abs=2e-3)


def test_nobody_touches_anybody(scene):
    standing = Scene(replace(training_scenes(), num_views=1), 3)
    for place, frames in ((scene, range(0, 24, 3)), (standing, range(4))):
        for frame in frames:
            surfaces = [place.vertices_world(person, frame)[::5] for person in range(3)]
            trees = [cKDTree(surface) for surface in surfaces]
            for a in range(3):
                for b in range(a):
                    near_m, _ = trees[a].query(surfaces[b], distance_upper_bound=0.05)
                    assert np.isinf(near_m).all()


def test_people_pass_before_each_other_in_the_images(scene):
    hidden = np.array(
        [
            [scene.visibility(person, "body", view, frame)[0] for frame in range(0, 24, 4)]
            for view in range(2)
            for person in range(3)
        ]
    )
    assert (hidden.max(axis=1) > 0.3).sum() >= 2 and np.median(hidden) < 0.1


def test_feet_that_stand_hardly_slide():
    fast = Scene(replace(CROSSING, fps=30.0, num_frames=30), 0)
    slid, walked = [], []
    for person in range(3):
        ankles = np.stack([fast.joints_world(person, frame)[15:17] for frame in range(30)])
        middles = np.stack(
            [fast.joints_world(person, frame)[11:13].mean(axis=0) for frame in range(30)]
        )
        steps_m = np.linalg.norm(np.diff(ankles[..., :2], axis=0), axis=2)
        slid += steps_m.min(axis=1).tolist()  # the foot that stands is the slower one
        walked += np.linalg.norm(np.diff(middles[:, :2], axis=0), axis=1).tolist()
    assert np.median(slid) < 0.25 * np.median(walked)


def test_motion_is_smooth_and_hands_change(scene):
    for person in range(3):
        trunk = np.stack([scene.joints_world(person, f)[[5, 6, 11, 12]] for f in range(24)])
        steps_m = np.linalg.norm(np.diff(trunk.mean(axis=1), axis=0), axis=1)
        assert 0.02 < np.median(steps_m) * CROSSING.fps < 2.0 and steps_m.max() < 2.2 / CROSSING.fps
        hands = np.stack([scene.joints_world(person, f, "right_hand") for f in range(24)])
        reach_m = np.linalg.norm(hands[:, 12] - hands[:, 0], axis=1)  # closes and opens
        assert np.ptp(reach_m) > 0.02


def test_people_in_uniform_wear_the_same_and_others_do_not():
    def torso_colours(wardrobe):
        config = replace(CROSSING, wardrobe=wardrobe, image_px=(256,))
        dressed = Scene(config, 1)
        image, pixels = dressed.render(0, 0)[0], dressed.truth(0, 0)
        return np.stack(
            [
                image[(pixels.person == person) & (pixels.part == 1)].mean(axis=0)
                for person in range(3)
            ]
        )

    uniform, varied = (np.ptp(torso_colours(kind), axis=0).max() for kind in ("uniform", "varied"))
    assert uniform < 40 and varied > 2 * uniform


def test_each_camera_has_its_own_clock(skewed):
    offsets_s = [clock.offset_s for clock in skewed.clocks]
    assert offsets_s[0] == 0 and 0 < max(offsets_s) <= SKEWED.max_offset_s
    assert len({clock.fps for clock in skewed.clocks}) == 3
    for view, clock in enumerate(skewed.clocks):
        assert clock.times_s[0] == clock.offset_s and len(clock.times_s) < SKEWED.num_frames
        steps = np.diff(clock.times_s) * clock.fps
        np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
        info = SyntheticReader().probe(view_uri(SKEWED, 0, view))
        assert (info.fps, info.num_frames) == (clock.fps, len(clock.times_s))


def test_a_frame_shows_the_state_at_its_own_time(scene, skewed):
    """Two frames of different cameras differ by no more than the time between them allows."""
    for view in (1, 2):
        for frame in (2, 9):
            time_s = skewed.clocks[view].times_s[frame]
            other = int(np.abs(scene.clocks[0].times_s - time_s).argmin())
            apart_s = abs(scene.clocks[0].times_s[other] - time_s)
            hips = skewed.joints_world(0, frame, view=view)[11:13].mean(axis=0)
            there = scene.joints_world(0, other)[11:13].mean(axis=0)
            assert np.linalg.norm(hips - there) <= 2.5 * apart_s + 1e-9
            _, people = skewed.render(view, frame)
            [body] = [p for p in people if p.part == "body" and p.identity == skewed.people[0]]
            pixels = skewed.cameras[view].project(skewed.joints_world(0, frame, view=view))
            np.testing.assert_allclose(body.keypoints_px[:, :2], pixels, atol=1e-3)


def test_a_reader_of_a_skewed_view_counts_from_its_own_first_frame(skewed):
    clock = skewed.clocks[2]
    frames = list(SyntheticReader().frames(view_uri(SKEWED, 0, 2), [0.0, 0.6]))
    assert frames[0].time_s == 0.0
    own = clock.times_s - clock.offset_s
    assert frames[1].time_s == own[frames[1].index]
    assert abs(frames[1].time_s - 0.6) == np.abs(own - 0.6).min()


def test_the_same_seed_gives_the_same_capture_and_another_another():
    first, again, other = Plan(CROSSING, 0), Plan(CROSSING, 0), Plan(replace(CROSSING, seed=5), 0)
    assert np.array_equal(first.state(1, 1.7)[0], again.state(1, 1.7)[0])
    assert not np.array_equal(first.state(1, 1.7)[0], other.state(1, 1.7)[0])
    assert not set(first.people) & set(other.people)


def test_named_scenes_are_what_they_promise():
    quality, training = quality_scenes(), training_scenes()
    quality.check()
    training.check()
    assert quality.people_per_capture >= 3 and quality.num_views == 6
    assert quality.motion == "crossing" and quality.background == "static"
    assert training.people_per_capture >= 3 and training.background == "per_image"
