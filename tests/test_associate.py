"""Identities are found by geometry, in whatever order tracks come; doubtful ones are rejected."""

import numpy as np
import pytest

from mining.geometry.cameras import triangulate
from mining.identity.associate import associate
from mining.identity.fits import AssociateConfig, Fits, Track
from mining.identity.joints import triangulate_identity
from tests.skeletons import film, ring_of_cameras, turned, walk

CONFIG = AssociateConfig()
TIMES_S = np.arange(0, 2, 0.1)
SYNC_S = 0.02


def people_of(tracks, cameras):
    """The number of each track's identity, -1 where rejected; the identities; the rejects."""
    groups, rejects = associate(Fits(tracks, cameras, CONFIG, SYNC_S, "body"))
    numbers = np.full(len(tracks), -1)
    for number, members in enumerate(groups):
        numbers[list(members)] = number
    identities = [
        triangulate_identity(tracks, sorted(members), cameras, CONFIG, max_sync_error_s=SYNC_S)
        for members in groups
    ]
    return numbers, identities, rejects


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
    numbers, _, rejects = people_of(tracks, ring_of_cameras(4))
    assert not rejects
    assert numbers.tolist() == partition(who)


def test_joints_and_errors_are_those_of_the_truth():
    people = crowd()
    tracks, who = film(people, ring_of_cameras(4), TIMES_S, np.random.default_rng(0), noise_px=2.0)
    _, identities, _ = people_of(tracks, ring_of_cameras(4))
    for identity in identities:
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
    numbers, _, rejects = people_of(tracks, ring_of_cameras(4))
    assert numbers.tolist() == partition(who) and not rejects


def test_who_is_seen_in_one_view_stays_a_single_view_identity():
    tracks, who = film(
        crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(4), seen_by={2: [1]}
    )
    numbers, identities, _ = people_of(tracks, ring_of_cameras(4))
    assert numbers.tolist() == partition(who)
    alone = identities[numbers[who.index(2)]]
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
    numbers, _, rejects = people_of(broken, ring_of_cameras(4))
    assert numbers.tolist() == partition(labels) and not rejects


def test_two_tracks_that_fit_equally_well_are_rejected_not_guessed():
    cameras = ring_of_cameras(2, arc_deg=120)
    person = walk(TIMES_S, (0, 0), (0, 0), heading_deg=0)
    tracks, _ = film([person], cameras, TIMES_S, np.random.default_rng(6), noise_px=4.0)
    twin = Track(
        view=tracks[0].view,
        times_s=TIMES_S,
        keypoints_px=tracks[0].keypoints_px + np.array([1, 1, 0]),
    )
    _, identities, rejects = people_of([*tracks, twin], cameras)
    assert {reason for reason, _ in rejects.values()} == {"ambiguous"}
    assert all(len(identity.tracks) == 1 for identity in identities)


def test_exchangeable_people_are_rejected_not_guessed():
    cameras = ring_of_cameras(2, arc_deg=180, height_m=1.0)  # they face each other: depth is free
    people = [
        walk(TIMES_S, (0, 0), (0, 0), heading_deg=90),
        walk(TIMES_S, (0.02, 0), (0, 0), heading_deg=90),
    ]
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(1), noise_px=6.0)
    _, identities, rejects = people_of(tracks, cameras)
    assert {reason for reason, _ in rejects.values()} == {"ambiguous"}
    for identity in identities:
        assert len({who[track] for track in identity.tracks}) == 1


def test_a_third_view_settles_what_two_cannot():
    people = [
        walk(TIMES_S, (0, 0), (0, 0), heading_deg=0),
        walk(TIMES_S, (0.9, 0.0), (0, 0), heading_deg=0),
    ]
    cameras = ring_of_cameras(3, height_m=0.9)
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(7), noise_px=4.0)
    numbers, _, rejects = people_of(tracks, cameras)
    assert numbers.tolist() == partition(who) and not rejects


def test_views_without_calibration_give_single_view_identities():
    tracks, _ = film(crowd(), ring_of_cameras(3), TIMES_S, np.random.default_rng(0))
    numbers, _, rejects = people_of(tracks, [None, None, None])
    assert numbers.tolist() == list(range(9)) and not rejects


def test_one_view_without_calibration_does_not_disturb_the_others():
    tracks, who = film(crowd(), ring_of_cameras(3), TIMES_S, np.random.default_rng(0))
    cameras = [None, *ring_of_cameras(3)[1:]]
    numbers, identities, _ = people_of(tracks, cameras)
    for i, track in enumerate(tracks):
        members = identities[numbers[i]].tracks
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
    numbers, identities, _ = people_of(late, cameras)
    assert numbers.tolist() == partition(who)
    assert all(len(identity.times_s) == len(TIMES_S) for identity in identities)


def test_the_order_of_tracks_does_not_change_who_is_who():
    tracks, _ = film(crowd(), ring_of_cameras(4), TIMES_S, np.random.default_rng(2), noise_px=10.0)
    first, _, _ = people_of(tracks, ring_of_cameras(4))
    order = np.random.default_rng(0).permutation(len(tracks))
    second, _, _ = people_of([tracks[i] for i in order], ring_of_cameras(4))
    assert partition(first[order].tolist()) == second.tolist()


def test_hands_are_joined_by_the_gates_of_hands():
    generator = np.random.default_rng(0)
    hands = [
        generator.normal(0, 0.045, (1, 21, 3))
        + [x, 0.1, 1.1]
        + 0.05 * np.sin(TIMES_S + x)[:, None, None]
        for x in (-0.3, 0.0, 0.3)
    ]
    cameras = ring_of_cameras(4, radius_m=1.5)
    tracks, who = film(hands, cameras, TIMES_S, generator, noise_px=2.0)
    joined, rejects = associate(Fits(tracks, cameras, CONFIG, SYNC_S, "left_hand"))
    assert {frozenset(who[i] for i in members) for members in joined} == {
        frozenset([person]) for person in range(3)
    }
    assert len(joined) == 3 and not rejects
    as_bodies, _ = associate(Fits(tracks, cameras, CONFIG, SYNC_S, "body"))
    assert all(len(members) == 1 for members in as_bodies)  # no body is that small


def test_cameras_a_degree_off_still_tell_people_apart():
    generator = np.random.default_rng(5)
    tracks, who = film(crowd(), ring_of_cameras(4), TIMES_S, generator, noise_px=4.0)
    cameras = [turned(camera, 1.0, generator) for camera in ring_of_cameras(4)]
    numbers, _, rejects = people_of(tracks, cameras)
    assert not rejects and numbers.tolist() == partition(who)


def test_errors_are_those_of_the_plain_triangulation():
    cameras = ring_of_cameras(3)
    tracks, _ = film(crowd()[:1], cameras, TIMES_S, np.random.default_rng(2), noise_px=5.0)
    fits = Fits(tracks, cameras, CONFIG, SYNC_S, "body")
    found = fits.errors(range(3), np.arange(len(TIMES_S)))
    points = np.stack([track.keypoints_px for track in tracks])
    weights = np.where(points[..., 2] >= 0.5, points[..., 2], 0.0)
    _, errors_px = triangulate(
        [cameras[track.view] for track in tracks],
        points[..., :2].reshape(3, -1, 2),
        weights.reshape(3, -1),
    )
    for row, track in enumerate(tracks):
        seen = track.keypoints_px[..., 2] >= 0.5
        shown = zip(track.keypoints_px, seen, strict=True)
        sizes = [np.ptp(keypoints[k, :2], axis=0).max() for keypoints, k in shown]
        spare = np.sqrt(2 * (weights > 0).sum(axis=0) / (2 * (weights > 0).sum(axis=0) - 3))
        plain = errors_px.reshape(weights.shape)[row] * spare / np.array(sizes)[:, None]
        np.testing.assert_allclose(found[row], np.nanmedian(plain, axis=1), rtol=0.05, atol=2e-4)


def test_edges():
    assert people_of([], [])[1] == []
    unseen = Track(view=0, times_s=TIMES_S, keypoints_px=np.full((20, 17, 3), np.nan))
    assert people_of([unseen], ring_of_cameras(1))[0].tolist() == [0]
    other = Track(view=1, times_s=TIMES_S, keypoints_px=unseen.keypoints_px)
    assert people_of([unseen, other], ring_of_cameras(2))[0].tolist() == [0, 1]


def one_walker(num_views, wrong_views):
    """A walker whose right wrist some views take for a place half a metre away, always the same in
    space; the joints found and the true ones.
    """
    cameras = ring_of_cameras(num_views)
    tracks, _ = film(crowd()[:1], cameras, TIMES_S, np.random.default_rng(0), noise_px=2.0)
    truth = crowd()[0]
    tracks = sorted(tracks, key=lambda track: track.view)
    elsewhere = truth[:, 10] + (0.0, 0.0, 0.6)
    for view in wrong_views:
        at = np.searchsorted(TIMES_S, tracks[view].times_s - 1e-9)
        tracks[view].keypoints_px[:, 10, :2] = cameras[view].project(elsewhere[at])
    found = triangulate_identity(tracks, range(num_views), cameras, CONFIG, max_sync_error_s=SYNC_S)
    return found, truth


def test_a_joint_is_where_most_views_see_it():
    found, truth = one_walker(5, [1])
    known = np.isfinite(found.joints_world[:, 10, 0])
    assert known.mean() >= 0.9  # views lose keypoints, and then too few may be left
    errors_m = np.linalg.norm(found.joints_world[:, 10] - truth[:, 10], axis=1)[known]
    assert errors_m.max() < 0.05


@pytest.mark.parametrize(("num_views", "wrong_views"), [(2, [1]), (3, [1]), (4, [1, 2])])
def test_a_joint_is_disputed_where_too_few_views_agree(num_views, wrong_views):
    found, _ = one_walker(num_views, wrong_views)
    assert found.disputed[:, 10].mean() >= 0.8  # lost by a view, it is not
    assert np.isnan(found.joints_world[found.disputed]).all()
    assert np.isfinite(found.joints_world[:, 5]).mean() > 0.9
