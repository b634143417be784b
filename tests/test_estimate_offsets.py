"""Offsets from motion: found where people move in ways of their own, and refused, with a reason,
where the motion could mean several.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mining.calibration.estimate_offsets import Offsets, estimate_offsets
from mining.geometry.cameras import Camera
from mining.identity.fits import Track
from mining.sync import SyncConfig
from tests.skeletons import STANDING_M, detect, ring_of_cameras, walk

Array = NDArray[np.float64]
Person = Callable[[Array], Array]  # joints (T, 17, 3) at times on the capture's clock
CONFIG = SyncConfig(max_offset_s=3.0)
RATES = (30.0, 25.0, 29.97)
LOOSE = np.array([0.0] * 5 + [0.02] * 2 + [0.1] * 2 + [0.2] * 2 + [0.02] * 2 + [0.1] * 4)  # metres


def restless(seed: int, place_m: Sequence[float] = (0.0, 0.0)) -> Person:
    """Somebody on one spot whose limbs move by smooth chance, in a way of their own."""
    generator = np.random.default_rng(seed)
    rates, phases = generator.uniform(0.2, 1.8, (6, 17, 3)), generator.uniform(0, 7, (6, 17, 3))

    def joints(times_s: Array) -> Array:
        waves = np.sin(2 * np.pi * rates * times_s[:, None, None, None] + phases).mean(axis=1)
        moved = STANDING_M[:, [2, 0, 1]] + waves * 1.5 * LOOSE[:, None]
        return moved + np.array([*place_m, 0.0])

    return joints


def filmed(
    people: Sequence[Person],
    cameras: Sequence[Camera],
    offsets_s: Sequence[float],
    length_s: float = 6.0,
) -> list[Track]:
    """Each view's tracks on its own clock; the view's frame at 0 is taken at its offset."""
    generator = np.random.default_rng(7)
    tracks = []
    for view, (camera, offset_s) in enumerate(zip(cameras, offsets_s, strict=True)):
        own_s = np.arange(0, length_s, 1 / RATES[view % len(RATES)])
        for k in generator.permutation(len(people)):
            keypoints = detect(camera, people[k](own_s + offset_s), generator, missing=0.02)
            tracks.append(Track(view=view, times_s=own_s, keypoints_px=keypoints))
    return tracks


def assert_right(found: Offsets, offsets_s: Sequence[float], within_s: float) -> None:
    truth_s = np.array(offsets_s) - offsets_s[0]
    assert found.reasons == (None,) * len(offsets_s)
    assert np.abs(found.offsets_s - truth_s).max() < within_s
    assert found.errors_s.max() <= CONFIG.max_sync_error_s


@pytest.mark.parametrize("with_cameras", [False, True])
def test_offsets_are_found_to_a_fraction_of_a_frame(with_cameras: bool) -> None:
    cameras = ring_of_cameras(3)
    offsets_s = (0.0, 0.4137, -1.283)
    tracks = filmed([restless(1)], cameras, offsets_s)
    found = estimate_offsets(tracks, 3, CONFIG, cameras if with_cameras else None)
    assert_right(found, offsets_s, within_s=0.008)


def test_several_people_are_matched_by_their_motion() -> None:
    cameras = ring_of_cameras(2, arc_deg=120)
    people = [restless(1, (-0.6, 0.3)), restless(2, (0.6, -0.3)), restless(3, (0.0, 0.9))]
    offsets_s = (0.0, -0.52)
    assert_right(estimate_offsets(filmed(people, cameras, offsets_s), 2, CONFIG), offsets_s, 0.008)


def test_a_gait_that_repeats_itself_is_ambiguous() -> None:
    cameras = ring_of_cameras(2, arc_deg=120)

    def walker(times_s: Array) -> Array:
        return walk(times_s, (-2.0, 0.0), (0.5, 0.0))

    found = estimate_offsets(filmed([walker], cameras, (0.0, 0.3)), 2, CONFIG)
    assert np.isnan(found.offsets_s).all()
    assert any("another lag is nearly as likely" in (reason or "") for reason in found.reasons)


@pytest.mark.parametrize("seed", range(4))
def test_people_who_are_not_the_same_give_no_offset(seed: int) -> None:
    cameras = ring_of_cameras(2, arc_deg=120)
    left = filmed([restless(10 + seed)], cameras, (0.0, 0.0))
    right = filmed([restless(20 + seed)], cameras, (0.0, 0.0))
    mixed = [t for t in left if t.view == 0] + [t for t in right if t.view == 1]
    found = estimate_offsets(mixed, 2, CONFIG)
    assert np.isnan(found.offsets_s).all() and all(found.reasons)


def test_nobody_moving_gives_no_offset() -> None:
    cameras = ring_of_cameras(2, arc_deg=120)

    def statue(times_s: Array) -> Array:
        return np.repeat(STANDING_M[None, :, [2, 0, 1]], len(times_s), axis=0)

    found = estimate_offsets(filmed([statue], cameras, (0.0, 0.3)), 2, CONFIG)
    assert np.isnan(found.offsets_s).all() and all(found.reasons)


def test_a_view_that_sees_nobody_costs_only_itself() -> None:
    cameras = ring_of_cameras(3)
    offsets_s = (0.0, 0.4137, -1.283)
    tracks = [t for t in filmed([restless(1)], cameras, offsets_s) if t.view != 1]
    found = estimate_offsets(tracks, 3, CONFIG)
    assert np.isnan(found.offsets_s[1]) and "nobody is seen" in (found.reasons[1] or "")
    assert found.offsets_s[2] - found.offsets_s[0] == pytest.approx(-1.283, abs=0.01)
