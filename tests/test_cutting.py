"""Tracks that change person are cut where they change; what lies between is dropped."""

import numpy as np

from mining.identity.cutting import follow, tell_apart
from mining.identity.fits import AssociateConfig, Track
from tests.skeletons import detect, film, ring_of_cameras, walk

TIMES_S = np.arange(0, 3, 0.1)
SWAP = 17  # of 30 times


def two_people():
    return [
        walk(TIMES_S, (-0.8, 0.0), (0.6, 0.1)),
        walk(TIMES_S, (0.8, 0.7), (-0.6, 0), phase=2.0, height_m=1.72),
    ]


def swapped(num_cameras, seed=0):
    """Tracks of two people, the truth of each detection; in view 0 the two tracks change person."""
    people, cameras = two_people(), ring_of_cameras(num_cameras, arc_deg=300)
    generator = np.random.default_rng(seed)
    tracks, who = [], []
    for view, camera in enumerate(cameras):
        for person in (0, 1):
            truth = np.full(len(TIMES_S), person)
            if view == 0:
                truth[SWAP:] = 1 - person
            joints = np.stack([people[one][t] for t, one in enumerate(truth)])
            keypoints = detect(camera, joints, generator, 3.0, missing=0.05)
            tracks.append(Track(view=view, times_s=TIMES_S, keypoints_px=keypoints))
            who.append(truth)
    return tracks, who, cameras


def persons_of(found, who):
    """By identity, the detections' truth."""
    return [
        np.concatenate([who[found.pieces[k].track][list(found.pieces[k].rows)] for k in members])
        for members in found.identities
    ]


def test_an_exchange_in_one_of_four_views_is_cut_and_mended():
    tracks, who, cameras = swapped(4)
    found = tell_apart(tracks, cameras, AssociateConfig(), max_sync_error_s=0.02)
    persons = persons_of(found, who)
    assert not found.rejects and len(persons) == 2
    assert all(len(set(truth)) == 1 for truth in persons)
    assert sum(map(len, persons)) >= 0.97 * 8 * len(TIMES_S)
    assert len(found.pieces) == 10  # the two tracks of view 0 in two pieces each
    assert all(track in (0, 1) and abs(row - SWAP) <= 2 for track, row in found.dropped)


def test_an_exchange_in_one_of_two_views_makes_no_impure_identity():
    tracks, who, cameras = swapped(2)
    found = tell_apart(tracks, cameras, AssociateConfig(), max_sync_error_s=0.02)
    persons = persons_of(found, who)
    assert persons and all(len(set(truth)) == 1 for truth in persons)


def test_tracks_that_keep_their_person_stay_whole():
    cameras = ring_of_cameras(4)
    tracks, _ = film(two_people(), cameras, TIMES_S, np.random.default_rng(1), 4.0)
    found = tell_apart(tracks, cameras, AssociateConfig(), max_sync_error_s=0.02)
    assert [piece.track for piece in found.pieces] == list(range(8))
    assert len(found.identities) == 2 and not found.rejects
    assert len(found.dropped) <= 1


def test_a_single_detection_of_somebody_else_is_dropped():
    people, cameras = two_people(), ring_of_cameras(4)
    tracks, who = film(people, cameras, TIMES_S, np.random.default_rng(2))
    track = tracks[3]
    keypoints = track.keypoints_px.copy()
    stranger = people[1 - who[3]][9:10]
    keypoints[9] = detect(cameras[track.view], stranger, np.random.default_rng(3))[0]
    tracks[3] = Track(view=track.view, times_s=TIMES_S, keypoints_px=keypoints)
    found = tell_apart(tracks, cameras, AssociateConfig(), max_sync_error_s=0.02)
    assert found.dropped[3, 9][0] == "outlier"
    assert {row for _, row in found.dropped} == {9} and len(found.dropped) <= 2
    assert len(found.identities) == 2 and len(found.pieces) == 8


def test_the_cheapest_labels_are_those_of_trying_all():
    for seed in range(20):
        costs = np.random.default_rng(seed).uniform(0, 2, (3, 6))
        labels = follow(costs, 0.8)
        every = np.stack(np.meshgrid(*[np.arange(3)] * 6, indexing="ij"), -1).reshape(-1, 6)
        total = costs[every, np.arange(6)].sum(axis=1) + 0.8 * (np.diff(every) != 0).sum(axis=1)
        found = costs[labels, np.arange(6)].sum() + 0.8 * (np.diff(labels) != 0).sum()
        assert np.isclose(found, total.min())
