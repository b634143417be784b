"""Candidate pairs of one identity: which of its crops are worth comparing, never all with all.

Cross-view: crops of one instant from two views, at most so many pairs an instant, nearest to view
angles that are spread evenly and shifted a little in every instant. Cross-pose: for each crop a few
partners. Several are drawn, at time gaps even on a logarithmic scale, and those are taken whose gap
and pose distance the identity has fewest of so far, so that both are covered evenly. At last each
kind is thinned to a bound for each identity, evenly over time. So the number of candidates, and the
work to find them, grow linearly with the frames. All draws are seeded by crop ids: the order of
input, workers and segments changes nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalog.ids import seed_of
from mining.geometry.instants import group_instants
from mining.geometry.pose import pose_distances

Array = NDArray[np.float64]
Kind = Literal["cross_view", "cross_pose"]

GAP_BINS, DISTANCE_BINS = 4, 4  # within the bounds, even on logarithmic scales


@dataclass(frozen=True, kw_only=True)
class CandidateConfig:
    """How many pairs are looked at, and how far apart in time, angle and pose they are sought.

    What a given pair may have is set in `score.*`: for pairs further apart in angle, time or
    pose, raise both.
    """

    max_view_pairs_per_time: int = 6  # cross-view pairs of one identity at one instant
    min_target_angle_deg: float = 10.0  # view angles are sought evenly from here ...
    # ... to here, and none known to lie outside; score.max_view_angle_deg bounds it too
    max_target_angle_deg: float = 90.0
    pose_partners_per_crop: int = 2  # cross-pose partners sought for each crop
    pose_draws_per_partner: int = 3  # of which the one is taken that covers most
    min_time_gap_s: float = 0.2  # cross-pose partners are sought from so far in time ...
    max_time_gap_s: float = 4.0  # ... to so far; score.max_time_gap_s bounds it too
    min_target_distance: float = 0.1  # pose distances are sought evenly from here ...
    # ... to here, others only where there is nothing else; score.max_pose_distance bounds it too
    max_target_distance: float = 0.8
    pose_across_views: bool = False  # whether cross-pose partners may come from another view
    max_pairs_per_identity: int = 20_000  # of each kind and part

    def __post_init__(self) -> None:
        """Raise ValueError for ranges that hold nothing."""
        for low, high in (
            ("min_target_angle_deg", "max_target_angle_deg"),
            ("min_time_gap_s", "max_time_gap_s"),
            ("min_target_distance", "max_target_distance"),
        ):
            least, most = getattr(self, low), getattr(self, high)
            positive = least > 0 or low == "min_target_angle_deg"
            if not (positive and 0 <= least < most):
                raise ValueError(f"{low} must be above 0 and below {high}, got {least} and {most}")


class Candidate(NamedTuple):
    """A pair to score: its kind, and two indices into the crops; a comes first by time, view and
    id.
    """

    kind: Kind
    index_a: int
    index_b: int


@dataclass(frozen=True)
class _Crops:
    """The crops in order of time, view and id; arrays as `choose_candidates` takes them."""

    times_s: Array
    views: NDArray[np.int64]
    ids: list[str]
    to_camera: Array | None
    keypoints_px: Array | None


def choose_candidates(
    times_s: Array,
    views: NDArray[np.int64],
    crop_ids: Sequence[str],
    config: CandidateConfig,
    *,
    max_sync_error_s: float,
    min_confidence: float,
    min_joints: int,
    to_camera: Array | None = None,
    keypoints_px: Array | None = None,
    synchronized: bool = True,
) -> list[Candidate]:
    """Choose the candidate pairs of one identity from its crops: `times_s`, `views` and `crop_ids`,
    each (N,).

    Crops of different views within `max_sync_error_s` are of one instant. `to_camera` (N, 3) are
    unit vectors to each crop's camera, NaN where unknown; without them pairs of views are drawn at
    random. `keypoints_px` (N, K, 3) give the pose distances, of pairs in which `min_joints` are
    seen in both crops with more than `min_confidence`; without them cross-pose pairs are even in
    time alone. Views that are not `synchronized` give no cross-view pairs, and no cross-pose
    pairs across views. Every unordered pair comes once.
    """
    order = sorted(range(len(crop_ids)), key=lambda i: (times_s[i], views[i], crop_ids[i]))
    crops = _Crops(
        np.asarray(times_s, np.float64)[order],
        np.asarray(views, np.int64)[order],
        [crop_ids[i] for i in order],
        None if to_camera is None else np.asarray(to_camera)[order],
        None if keypoints_px is None else np.asarray(keypoints_px)[order],
    )
    cross_pose = _cross_pose(
        crops, config, synchronized, min_confidence=min_confidence, min_joints=min_joints
    )
    chosen = _thin(cross_pose, crops, config)
    if synchronized:
        chosen += _thin(_cross_view(crops, config, max_sync_error_s), crops, config)
    chosen.sort(key=lambda candidate: (candidate[1:], candidate.kind))
    return [Candidate(kind, order[a], order[b]) for kind, a, b in chosen]


def _thin(candidates: list[Candidate], crops: _Crops, config: CandidateConfig) -> list[Candidate]:
    """At most `max_pairs_per_identity` of one kind: cut in the order of time into as many runs of
    equal length, one drawn from each.
    """
    count = config.max_pairs_per_identity
    if len(candidates) <= count:
        return candidates
    candidates = sorted(candidates, key=lambda candidate: candidate[1:])
    edges = np.arange(count + 1) * len(candidates) // count
    generator = np.random.default_rng(seed_of("thin", candidates[0].kind, crops.ids[0]))
    places = edges[:-1] + np.floor(generator.random(count) * np.diff(edges)).astype(int)
    return [candidates[k] for k in places]


def _cross_view(crops: _Crops, config: CandidateConfig, max_sync_error_s: float) -> list[Candidate]:
    by_instant: dict[int, dict[int, int]] = defaultdict(dict)
    for i, instant in enumerate(group_instants([crops.times_s], max_sync_error_s)[1][0]):
        by_instant[int(instant)].setdefault(int(crops.views[i]), i)
    chosen: list[Candidate] = []
    for seen in by_instant.values():
        rows = np.array(sorted(seen.values()))
        first, second = np.triu_indices(len(rows), 1)
        angles_deg = _angles_deg(crops.to_camera, rows)[first, second]
        useful = ~(  # unknown angles stay
            (angles_deg < config.min_target_angle_deg) | (angles_deg > config.max_target_angle_deg)
        )
        pairs = np.stack([rows[first], rows[second]], axis=1)[useful]
        if len(pairs) > config.max_view_pairs_per_time:
            generator = np.random.default_rng(seed_of("cross_view", crops.ids[rows[0]]))
            pairs = pairs[_spread(angles_deg[useful], generator, config)]
        chosen += [Candidate("cross_view", i, j) for i, j in pairs.tolist()]
    return chosen


def _angles_deg(to_camera: Array | None, rows: NDArray[np.int64]) -> Array:
    """Angles between the views of crops (M,), (M, M) in degrees; NaN where unknown."""
    if to_camera is None:
        return np.full((len(rows), len(rows)), np.nan)
    cosines = to_camera[rows] @ to_camera[rows].T
    return np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))


def _spread(
    angles_deg: Array, generator: np.random.Generator, config: CandidateConfig
) -> list[int]:
    """Places of the pairs nearest to angles spread evenly over the range, unknown ones last."""
    count = config.max_view_pairs_per_time
    low, high = config.min_target_angle_deg, config.max_target_angle_deg
    left = generator.permutation(len(angles_deg))  # breaks ties
    shift = float(generator.random())
    known = np.where(np.isnan(angles_deg), np.inf, angles_deg)
    chosen: list[int] = []
    for target_deg in low + (np.arange(count) + shift) / count * (high - low):
        nearest = int(np.argmin(np.abs(known[left] - target_deg)))
        chosen.append(int(left[nearest]))
        left = np.delete(left, nearest)
    return chosen


def _cross_pose(
    crops: _Crops,
    config: CandidateConfig,
    synchronized: bool,
    *,
    min_confidence: float,
    min_joints: int,
) -> list[Candidate]:
    if config.pose_across_views and synchronized:
        groups = [np.arange(len(crops.ids))]
    else:
        groups = [np.flatnonzero(crops.views == view) for view in np.unique(crops.views)]
    rows, partners = _draw_partners(crops, groups, config)
    if not len(rows):
        return []
    known = np.full(len(rows), np.nan)
    if crops.keypoints_px is not None:
        known = pose_distances(
            crops.keypoints_px[rows], crops.keypoints_px[partners],
            min_confidence=min_confidence, min_joints=min_joints,
        )  # fmt: skip
        known[crops.views[rows] != crops.views[partners]] = np.nan  # not comparable in the image
    gaps_s = np.abs(crops.times_s[partners] - crops.times_s[rows])
    gap_bins = _bins(gaps_s, config.min_time_gap_s, config.max_time_gap_s, GAP_BINS)
    bins = _bins(known, config.min_target_distance, config.max_target_distance, DISTANCE_BINS)
    bins = np.where(np.isnan(known), DISTANCE_BINS, bins)
    counts = np.zeros((GAP_BINS, DISTANCE_BINS + 1), np.int64)
    chosen: set[Candidate] = set()
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        draws = list(range(start, end))
        wanted = [k for k in draws if bins[k] >= 0] or draws[:1]  # same pose, or a wrong one
        for _ in range(min(config.pose_partners_per_crop, len(wanted))):
            k = min(wanted, key=lambda k: int(counts[gap_bins[k], bins[k]]))
            wanted.remove(k)
            counts[gap_bins[k], bins[k]] += 1
            a, b = sorted((int(rows[k]), int(partners[k])))
            chosen.add(Candidate("cross_pose", a, b))
    return list(chosen)


def _draw_partners(
    crops: _Crops, groups: Sequence[NDArray[np.int64]], config: CandidateConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw partners of every crop within its group: crops (M,) in ascending order, each as often as
    it has partners, and the partners (M,).
    """
    low, high = np.log(config.min_time_gap_s), np.log(config.max_time_gap_s)
    num_draws = config.pose_partners_per_crop * config.pose_draws_per_partner
    found: list[tuple[int, int]] = []
    for rows in groups:
        group_s = crops.times_s[rows]
        for i in rows.tolist():
            generator = np.random.default_rng(seed_of("cross_pose", crops.ids[i]))
            gaps_s = np.exp(generator.uniform(low, high, num_draws))
            signs = np.where(generator.random(num_draws) < 0.5, 1.0, -1.0)
            ties = generator.random(num_draws)
            time_s = crops.times_s[i]
            places = _nearest(group_s, time_s, signs * gaps_s, ties, config)
            # towards the ends there is room on one side only
            other = _nearest(group_s, time_s, -signs * gaps_s, ties, config)
            places = np.where(places >= 0, places, other)
            unique = dict.fromkeys(places[places >= 0].tolist())
            found += [(i, int(rows[place])) for place in unique]
    found.sort(key=lambda pair: pair[0])  # stable: the draws of a crop stay in their order
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _nearest(
    times_s: Array, time_s: float, gaps_s: Array, ties: Array, config: CandidateConfig
) -> NDArray[np.int64]:
    """Places (D,) of the crops nearest to gaps (D,) (negative: earlier), one of several of one time
    by `ties` (0 to 1); -1 where its own gap is out of bounds or closer to half or double what was
    drawn.
    """
    targets_s = time_s + gaps_s
    right = np.minimum(np.searchsorted(times_s, targets_s), len(times_s) - 1)
    left = np.maximum(right - 1, 0)
    nearer = np.abs(times_s[left] - targets_s) <= np.abs(times_s[right] - targets_s)
    found_s = np.where(nearer, times_s[left], times_s[right])
    first, last = np.searchsorted(times_s, found_s), np.searchsorted(times_s, found_s, side="right")
    actual_s = (found_s - time_s) * np.sign(gaps_s)
    share = actual_s / np.abs(gaps_s)
    usable = (actual_s + 1e-9 >= config.min_time_gap_s) & (share > 0.7) & (share < 1.4)
    usable &= actual_s <= config.max_time_gap_s + 1e-9
    return np.where(usable, (first + ties * (last - first)).astype(np.int64), -1)


def _bins(values: Array, low: float, high: float, count: int) -> NDArray[np.int64]:
    """The bin of each value, even on a logarithmic scale from low to high; -1 outside."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.log(values / low) / np.log(high / low)
        bins = np.floor(np.nan_to_num(share, nan=-1.0, posinf=2.0, neginf=-1.0) * count + 1e-6)
    inside = (bins >= 0) & (bins <= count)
    return np.where(inside, np.minimum(bins, count - 1), -1).astype(np.int64)
