"""Moments that look the same are kept once, and pairs that show the same twice too, at a cost that
grows with the crops.
"""

import numpy as np
import pytest

from mining.config import MiningConfig
from mining.identity.fits import AssociateConfig
from mining.pair import pair_capture
from mining.pairing import redundancy
from mining.pairing.redundancy import (
    RedundancyConfig,
    RepeatedPairs,
    find_looks,
    find_near_duplicates,
)
from mining.pairing.score import ScoreConfig
from mining.scaling import simulate_capture
from tests.skeletons import STANDING_M

CONFIG = RedundancyConfig()
same_picture = redundancy._same_picture
SEEN = {"min_confidence": 0.5, "min_joints": 8}


def row(phash, view="a", time_s=0.0, bend=0.0, name=None):
    keypoints = np.column_stack([STANDING_M[:, :2] * 200, np.full(17, 0.9)])
    keypoints[9, 0] += bend
    return {
        "detection_id": name or f"{view}-{time_s}",
        "view_id": view,
        "time_s": time_s,
        "phash": f"{phash:016x}",
        "keypoints_px": keypoints.ravel().tolist(),
    }


def near_duplicates(rows, **seen):
    return find_near_duplicates(rows, CONFIG, max_sync_error_s=0.02, **{**SEEN, **seen})


def test_a_moment_that_looks_as_the_last_one_kept_is_dropped():
    rows = [row(0, time_s=0.0), row(0b11, time_s=0.1), row(0b111111, time_s=0.2)]
    found = near_duplicates(rows)
    assert list(found) == [1] and found[1][0] == "near_duplicate" and "a-0.0" in found[1][1]


def test_a_moment_stays_when_one_view_shows_something_new():
    rows = [row(0, "a", 0.0), row(0, "b", 0.01), row(0, "a", 0.1), row(2**40 - 1, "b", 0.11)]
    assert near_duplicates(rows) == {}


def test_the_same_picture_of_another_pose_stays():
    assert near_duplicates([row(0), row(0, time_s=0.1, bend=120)]) == {}


def test_a_picture_whose_pose_cannot_be_compared_is_no_duplicate():
    rows = [row(0, time_s=0.0), row(0, time_s=0.1)]
    assert len(near_duplicates(rows)) == 1
    assert near_duplicates(rows, min_confidence=0.95) == near_duplicates(rows, min_joints=18) == {}
    assert len(set(find_looks(rows, CONFIG, min_confidence=0.95, min_joints=8).tolist())) == 2


def test_the_settings_of_score_say_which_keypoints_are_seen_wherever_poses_are_compared():
    def mined(confidence, **score):
        unit, detections = simulate_capture(4.0)
        for found in detections:
            points = np.reshape(found["keypoints_px"], (17, 3))
            points[:, 2] = confidence
            found |= {"keypoints_px": points.ravel().tolist(), "phash": f"{0:016x}"}
        config = MiningConfig(
            associate=AssociateConfig(min_keypoint_confidence=0.3),
            redundancy=RedundancyConfig(max_pose_distance=0.05), score=ScoreConfig(**score),
        )  # fmt: skip
        found = pair_capture(unit, detections, config).rows
        duplicates = [one["id"] for one in found["rejects"] if one["stage"] == "crop"]
        return duplicates, [one["pair_id"] for one in (*found["pairs"], *found["rejected_pairs"])]

    known, unknown = mined(0.9), mined(0.4)
    assert mined(0.4, min_keypoint_confidence=0.3) == known
    assert known[0] and not unknown[0] and known[1] != unknown[1]
    assert mined(0.9, min_common_keypoints=18) == unknown


def test_crops_that_look_the_same_share_a_look_however_far_apart_in_time():
    rng = np.random.default_rng(0)
    rows = [row(int(rng.integers(2**63)), time_s=float(t)) for t in range(300)]
    again = [row(int(rows[7]["phash"], 16) ^ 0b1000_0010, time_s=400.0), row(5, view="b")]
    looks = find_looks([*rows, *again], CONFIG, **SEEN)
    assert looks[300] == looks[7]
    assert len(set(looks[:300])) == 300 and looks[301] not in looks[:301]


def test_looks_are_those_of_comparing_all_with_all():
    rng = np.random.default_rng(1)
    leaders = rng.integers(2**63, size=12)
    rows = []
    for t in range(200):
        flips = sum(1 << int(bit) for bit in rng.choice(63, rng.integers(0, 4), replace=False))
        rows.append(row(int(rng.choice(leaders)) ^ flips, time_s=float(t)))
    slow, firsts = [], []
    for k, found in enumerate(rows):
        same = [n for n, f in enumerate(firsts) if same_picture(found, rows[f], CONFIG, **SEEN)]
        slow.append(same[0] if same else len(firsts))
        if not same:
            firsts.append(k)
    np.testing.assert_array_equal(find_looks(rows, CONFIG, **SEEN), slow)


def test_a_crop_is_compared_with_few_others(monkeypatch):
    rng = np.random.default_rng(2)
    compared = []
    monkeypatch.setattr(
        redundancy, "_same_picture", lambda *a, **k: compared.append(1) or same_picture(*a, **k)
    )
    for count in (200, 800):
        compared.clear()
        # one picture with ever another pose: the worst case for the buckets of hashes
        find_looks([row(0, time_s=float(t), bend=40.0 * t) for t in range(count)], CONFIG, **SEEN)
        assert len(compared) <= redundancy.MAX_COMPARED * (CONFIG.max_phash_bits + 1) * count
        compared.clear()
        find_looks(
            [row(int(rng.integers(2**63)), time_s=float(t)) for t in range(count)], CONFIG, **SEEN
        )
        assert len(compared) < count


def test_a_pair_that_repeats_another_is_rejected_with_that_pair():
    repeated = RepeatedPairs(np.array([0, 1, 0, 1, 2]))
    assert repeated.check("cross_view", 0, 1, "first") is None
    reason, detail = repeated.check("cross_view", 3, 2, "second")
    assert reason == "repeated_pair" and "first" in detail
    assert repeated.check("cross_pose", 0, 1, "third") is None  # of another kind
    assert repeated.check("cross_view", 0, 4, "fourth") is None
    assert repeated.check("cross_pose", 0, 2, "fifth")[0] == "same_look"


def test_bounds_of_more_bits_than_there_are_are_refused():
    with pytest.raises(ValueError, match="64"):
        RedundancyConfig(max_phash_bits=64)
