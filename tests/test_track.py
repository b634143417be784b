"""Tracks stay with one person: through crossings, gaps and low sample rates; where that cannot be
told, they end.
"""

import numpy as np
import pytest

from mining.identity.track import TrackConfig, link_tracks
from tests.skeletons import boxes_around, detect, ring_of_cameras, walk

CONFIG = TrackConfig()


def filmed(people, times_s, seed=0, drop=0.0, noise_px=3.0):
    """Detections of people in one view, shuffled within each frame: times, boxes, keypoints, and
    who each is.
    """
    generator = np.random.default_rng(seed)
    camera = ring_of_cameras(1, radius_m=7.0)[0]
    rows = []
    for person, joints in enumerate(people):
        keypoints = detect(camera, joints, generator, noise_px)
        for time_s, one, box in zip(times_s, keypoints, boxes_around(keypoints), strict=True):
            if generator.random() >= drop:
                rows.append((time_s, generator.random(), person, one, box))
    rows.sort(key=lambda row: row[:2])
    return (
        np.array([row[0] for row in rows]),
        np.array([row[4] for row in rows]),
        np.array([row[3] for row in rows]),
        np.array([row[2] for row in rows]),
    )


def impure_share(numbers, who):
    """Share of tracked detections that are not of their track's main person."""
    kept = numbers >= 0
    wrong = sum(
        (who[numbers == n] != np.bincount(who[numbers == n]).argmax()).sum()
        for n in np.unique(numbers[kept])
    )
    return wrong / kept.sum()


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_a_walker_is_one_track_at_any_rate(fps):
    times_s = np.arange(0, 3, 1 / fps)
    people = [walk(times_s, (0, -1.5), (0, 1.2))]
    numbers = link_tracks(*filmed(people, times_s)[:3], CONFIG)
    assert set(numbers) == {0}


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("seed", range(4))
def test_people_who_cross_are_never_mixed(fps, seed):
    times_s = np.arange(0, 3, 1 / fps)
    people = [
        walk(times_s, (0.0, -1.5), (0, 1.0)),
        walk(times_s, (0.5, 1.5), (0, -1.0), phase=2.0),
        walk(times_s, (-1.0, -1.0), (0.2, 0.3), phase=1.0),
    ]
    times, boxes, keypoints, who = filmed(people, times_s, seed)
    numbers = link_tracks(times, boxes, keypoints, CONFIG)
    assert impure_share(numbers, who) == 0
    assert (numbers >= 0).mean() > 0.8


def test_a_track_survives_frames_without_detection():
    times_s = np.arange(0, 4, 0.1)
    times, boxes, keypoints, who = filmed(
        [walk(times_s, (0, -1.5), (0, 0.8)), walk(times_s, (1.5, 1.5), (0, -0.2))],
        times_s,
        seed=1,
        drop=0.3,
    )
    numbers = link_tracks(times, boxes, keypoints, CONFIG)
    assert [len(set(numbers[who == person])) for person in (0, 1)] == [1, 1]


def test_a_long_gap_starts_a_new_track():
    times_s = np.concatenate([np.arange(0, 1, 0.1), np.arange(2.5, 3.5, 0.1)])
    numbers = link_tracks(*filmed([walk(times_s, velocity_m_per_s=(0, 0.1))], times_s)[:3], CONFIG)
    assert numbers.tolist() == [0] * 10 + [1] * 10


def test_a_jump_to_another_place_is_cut():
    times_s = np.arange(0, 2, 0.1)
    joints = walk(times_s, velocity_m_per_s=(0, 0.0))
    joints[10:, :, 1] += 2.5
    numbers = link_tracks(*filmed([joints], times_s)[:3], CONFIG)
    assert numbers.tolist() == [0] * 10 + [1] * 10


def test_look_alikes_in_one_place_are_cut_rather_than_guessed():
    times_s = np.arange(0, 2, 0.1)
    apart = np.abs(times_s - 1.0)[:, None, None] * np.array(
        [0.0, 1.0, 0.0]
    )  # meet at 1 s, then go back
    still = walk(times_s, velocity_m_per_s=(0, 0), heading_deg=0)
    times, boxes, keypoints, who = filmed([still + apart, still - apart], times_s, noise_px=1.0)
    numbers = link_tracks(times, boxes, keypoints, CONFIG)
    assert impure_share(numbers[times < 0.9], who[times < 0.9]) == 0
    assert not set(numbers[times < 0.85]) & set(numbers[times > 1.15]) - {-1}


def test_one_person_detected_twice_is_tracked_once():
    times_s = np.arange(0, 1, 0.1)
    times, boxes, keypoints, _ = filmed([walk(times_s)], times_s)
    worse = keypoints + np.array([4.0, 4.0, -0.2])
    numbers = link_tracks(
        np.repeat(times, 2),
        np.stack([boxes, boxes + 3], axis=1).reshape(-1, 4),
        np.stack([keypoints, worse], axis=1).reshape(-1, 17, 3),
        CONFIG,
    )
    assert numbers.tolist() == [0, -1] * 10


def test_short_tracks_are_dropped():
    times_s = np.arange(0, 0.2, 0.1)
    detections = filmed([walk(times_s)], times_s)[:3]
    assert link_tracks(*detections, CONFIG).tolist() == [-1, -1]
    assert link_tracks(*detections, TrackConfig(min_track_frames=2)).tolist() == [0, 0]


def test_edges():
    assert link_tracks(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 17, 3)), CONFIG).tolist() == []
    nothing = link_tracks(
        np.arange(3.0), np.full((3, 4), np.nan), np.full((3, 17, 3), np.nan), CONFIG
    )
    assert nothing.tolist() == [-1, -1, -1]
    boxes = np.tile([0.0, 0.0, 50.0, 100.0], (3, 1))
    unseen = link_tracks(np.arange(3) / 10, boxes, np.full((3, 17, 3), np.nan), CONFIG)
    assert unseen.tolist() == [0, 0, 0]  # boxes alone are enough
    with pytest.raises(ValueError, match="sorted by time"):
        link_tracks(np.array([1.0, 0.0]), boxes[:2], np.zeros((2, 17, 3)), CONFIG)
