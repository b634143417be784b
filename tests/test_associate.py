"""Identities are found by geometry, in whatever order tracks come; doubtful ones are rejected."""

import numpy as np
import pytest

from mining.geometry.associate import AssociateConfig, Track, associate
from tests.skeletons import detect, film, ring_of_cameras, walk

CONFIG = AssociateConfig()
TIMES_S = np.arange(0, 2, 0.1)


def partition(labels):
    """Label numbers renamed in the order of first appearance."""
    names = {}
    return [names.setdefault(label, len(names)) for label in labels]


def crowd():
    """Three people who walk past each other."""
    return [
        walk(TIMES_S, (-0.8, 0.0), (0.8, 0.1)),
        walk(TIMES_S, (0.8, 0.5), (-0.8, 0), phase=2.0),
        walk(TIMES_S, (0.3, -1.0), (0.0, 0.6), phase=4.0, height_m=1.55),
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise_px", [2.0, 12.0])
def test_people_are_told_apart_in_shuffled_views(seed, noise_px):
    tracks, who = film(crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(seed), noise_px)
    found = associate(tracks, ring_of_cameras(4), CONFIG)
    assert not found.rejects
    assert found.identity_of_track.tolist() == partition(who)


def test_joints_and_errors_are_those_of_the_truth():
    people = crowd()
    tracks, who = film(people, ring_of_cameras(4), TIMES_S, np.random.default_rng(0), noise_px=2.0)
    found = associate(tracks, ring_of_cameras(4), CONFIG)
    for identity in found.identities:
        truth = people[who[identity.tracks[0]]]
        assert identity.joints_world.shape == (20, 17, 3)
        assert np.isfinite(identity.joints_world).mean() > 0.95
        assert np.nanmax(np.linalg.norm(identity.joints_world - truth, axis=2)) < 0.06
        assert 1.0 < identity.reprojection_error_px < 3.0


def test_a_bystander_in_two_of_four_views_is_one_identity():
    people = [*crowd()[:1], walk(TIMES_S, (1.5, 1.2), (0, 0.0), heading_deg=30)]
    tracks, who = film(
        people, ring_of_cameras(4), TIMES_S, np.random.default_rng(3), seen_by={1: [0, 1]}
    )
    found = associate(tracks, ring_of_cameras(4), CONFIG)
    assert found.identity_of_track.tolist() == partition(who) and not found.rejects


def test_who_is_seen_in_one_view_stays_a_single_view_identity():
    tracks, who = film(
        crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(4), seen_by={2: [1]}
    )
    found = associate(tracks, ring_of_cameras(4), CONFIG)
    assert found.identity_of_track.tolist() == partition(who)
    alone = found.identities[found.identity_of_track[who.index(2)]]
    assert alone.reprojection_error_px is None and np.isnan(alone.joints_world).all()
    np.testing.assert_allclose(alone.times_s, TIMES_S)


def test_broken_tracks_of_one_view_join_one_identity():
    tracks, who = film(crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(5))
    broken, labels = [], []
    for track, person in zip(tracks, who, strict=True):
        parts = [slice(0, 9), slice(11, 20)] if track.view == 1 else [slice(0, 20)]
        for part in parts:
            broken.append(
                Track(
                    view=track.view,
                    times_s=track.times_s[part],
                    keypoints_px=track.keypoints_px[part],
                )
            )
            labels.append(person)
    found = associate(broken, ring_of_cameras(4), CONFIG)
    assert found.identity_of_track.tolist() == partition(labels) and not found.rejects


def test_two_tracks_that_fit_equally_well_are_rejected_not_guessed():
    cameras = ring_of_cameras(2, arc_deg=120)
    person = walk(TIMES_S, (0, 0), (0, 0), heading_deg=0)
    tracks, _ = film([person], cameras, TIMES_S, np.random.default_rng(6), noise_px=4.0)
    twin = Track(
        view=tracks[0].view,
        times_s=TIMES_S,
        keypoints_px=tracks[0].keypoints_px + np.array([1, 1, 0]),
    )
    found = associate([*tracks, twin], cameras, CONFIG)
    assert {reason for reason, _ in found.rejects.values()} == {"ambiguous"}
    assert all(len(identity.tracks) == 1 for identity in found.identities)


def test_exchangeable_people_are_rejected_not_guessed():
    cameras = ring_of_cameras(2, arc_deg=180, height_m=1.0)  # they face each other: depth is free
    people = [
        walk(TIMES_S, (0, 0), (0, 0), heading_deg=90),
        walk(TIMES_S, (0.02, 0), (0, 0), heading_deg=90),
    ]
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(1), noise_px=6.0)
    found = associate(tracks, cameras, CONFIG)
    assert {reason for reason, _ in found.rejects.values()} == {"ambiguous"}
    for identity in found.identities:
        assert len({who[track] for track in identity.tracks}) == 1


def test_a_third_view_settles_what_two_cannot():
    people = [
        walk(TIMES_S, (0, 0), (0, 0), heading_deg=0),
        walk(TIMES_S, (0.9, 0.0), (0, 0), heading_deg=0),
    ]
    cameras = ring_of_cameras(3, height_m=0.9)
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(7), noise_px=4.0)
    found = associate(tracks, cameras, CONFIG)
    assert found.identity_of_track.tolist() == partition(who) and not found.rejects


def test_a_track_that_changes_person_joins_nobody():
    people = crowd()[:2]
    cameras = ring_of_cameras(4)
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(8), seen_by={1: [1, 2, 3]})
    mixed = np.concatenate([people[0][:10], people[1][10:]])
    k = next(i for i, track in enumerate(tracks) if track.view == 0)
    keypoints = detect(cameras[0], mixed, np.random.default_rng(9))
    tracks[k] = Track(view=0, times_s=TIMES_S, keypoints_px=keypoints)
    found = associate(tracks, cameras, CONFIG)
    assert found.identity_of_track[k] == -1 and found.rejects[k][0] == "mixed_people"
    others = [i for i in range(len(tracks)) if i != k]
    assert partition(found.identity_of_track[others].tolist()) == partition(
        [who[i] for i in others]
    )


def test_views_without_calibration_give_single_view_identities():
    tracks, _ = film(crowd(), ring_of_cameras(3), TIMES_S, np.random.default_rng(0))
    found = associate(tracks, [None, None, None], CONFIG)
    assert found.identity_of_track.tolist() == list(range(9)) and not found.rejects


def test_one_view_without_calibration_does_not_disturb_the_others():
    tracks, who = film(crowd(), ring_of_cameras(3), TIMES_S, np.random.default_rng(0))
    cameras = [None, *ring_of_cameras(3)[1:]]
    found = associate(tracks, cameras, CONFIG)
    for i, track in enumerate(tracks):
        members = found.identities[found.identity_of_track[i]].tracks
        assert len(members) == (1 if track.view == 0 else 2)
        assert len({who[member] for member in members}) == 1


def test_views_sampled_a_little_apart_in_time_still_match():
    people = crowd()
    cameras = ring_of_cameras(4)
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(1))
    late = [
        Track(view=t.view, times_s=t.times_s + 0.004 * t.view, keypoints_px=t.keypoints_px)
        for t in tracks
    ]
    found = associate(late, cameras, CONFIG)
    assert found.identity_of_track.tolist() == partition(who)
    assert all(len(identity.times_s) == len(TIMES_S) for identity in found.identities)


def test_the_order_of_tracks_does_not_change_who_is_who():
    tracks, _ = film(crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(2), noise_px=10.0)
    first = associate(tracks, ring_of_cameras(4), CONFIG)
    order = np.random.default_rng(0).permutation(len(tracks))
    second = associate([tracks[i] for i in order], ring_of_cameras(4), CONFIG)
    assert partition(first.identity_of_track[order].tolist()) == second.identity_of_track.tolist()


def test_edges():
    assert associate([], [], CONFIG).identities == ()
    unseen = Track(view=0, times_s=TIMES_S, keypoints_px=np.full((20, 17, 3), np.nan))
    alone = associate([unseen], ring_of_cameras(1), CONFIG)
    assert alone.identity_of_track.tolist() == [0]
    two = associate(
        [unseen, Track(view=1, times_s=TIMES_S, keypoints_px=unseen.keypoints_px)],
        ring_of_cameras(2),
        CONFIG,
    )
    assert two.identity_of_track.tolist() == [0, 1]
