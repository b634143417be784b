"""Candidates grow linearly with frames, cover angles and gaps evenly, and depend on nothing but the
crops.
"""

import numpy as np
import pytest

from mining.candidates import CandidateConfig, choose_candidates

CONFIG = CandidateConfig()


def crops(num_views, num_times, fps=10.0, jitter_s=0.0):
    """Times, views and ids of one identity that every view sees at every time."""
    generator = np.random.default_rng(0)
    views = np.tile(np.arange(num_views), num_times)
    times_s = np.repeat(np.arange(num_times) / fps, num_views) + generator.uniform(
        0, jitter_s, len(views)
    )
    return times_s, views, [f"crop{t}-{v}" for t in range(num_times) for v in range(num_views)]


def ring_angles(num_views):
    steps = np.abs(np.arange(num_views)[:, None] - np.arange(num_views)[None])
    return np.minimum(steps, num_views - steps) * 360.0 / num_views


def test_candidates_grow_linearly_with_frames():
    counts = {"cross_view": [], "cross_pose": []}
    for scale in (1, 2, 4, 8):
        times_s, views, ids = crops(8, 50 * scale)
        found = choose_candidates(times_s, views, ids, CONFIG, view_angles_deg=ring_angles(8))
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
            assert views[a] != views[b] and gap_s <= CONFIG.max_sync_error_s
        else:
            assert views[a] == views[b]
            assert CONFIG.min_time_gap_s - 1e-6 <= gap_s <= CONFIG.max_time_gap_s + 1e-6


def test_the_order_of_crops_changes_nothing():
    times_s, views, ids = crops(8, 40)
    expected = choose_candidates(times_s, views, ids, CONFIG, view_angles_deg=ring_angles(8))
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = [ids[i] for i in order]
    found = choose_candidates(
        times_s[order], views[order], shuffled, CONFIG, view_angles_deg=ring_angles(8)
    )
    assert [(c.kind, ids[c.index_a], ids[c.index_b]) for c in expected] == [
        (c.kind, shuffled[c.index_a], shuffled[c.index_b]) for c in found
    ]


def test_a_crop_more_elsewhere_leaves_other_cross_view_pairs_alone():
    times_s, views, ids = crops(8, 10)
    whole = choose_candidates(times_s, views, ids, CONFIG, view_angles_deg=ring_angles(8))
    part = choose_candidates(
        times_s[:40], views[:40], ids[:40], CONFIG, view_angles_deg=ring_angles(8)
    )
    early = [c for c in whole if c.kind == "cross_view" and c.index_b < 40]
    assert early == [c for c in part if c.kind == "cross_view"]


def test_view_angles_are_covered_evenly():
    times_s, views, ids = crops(36, 30)
    angles = ring_angles(36)
    found = choose_candidates(times_s, views, ids, CONFIG, view_angles_deg=angles)
    chosen = [angles[views[c.index_a], views[c.index_b]] for c in found if c.kind == "cross_view"]
    shares = np.histogram(chosen, bins=[0, 15, 30, 45, 60, 75, 91])[0] / len(chosen)
    assert shares.min() > 0.1 and max(chosen) <= 90


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
