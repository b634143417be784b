"""Candidate pairs of one identity: which of its crops are worth comparing, never all with all.

Cross-view: crops of one instant from two views, at most so many pairs an instant, spread evenly
over view angles. Cross-pose: for each crop a few partners, at time gaps drawn evenly on a
logarithmic scale. So their number grows linearly with the frames. All draws are seeded by crop ids:
the order of input, workers and segments changes nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalog.ids import seed_of
from mining.geometry.instants import group_instants

Array = NDArray[np.float64]
Kind = Literal["cross_view", "cross_pose"]


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """How many pairs are looked at, and how far apart in time and angle they are sought."""

    max_sync_error_s: float = 0.02  # crops of different views this close in time are of one instant
    max_view_pairs_per_time: int = 6  # cross-view pairs of one identity at one instant
    max_target_angle_deg: float = (
        90.0  # view angles are sought evenly from 0 to this; the score is 0 beyond
    )
    pose_partners_per_crop: int = 2  # cross-pose partners sought for each crop
    min_time_gap_s: float = 0.2
    max_time_gap_s: float = 4.0
    pose_across_views: bool = False  # whether cross-pose partners may come from another view


class Candidate(NamedTuple):
    """A pair to score: its kind, and two indices into the crops; a comes first by time, view and
    id.
    """

    kind: Kind
    index_a: int
    index_b: int


def choose_candidates(
    times_s: Array,
    views: NDArray[np.int64],
    crop_ids: Sequence[str],
    config: CandidateConfig,
    *,
    view_angles_deg: Array | None = None,
    synchronized: bool = True,
) -> list[Candidate]:
    """Choose the candidate pairs of one identity from its crops: `times_s`, `views` and `crop_ids`,
    each (N,).

    `view_angles_deg` (V, V) holds the usual angle between two views as seen from the body, NaN
    where unknown; without it pairs of views are drawn at random. Views that are not `synchronized`
    give no cross-view pairs, and no cross-pose pairs across views. Every unordered pair comes once.
    """
    order = sorted(range(len(crop_ids)), key=lambda i: (times_s[i], views[i], crop_ids[i]))
    times = np.asarray(times_s, np.float64)[order]
    sorted_views = np.asarray(views, np.int64)[order]
    ids = [crop_ids[i] for i in order]
    chosen = [
        *_cross_pose(times, sorted_views, ids, config, synchronized and config.pose_across_views)
    ]
    if synchronized:
        chosen += _cross_view(times, sorted_views, ids, config, view_angles_deg)
    unique = sorted(set(chosen), key=lambda candidate: (candidate[1:], candidate.kind))
    return [Candidate(kind, order[a], order[b]) for kind, a, b in unique]


def _cross_view(
    times_s: Array,
    views: NDArray[np.int64],
    ids: Sequence[str],
    config: CandidateConfig,
    angles_deg: Array | None,
) -> list[Candidate]:
    """Pairs of each instant: nearest to angles that are spread evenly, shifted a little in every
    instant.
    """
    by_instant: dict[int, dict[int, int]] = defaultdict(dict)
    for i, instant in enumerate(group_instants([times_s], config.max_sync_error_s)[1][0]):
        by_instant[int(instant)].setdefault(int(views[i]), i)
    chosen: list[Candidate] = []
    for rows in by_instant.values():
        pairs = [(min(i, j), max(i, j)) for i, j in combinations(rows.values(), 2)]
        if len(pairs) > config.max_view_pairs_per_time:
            generator = np.random.default_rng(seed_of("cross_view", ids[min(rows.values())]))
            pairs = [pairs[k] for k in generator.permutation(len(pairs))]  # breaks ties
            pairs = _spread(pairs, views, angles_deg, float(generator.random()), config)
        chosen += [Candidate("cross_view", i, j) for i, j in pairs]
    return chosen


def _spread(
    pairs: list[tuple[int, int]],
    views: NDArray[np.int64],
    angles_deg: Array | None,
    shift: float,
    config: CandidateConfig,
) -> list[tuple[int, int]]:
    count = config.max_view_pairs_per_time
    if angles_deg is None:
        return pairs[:count]
    angles = np.array([angles_deg[views[i], views[j]] for i, j in pairs])
    angles = np.where(np.isnan(angles), np.inf, angles)
    chosen: list[tuple[int, int]] = []
    for target_deg in (np.arange(count) + shift) / count * config.max_target_angle_deg:
        nearest = int(np.argmin(np.abs(angles - target_deg)))
        chosen.append(pairs.pop(nearest))
        angles = np.delete(angles, nearest)
    return chosen


def _cross_pose(
    times_s: Array,
    views: NDArray[np.int64],
    ids: Sequence[str],
    config: CandidateConfig,
    across_views: bool,
) -> list[Candidate]:
    groups = (
        [np.arange(len(ids))]
        if across_views
        else [np.flatnonzero(views == view) for view in np.unique(views)]
    )
    low, high = np.log(config.min_time_gap_s), np.log(config.max_time_gap_s)
    chosen: list[Candidate] = []
    for rows in groups:
        group_s = times_s[rows]
        for i in rows.tolist():
            generator = np.random.default_rng(seed_of("cross_pose", ids[i]))
            for gap_s in np.exp(generator.uniform(low, high, config.pose_partners_per_crop)):
                sign = 1 if generator.random() < 0.5 else -1
                tie = generator.random()
                partner = _nearest(group_s, times_s[i], sign * gap_s, tie, config)
                if partner is None:  # towards the ends there is room on one side only
                    partner = _nearest(group_s, times_s[i], -sign * gap_s, tie, config)
                if partner is not None:
                    a, b = sorted((i, int(rows[partner])))
                    chosen.append(Candidate("cross_pose", a, b))
    return chosen


def _nearest(
    times_s: Array, time_s: float, gap_s: float, tie: float, config: CandidateConfig
) -> int | None:
    """Place of the crop nearest to a gap (negative: earlier), one of several of one time by `tie`
    (0 to 1); None where its own gap is out of bounds or closer to half or double what was drawn.
    """
    target_s = time_s + gap_s
    right = int(np.searchsorted(times_s, target_s))
    near = [k for k in (right - 1, right) if 0 <= k < len(times_s)]
    found_s = times_s[min(near, key=lambda k: abs(times_s[k] - target_s))]
    first, last = np.searchsorted(times_s, found_s), np.searchsorted(times_s, found_s, side="right")
    actual_s = (found_s - time_s) * np.sign(gap_s)
    if not config.min_time_gap_s <= actual_s + 1e-9 <= config.max_time_gap_s + 2e-9:
        return None
    if not 0.7 < actual_s / abs(gap_s) < 1.4:
        return None
    return int(first + tie * (last - first))
