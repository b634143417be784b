"""Candidates grow linearly with frames, cover angles and gaps evenly, and depend on nothing but the
crops.
"""

from functools import partial

import numpy as np
import pytest

from mining.geometry.pose import pose_distance
from mining.pairing import candidates
from mining.pairing.candidates import CandidateConfig
from tests.skeletons import STANDING_M

SYNC_S = 0.02
CONFIG = CandidateConfig()
SEEN = {"min_confidence": 0.5, "min_joints": 8}
choose_candidates = partial(candidates.choose_candidates, max_sync_error_s=SYNC_S, **SEEN)


def crops(num_views, num_times, fps=10.0, jitter_s=0.0):
    """Times, views and ids of one identity that every view sees at every time."""
    generator = np.random.default_rng(0)
    views = np.tile(np.arange(num_views), num_times)
    times_s = np.repeat(np.arange(num_times) / fps, num_views) + generator.uniform(
        0, jitter_s, len(views)
    )
    return times_s, views, [f"crop{t}-{v}" for t in range(num_times) for v in range(num_views)]


def ring(num_views, views):
    """Unit vectors (N, 3) to cameras at even angles on a ring, for crops of these views."""
    angles = np.asarray(views) * 2 * np.pi / num_views
    return np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=1)


def angle_deg(num_views, view_a, view_b):
    steps = abs(int(view_a) - int(view_b))
    return min(steps, num_views - steps) * 360.0 / num_views


def test_candidates_grow_linearly_with_frames():
    counts = {"cross_view": [], "cross_pose": []}
    for scale in (1, 2, 4, 8):
        times_s, views, ids = crops(8, 50 * scale)
        found = choose_candidates(times_s, views, ids, CONFIG, to_camera=ring(8, views))
        for kind in counts:
            counts[kind].append(sum(candidate.kind == kind for candidate in found))
    assert counts["cross_view"] == [6 * 50 * scale for scale in (1, 2, 4, 8)]
    per_crop = np.array(counts["cross_pose"]) / (8 * 50 * np.array([1, 2, 4, 8]))
    assert (per_crop <= CONFIG.pose_partners_per_crop).all()
    assert per_crop.max() / per_crop.min() < 1.1


def test_pairs_are_unique_and_keep_their_promises():
    times_s, views, ids = crops(4, 60, jitter_s=0.01)
    found = choose_candidates(times_s, views, ids, CONFIG)
    assert len({(c.kind, frozenset(c[1:])) for c in found}) == len(found)
    for kind, a, b in found:
        gap_s = abs(times_s[a] - times_s[b])
        if kind == "cross_view":
            assert views[a] != views[b] and gap_s <= SYNC_S
        else:
            assert views[a] == views[b]
            assert CONFIG.min_time_gap_s - 1e-6 <= gap_s <= CONFIG.max_time_gap_s + 1e-6


def test_the_order_of_crops_changes_nothing():
    times_s, views, ids = crops(8, 40)
    expected = choose_candidates(times_s, views, ids, CONFIG, to_camera=ring(8, views))
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = [ids[i] for i in order]
    found = choose_candidates(
        times_s[order], views[order], shuffled, CONFIG, to_camera=ring(8, views[order])
    )
    assert [(c.kind, ids[c.index_a], ids[c.index_b]) for c in expected] == [
        (c.kind, shuffled[c.index_a], shuffled[c.index_b]) for c in found
    ]


def test_a_crop_more_elsewhere_leaves_other_cross_view_pairs_alone():
    times_s, views, ids = crops(8, 10)
    whole = choose_candidates(times_s, views, ids, CONFIG, to_camera=ring(8, views))
    part = choose_candidates(
        times_s[:40], views[:40], ids[:40], CONFIG, to_camera=ring(8, views[:40])
    )
    early = [c for c in whole if c.kind == "cross_view" and c.index_b < 40]
    assert early == [c for c in part if c.kind == "cross_view"]


def test_view_angles_are_covered_evenly():
    times_s, views, ids = crops(36, 30)
    found = choose_candidates(times_s, views, ids, CONFIG, to_camera=ring(36, views))
    chosen = [
        angle_deg(36, views[c.index_a], views[c.index_b]) for c in found if c.kind == "cross_view"
    ]
    shares = np.histogram(chosen, bins=[10, 25, 45, 65, 91])[0] / len(chosen)
    assert shares.min() > 0.12 and shares.max() < 0.35
    assert min(chosen) >= 10 - 1e-6 and max(chosen) <= 90 + 1e-6


def test_views_known_to_be_too_far_apart_are_not_looked_at():
    times_s, views, ids = crops(2, 5)
    opposite = ring(2, views)
    found = choose_candidates(times_s, views, ids, CONFIG, to_camera=opposite)
    assert all(c.kind == "cross_pose" for c in found)
    unknown = np.full_like(opposite, np.nan)
    found = choose_candidates(times_s, views, ids, CONFIG, to_camera=unknown)
    assert sum(c.kind == "cross_view" for c in found) == 5


def poses(num_times):
    """Keypoints (T, 17, 3) of somebody who mostly moves a little and seldom much."""
    generator = np.random.default_rng(3)
    base = STANDING_M[:, :2] * 200
    strength = 0.8 * generator.random((num_times, 1, 1)) ** 4
    points = base + strength * base.std() * generator.normal(size=(num_times, 17, 2))
    return np.concatenate([points, np.full((num_times, 17, 1), 0.9)], axis=2)


def test_pose_distances_are_covered_evenly_where_there_are_any():
    times_s, views, ids = crops(1, 1000)
    keypoints_px = poses(1000)
    edges = np.geomspace(CONFIG.min_target_distance, CONFIG.max_target_distance, 5)
    shares = {}
    for name, known in (("without", None), ("with", keypoints_px)):
        found = choose_candidates(times_s, views, ids, CONFIG, keypoints_px=known)
        distances = [pose_distance(keypoints_px[a], keypoints_px[b], **SEEN) for _, a, b in found]
        shares[name] = np.histogram(distances, bins=edges)[0] / len(distances)
    assert shares["with"].sum() > 1.2 * shares["without"].sum()  # fewer of the same pose
    evenness = {name: found.min() / found.max() for name, found in shares.items()}
    assert evenness["with"] > 0.6 and evenness["without"] < 0.4


def test_keypoints_count_as_seen_from_the_confidence_that_is_given():
    times_s, views, ids = crops(1, 200)
    faint = poses(200) * [1, 1, 0.5]  # confidence 0.45

    def found(keypoints_px, **seen):
        return choose_candidates(times_s, views, ids, CONFIG, keypoints_px=keypoints_px, **seen)

    assert found(faint, min_confidence=0.4) == found(poses(200))
    assert found(faint) == found(poses(200), min_joints=18) == found(None)


def test_somebody_who_never_moves_still_has_candidates_to_be_rejected():
    times_s, views, ids = crops(1, 50)
    still = np.repeat(poses(1), 50, axis=0)
    found = choose_candidates(times_s, views, ids, CONFIG, keypoints_px=still)
    assert 40 <= len(found) <= 50


def test_the_pairs_of_one_identity_are_bounded_and_spread_over_time():
    times_s, views, ids = crops(8, 200)
    bounded = CandidateConfig(max_pairs_per_identity=300)
    found = choose_candidates(times_s, views, ids, bounded, to_camera=ring(8, views))
    everything = set(choose_candidates(times_s, views, ids, CONFIG, to_camera=ring(8, views)))
    for kind in ("cross_view", "cross_pose"):
        chosen = [c for c in found if c.kind == kind]
        assert len(chosen) == 300 and set(chosen) <= everything
        shares = np.histogram([times_s[c.index_a] for c in chosen], bins=10, range=(0, 20))[0] / 300
        assert shares.min() > 0.05 and shares.max() < 0.2
    angles = [angle_deg(8, views[a], views[b]) for kind, a, b in found if kind == "cross_view"]
    assert set(np.round(angles)) == {45, 90}


@pytest.mark.parametrize(
    "setting",
    [{"min_time_gap_s": 5.0}, {"min_target_distance": 0.0}, {"max_target_angle_deg": 5.0}],
)
def test_ranges_that_hold_nothing_are_refused(setting):
    with pytest.raises(ValueError, match="below"):
        CandidateConfig(**setting)


def test_all_pairs_are_taken_where_they_are_few():
    times_s, views, ids = crops(3, 5)
    found = choose_candidates(times_s, views, ids, CONFIG)
    assert sum(c.kind == "cross_view" for c in found) == 3 * 5


def test_time_gaps_are_spread_evenly_on_a_logarithmic_scale():
    times_s, views, ids = crops(1, 3000, fps=50.0)
    found = choose_candidates(times_s, views, ids, CONFIG)
    gaps_s = [times_s[c.index_b] - times_s[c.index_a] for c in found]
    edges = np.geomspace(CONFIG.min_time_gap_s, CONFIG.max_time_gap_s, 6)
    shares = np.histogram(gaps_s, bins=edges)[0] / len(gaps_s)
    np.testing.assert_allclose(shares, 0.2, atol=0.04)


def test_unsynchronized_views_give_no_cross_view_pairs():
    times_s, views, ids = crops(3, 30)
    across = CandidateConfig(pose_across_views=True)
    for config in (CONFIG, across):
        found = choose_candidates(times_s, views, ids, config, synchronized=False)
        assert found and all(views[c.index_a] == views[c.index_b] for c in found)
    found = choose_candidates(times_s, views, ids, across)
    assert any(c.kind == "cross_pose" and views[c.index_a] != views[c.index_b] for c in found)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_crops_give_no_pairs(count):
    assert choose_candidates(np.zeros(count), np.zeros(count, int), ["a"][:count], CONFIG) == []


def test_crops_too_close_in_time_give_no_pairs():
    times_s = np.array([0.0, 0.1, 100.0])
    assert choose_candidates(times_s, np.zeros(3, int), ["a", "b", "c"], CONFIG) == []
