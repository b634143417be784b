"""Identities: tracks of different views joined by geometry, one person each, never by order and never by guess.

A set of tracks fits when all of them, triangulated together, reproject close to what was detected. A time that n
views see gives 2n measurements for 3 unknowns, so 2n - 3 constraints: a set scores its constraints times how far its
error stays below the gate. That is why three views that agree beat two that agree by chance, as any two people do
that share an epipolar plane. Sets are grown from every pair of tracks that fits, then picked best first. Every rival
set is then forced in turn: where the picks that follow are nearly as good, the tracks that would change company are
rejected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mining.cameras import Camera, triangulate
from mining.instants import group_instants

Array = NDArray[np.float64]
TrackSet = frozenset[int]

NUM_JOINTS = 17


@dataclass(frozen=True, kw_only=True)
class AssociateConfig:
    """Gates of association. Errors are shares of a person's size in the image, the longer side of their keypoints'
    bounds, times sqrt(2n / (2n - 3)) for n views, which makes two views and many comparable."""

    max_sync_error_s: float = 0.02  # detections of different views this close are of one instant
    min_keypoint_confidence: float = 0.5  # keypoints below it are not triangulated
    min_keypoints: int = 6  # seen in two views, for a time to count
    min_common_times: int = 3  # for two tracks to be compared
    max_error: float = 0.14  # footage of Pose2Sim: 0.02 to 0.11 for the same person, 0.16 and more for others
    error_quantile: float = 0.75  # of a track's errors over time: a share of one quarter may be bad
    max_joint_error: float = 0.2  # a single triangulated joint beyond it is dropped
    min_body_radius_m: float = 0.1  # root mean square distance of joints from their mean: a crouching child ...
    max_body_radius_m: float = 1.2  # ... and more than any adult
    ambiguity_margin: float = 0.2  # share of score by which a choice must beat its best rival
    max_times_scored: int = 100  # evenly spread; bounds the cost of long tracks


@dataclass(frozen=True, kw_only=True)
class Track:
    """One person in one view: the view's index, `times_s` (T,) ascending, `keypoints_px` (T, 17, 3)."""

    view: int
    times_s: Array
    keypoints_px: Array


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person: the indices of their tracks, and their joints over the times that any of them covers.

    `times_s` is (T,); `joints_world` (T, 17, 3) in metres is NaN where fewer than two views saw a joint or did not
    agree; `reprojection_error_px` is the median over joints, views and times, None for a single view.
    """

    tracks: tuple[int, ...]
    times_s: Array
    joints_world: Array
    reprojection_error_px: float | None


@dataclass(frozen=True, kw_only=True)
class Association:
    """`identity_of_track` (N,) indexes `identities`, -1 where rejected; `rejects` has a reason and the figure that
    decided for each rejected track."""

    identity_of_track: NDArray[np.int64]
    identities: tuple[Identity, ...]
    rejects: dict[int, tuple[str, str]]


@dataclass(frozen=True)
class _Fit:
    score: float  # constraints explained; 0 when the set does not fit
    error: float


def associate(
    tracks: Sequence[Track], cameras: Sequence[Camera | None], config: AssociateConfig
) -> Association:
    """Join the tracks of one capture into identities, numbered in the order of their first track.

    `cameras` has one entry for each view; tracks of views without one stay identities of a single view, as do tracks
    that fit no other. Rejects: `ambiguous` where another choice is nearly as good, `mixed_people` where a track
    agrees with an identity for only a part of its time.
    """
    fits = _Fits(tracks, cameras, config)
    chosen: list[TrackSet] = []
    rejects: dict[int, tuple[str, str]] = {}
    for component in fits.components():
        best, rivals = _choose(component, fits, config.ambiguity_margin)
        for moved, share in rivals:
            for track in sorted(moved):
                rejects.setdefault(track, ("ambiguous", f"another choice scores {share:.2f} of the best"))
        chosen += [picked - rejects.keys() for picked in best]
    chosen = [picked for picked in chosen if len(picked) > 1]
    joined = frozenset[int]().union(*chosen)
    for track in range(len(tracks)):
        if track in joined or track in rejects:
            continue
        shares = [fits.agreement(track, picked) for picked in chosen]
        if any(1 - config.error_quantile <= share < 1 for share in shares):
            rejects[track] = ("mixed_people", f"agrees with an identity {max(shares):.2f} of the time")
        else:
            chosen.append(frozenset([track]))
    chosen.sort(key=min)
    identity_of_track = np.full(len(tracks), -1, np.int64)
    for number, picked in enumerate(chosen):
        identity_of_track[list(picked)] = number
    return Association(
        identity_of_track=identity_of_track, rejects=dict(sorted(rejects.items())),
        identities=tuple(triangulate_identity(tracks, sorted(picked), cameras, config) for picked in chosen))


def triangulate_identity(
    tracks: Sequence[Track], members: Sequence[int], cameras: Sequence[Camera | None], config: AssociateConfig
) -> Identity:
    """Triangulate the joints of one person, whose tracks are known, at all times that any of them covers."""
    grid_s, places = group_instants([tracks[i].times_s for i in members], config.max_sync_error_s)
    joints_world = np.full((len(grid_s), NUM_JOINTS, 3), np.nan)
    calibrated = [k for k, i in enumerate(members) if cameras[tracks[i].view] is not None]
    error_px: float | None = None
    if len({tracks[members[k]].view for k in calibrated}) > 1:
        seen = np.full((len(calibrated), len(grid_s), NUM_JOINTS, 3), np.nan)
        for row, k in enumerate(calibrated):
            seen[row, places[k]] = tracks[members[k]].keypoints_px
        views = [_camera(cameras, tracks[members[k]]) for k in calibrated]
        joints_world, errors_px, relative = _reproject(views, seen, config)
        bad = (np.where(np.isfinite(relative), relative, 0) > config.max_joint_error).any(axis=0)
        joints_world[bad] = np.nan
        errors_px = errors_px[np.isfinite(errors_px)]
        error_px = float(np.median(errors_px)) if len(errors_px) else None
    return Identity(
        tracks=tuple(members), times_s=grid_s, joints_world=joints_world, reprojection_error_px=error_px)


class _Fits:
    """How well sets of tracks fit together, each worked out once."""

    def __init__(
        self, tracks: Sequence[Track], cameras: Sequence[Camera | None], config: AssociateConfig
    ) -> None:
        self.tracks, self.cameras, self.config = tracks, cameras, config
        _, self.places = group_instants([track.times_s for track in tracks], config.max_sync_error_s)
        self.known: dict[TrackSet, _Fit] = {}
        usable = [i for i, track in enumerate(tracks) if cameras[track.view] is not None]
        pairs = [frozenset(pair) for pair in combinations(usable, 2)]
        self.pairs = [pair for pair in pairs if self.separate(pair) and self.of(pair).score > 0]

    def separate(self, members: TrackSet) -> bool:
        """Whether no two tracks of one view share a time."""
        return all(
            self.tracks[i].view != self.tracks[j].view
            or not np.intersect1d(self.places[i], self.places[j]).size
            for i, j in combinations(sorted(members), 2))

    def of(self, members: TrackSet) -> _Fit:
        """Fit a set that is `separate`."""
        if members not in self.known:
            order = sorted(members)
            errors, num_views = self._errors(order)
            times = np.isfinite(errors).sum(axis=1) + np.isinf(errors).sum(axis=1)
            worst_times = [_quantile(row, self.config.error_quantile) for row in errors]
            worst = max(worst_times)
            enough = bool((times >= self.config.min_common_times).all())
            constraints = float(np.clip(2 * num_views - 3, 0, None).sum())
            fits = enough and worst < self.config.max_error
            score = constraints * (1 - float(np.mean(worst_times)) / self.config.max_error) if fits else 0.0
            self.known[members] = _Fit(score, worst)
        return self.known[members]

    def agreement(self, track: int, others: TrackSet) -> float:
        """Share of the times that a track has in common with others at which it agrees with them; 0 without any."""
        if self.cameras[self.tracks[track].view] is None or not self.separate(others | {track}):
            return 0.0
        order = sorted(others | {track})
        errors = self._errors(order)[0][order.index(track)]
        errors = errors[~np.isnan(errors)]
        if len(errors) < self.config.min_common_times:
            return 0.0
        return float(np.mean(errors < self.config.max_error))

    def components(self) -> list[TrackSet]:
        """Groups of tracks that are linked by fitting pairs, in the order of their first track."""
        groups: list[set[int]] = []
        for pair in self.pairs:
            linked = [group for group in groups if group & pair]
            groups = [group for group in groups if not group & pair] + [set(pair).union(*linked)]
        return sorted((frozenset(group) for group in groups), key=min)

    def _errors(self, order: Sequence[int]) -> tuple[Array, NDArray[np.int64]]:
        """Each track's error at up to `max_times_scored` times (len(order), T), NaN where it cannot be told and
        infinite for what no person can be; and the number of views at each time (T,)."""
        times, counts = np.unique(np.concatenate([self.places[i] for i in order]), return_counts=True)
        times, counts = times[counts > 1], counts[counts > 1]
        if len(times) > self.config.max_times_scored:
            kept = np.linspace(0, len(times) - 1, self.config.max_times_scored).round().astype(int)
            step, times = len(times) / len(kept), times[kept]
        else:
            step = 1.0
        seen = np.full((len(order), len(times), NUM_JOINTS, 3), np.nan)
        for row, i in enumerate(order):
            _, here, there = np.intersect1d(times, self.places[i], return_indices=True)
            seen[row, here] = self.tracks[i].keypoints_px[there]
        cameras = [_camera(self.cameras, self.tracks[i]) for i in order]
        joints_world, _, relative = _reproject(cameras, seen, self.config)
        counted = (~np.isnan(relative)).sum(axis=2) >= self.config.min_keypoints
        errors = np.full(counted.shape, np.nan)
        errors[counted] = np.nanmedian(relative[counted], axis=1) if counted.any() else np.nan
        solved = np.isfinite(joints_world[..., 0]).sum(axis=1) >= self.config.min_keypoints
        radius_m = np.full(len(times), np.nan)
        if solved.any():
            radius_m[solved] = np.sqrt(np.nanvar(joints_world[solved], axis=1).sum(axis=1))
        impossible = (radius_m < self.config.min_body_radius_m) | (radius_m > self.config.max_body_radius_m)
        errors[:, impossible] = np.where(np.isnan(errors[:, impossible]), np.nan, np.inf)
        return errors, np.repeat(counted.sum(axis=0), round(step)) if step > 1 else counted.sum(axis=0)


def _choose(
    component: TrackSet, fits: _Fits, margin: float
) -> tuple[list[TrackSet], list[tuple[TrackSet, float]]]:
    """Pick disjoint sets of a component, best first; improve the picks by forcing each rival set in turn; return them
    with the tracks that nearly as good picks would move, and the share of the score that these reach."""
    best = _pick(component, [], fits)
    improved = True
    while improved:
        improved, close = False, []
        for rival in _rivals(component, best, fits):
            other = _pick(component, [rival], fits)
            share = _total(set(other) - set(best), fits) / _total(set(best) - set(other), fits)
            if share > 1 + 1e-9:
                best, improved = other, True
                break
            if share > 1 - margin:
                close.append((_moved(best, other), share))
    return best, close


def _pick(component: TrackSet, forced: Iterable[TrackSet], fits: _Fits) -> list[TrackSet]:
    """Disjoint sets of fitting tracks, the forced ones first, then the best of those grown from what is left."""
    picked = list(forced)
    free = component.difference(*picked)
    while True:
        grown = {_grow(pair, free, fits) for pair in fits.pairs if pair <= free}
        for candidate in sorted(grown, key=lambda members: (-fits.of(members).score, sorted(members))):
            if candidate <= free:
                picked.append(candidate)
                free -= candidate
        if not grown:
            return picked


def _grow(seed: TrackSet, free: TrackSet, fits: _Fits) -> TrackSet:
    """Add tracks to a pair, each time the one that raises the score most, until none does."""
    members = seed
    while True:
        linked = frozenset[int]().union(*(pair for pair in fits.pairs if pair & members and pair <= free))
        larger = [members | {track} for track in sorted(linked - members)]
        larger = [candidate for candidate in larger if fits.separate(candidate)]
        best = max(larger, key=lambda candidate: fits.of(candidate).score, default=members)
        if fits.of(best).score <= fits.of(members).score:
            return members
        members = best


def _rivals(component: TrackSet, best: Sequence[TrackSet], fits: _Fits) -> list[TrackSet]:
    """Sets that contradict the picks: grown from pairs that the picks put apart."""
    apart = [pair for pair in fits.pairs if pair <= component and not any(pair <= picked for picked in best)]
    grown = {_grow(pair, component, fits) for pair in apart} | set(apart)
    return sorted(grown, key=sorted)


def _total(sets: Iterable[TrackSet], fits: _Fits) -> float:
    return max(sum(fits.of(members).score for members in sets), 1e-9)


def _moved(best: Sequence[TrackSet], other: Sequence[TrackSet]) -> TrackSet:
    """Tracks that keep other company in the other picks than most of their set does."""
    moved: set[int] = set()
    for picked in best:
        if picked not in other:
            most = max(other, key=lambda members: (len(members & picked), -min(members)))
            moved |= picked - most
            moved |= most - picked - frozenset[int]().union(*best)
    return frozenset(moved)


def _reproject(
    cameras: Sequence[Camera], seen: Array, config: AssociateConfig
) -> tuple[Array, Array, Array]:
    """Triangulate keypoints (V, T, 17, 3): joints (T, 17, 3), errors in pixels and relative ones (V, T, 17).

    Errors are NaN for keypoints that fewer than two views saw, and relative ones infinite for joints behind a camera.
    """
    num_rows, num_times = seen.shape[:2]
    confident = np.isfinite(seen).all(axis=3) & (seen[..., 2] >= config.min_keypoint_confidence)
    weights = np.where(confident, np.nan_to_num(seen[..., 2]), 0.0)
    points, errors = triangulate(
        cameras, seen[..., :2].reshape(num_rows, -1, 2), weights.reshape(num_rows, -1))
    errors_px = errors.reshape(weights.shape)
    pixels = np.where(confident[..., None], seen[..., :2], np.nan)
    size_px = np.full((num_rows, num_times), np.nan)
    some = confident.any(axis=2)
    size_px[some] = (np.nanmax(pixels[some], axis=1) - np.nanmin(pixels[some], axis=1)).max(axis=1)
    num_views = confident.sum(axis=0)
    spare = np.sqrt(2 * num_views / np.maximum(2 * num_views - 3, 1))
    relative = errors_px / np.maximum(size_px, 1.0)[..., None] * spare
    relative[confident & (num_views > 1) & ~np.isfinite(errors_px)] = np.inf
    return points.reshape(num_times, NUM_JOINTS, 3), errors_px, relative


def _quantile(errors: Array, share: float) -> float:
    """Quantile of what is not NaN, the higher neighbour; infinite without any."""
    errors = np.sort(errors[~np.isnan(errors)])
    return float(errors[int(np.ceil(share * (len(errors) - 1)))]) if len(errors) else float("inf")


def _camera(cameras: Sequence[Camera | None], track: Track) -> Camera:
    camera = cameras[track.view]
    assert camera is not None
    return camera
