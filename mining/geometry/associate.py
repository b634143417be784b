"""Identities: tracks of different views joined by geometry, one person each, never by order and
never by guess.

A set of tracks fits when all of them, triangulated together, reproject close to what was detected.
A time that n views see gives 2n measurements for 3 unknowns, so 2n - 3 constraints: a set scores
its constraints times how far its error stays below the gate. That is why three views that agree
beat two that agree by chance, as any two people do that share an epipolar plane.
`mining/geometry/packing.py` picks the best sets; where another choice is nearly as good, the tracks
that it would move to other company are rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera, triangulate
from mining.geometry.instants import group_instants
from mining.geometry.packing import Members, components, pack

Array = NDArray[np.float64]

NUM_JOINTS = 17


@dataclass(frozen=True, kw_only=True)
class AssociateConfig:
    """Gates of association.

    Errors are shares of a person's size in the image, the longer side of their keypoints' bounds,
    times sqrt(2n / (2n - 3)) for n views, which makes two views and many comparable.
    """

    max_sync_error_s: float = 0.02  # detections of different views this close are of one instant
    min_keypoint_confidence: float = 0.5  # keypoints below it are not triangulated
    min_keypoints: int = 6  # seen in two views, for a time to count
    min_common_times: int = 3  # for two tracks to be compared
    max_error: float = (
        0.14  # footage of Pose2Sim: 0.02 to 0.11 for the same person, 0.16 and more for others
    )
    error_quantile: float = 0.75  # of a track's errors over time: a share of one quarter may be bad
    max_joint_error: float = 0.2  # a single triangulated joint beyond it is dropped
    min_body_radius_m: float = (
        0.1  # root mean square distance of joints from their mean: a crouching child ...
    )
    max_body_radius_m: float = 1.2  # ... and more than any adult
    ambiguity_margin: float = 0.2  # share of score by which a choice must beat its best rival
    max_times_scored: int = 30  # evenly spread; bounds the cost of long tracks


@dataclass(frozen=True, kw_only=True)
class Track:
    """One person in one view: the view's index, `times_s` (T,) ascending, `keypoints_px` (T, 17,
    3).
    """

    view: int
    times_s: Array
    keypoints_px: Array


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person: the indices of their tracks, and their joints over the times that any of them
    covers.

    `times_s` is (T,); `joints_world` (T, 17, 3) in metres is NaN where fewer than two views saw a
    joint or did not agree; `reprojection_error_px` is the median over joints, views and times, None
    for a single view.
    """

    tracks: tuple[int, ...]
    times_s: Array
    joints_world: Array
    reprojection_error_px: float | None


@dataclass(frozen=True, kw_only=True)
class Association:
    """`identity_of_track` (N,) indexes `identities`, -1 where rejected; `rejects` has a reason and
    the figure that decided for each rejected track.
    """

    identity_of_track: NDArray[np.int64]
    identities: tuple[Identity, ...]
    rejects: dict[int, tuple[str, str]]


def associate(
    tracks: Sequence[Track], cameras: Sequence[Camera | None], config: AssociateConfig
) -> Association:
    """Join the tracks of one capture into identities, numbered in the order of their first track.

    `cameras` has one entry for each view; tracks of views without one stay identities of a single
    view, as do tracks that fit no other. Rejects: `ambiguous` where another choice is nearly as
    good, `mixed_people` where a track agrees with an identity for only a part of its time.
    """
    fits = _Fits(tracks, cameras, config)
    chosen: list[Members] = []
    rejects: dict[int, tuple[str, str]] = {}
    for component in components(fits.pairs):
        best, rivals = pack(component, fits, config.ambiguity_margin)
        for moved, share in rivals:
            for track in sorted(moved):
                rejects.setdefault(
                    track, ("ambiguous", f"another choice scores {share:.2f} of the best")
                )
        chosen += [picked - rejects.keys() for picked in best]
    chosen = [picked for picked in chosen if len(picked) > 1]
    joined = frozenset[int]().union(*chosen)
    for track in range(len(tracks)):
        if track in joined or track in rejects:
            continue
        shares = [fits.agreement(track, picked) for picked in chosen]
        if any(1 - config.error_quantile <= share < 1 for share in shares):
            rejects[track] = (
                "mixed_people",
                f"agrees with an identity {max(shares):.2f} of the time",
            )
        else:
            chosen.append(frozenset([track]))
    chosen.sort(key=min)
    identity_of_track = np.full(len(tracks), -1, np.int64)
    for number, picked in enumerate(chosen):
        identity_of_track[list(picked)] = number
    return Association(
        identity_of_track=identity_of_track,
        rejects=dict(sorted(rejects.items())),
        identities=tuple(
            triangulate_identity(tracks, sorted(picked), cameras, config) for picked in chosen
        ),
    )


def triangulate_identity(
    tracks: Sequence[Track],
    members: Sequence[int],
    cameras: Sequence[Camera | None],
    config: AssociateConfig,
) -> Identity:
    """Triangulate the joints of one person, whose tracks are known, at all times that any of them
    covers.
    """
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
        tracks=tuple(members),
        times_s=grid_s,
        joints_world=joints_world,
        reprojection_error_px=error_px,
    )


class _Fits:
    """How well sets of tracks fit together, each worked out once."""

    def __init__(
        self, tracks: Sequence[Track], cameras: Sequence[Camera | None], config: AssociateConfig
    ) -> None:
        self.tracks, self.cameras, self.config = tracks, cameras, config
        _, self.places = group_instants(
            [track.times_s for track in tracks], config.max_sync_error_s
        )
        self.known: dict[Members, float] = {}
        self.conflicts = np.zeros((len(tracks), len(tracks)), np.bool_)
        usable = [i for i, track in enumerate(tracks) if cameras[track.view] is not None]
        if len({tracks[i].view for i in usable}) < 2:
            usable = []  # nothing to join: the cost of long single-view footage stays linear
        meeting = [
            (i, j)
            for i, j in combinations(usable, 2)
            if self.places[i][0] <= self.places[j][-1] and self.places[j][0] <= self.places[i][-1]
        ]
        for i, j in meeting:
            if (
                tracks[i].view == tracks[j].view
                and np.intersect1d(self.places[i], self.places[j]).size
            ):
                self.conflicts[i, j] = self.conflicts[j, i] = True
        self.pairs: Sequence[Members] = [
            pair for pair in map(frozenset, meeting) if self.allowed(pair) and self.score(pair) > 0
        ]

    def allowed(self, members: Members) -> bool:
        """Whether no two tracks of one view share a time."""
        return not self.conflicts[np.ix_(list(members), list(members))].any()

    def score(self, members: Members) -> float:
        """Constraints that an allowed set explains, each weighed by how far its error stays below
        the gate.
        """
        if members not in self.known:
            config = self.config
            errors, num_constraints = self._errors(sorted(members))
            enough = ((~np.isnan(errors)).sum(axis=1) >= config.min_common_times).all()
            track_errors = [_quantile(row, config.error_quantile) for row in errors]
            fits = enough and max(track_errors) < config.max_error
            weight = 1 - float(np.mean(track_errors)) / config.max_error if fits else 0.0
            self.known[members] = num_constraints * weight
        return self.known[members]

    def agreement(self, track: int, others: Members) -> float:
        """Share of the times that a track has in common with others at which it agrees with them; 0
        without any.
        """
        if self.cameras[self.tracks[track].view] is None or not self.allowed(others | {track}):
            return 0.0
        order = sorted(others | {track})
        errors = self._errors(order)[0][order.index(track)]
        errors = errors[~np.isnan(errors)]
        if len(errors) < self.config.min_common_times:
            return 0.0
        return float(np.mean(errors < self.config.max_error))

    def _errors(self, order: Sequence[int]) -> tuple[Array, float]:
        """Each track's error at up to `max_times_scored` of the times that tracks share
        (len(order), T), NaN where it cannot be told and infinite for what no person can be; and the
        number of constraints at all such times.
        """
        config = self.config
        times, counts = np.unique(
            np.concatenate([self.places[i] for i in order]), return_counts=True
        )
        shared = times[counts > 1]
        chosen = np.linspace(0, len(shared) - 1, min(len(shared), config.max_times_scored))
        times = shared[chosen.round().astype(int)]
        seen = np.full((len(order), len(times), NUM_JOINTS, 3), np.nan)
        for row, i in enumerate(order):
            _, here, there = np.intersect1d(times, self.places[i], return_indices=True)
            seen[row, here] = self.tracks[i].keypoints_px[there]
        cameras = [_camera(self.cameras, self.tracks[i]) for i in order]
        joints_world, _, relative = _reproject(cameras, seen, config)
        counted = (~np.isnan(relative)).sum(axis=2) >= config.min_keypoints
        errors = np.full(counted.shape, np.nan)
        if counted.any():
            errors[counted] = np.nanmedian(relative[counted], axis=1)
        errors[counted & ~self._possible(joints_world)] = np.inf
        num_constraints = np.clip(2 * counted.sum(axis=0) - 3, 0, None).sum()
        return errors, float(num_constraints) * len(shared) / max(len(times), 1)

    def _possible(self, joints_world: Array) -> NDArray[np.bool_]:
        """Whether joints (T, 17, 3) are those of a body of a possible size, or too few to tell;
        (T,).
        """
        possible = np.ones(len(joints_world), np.bool_)
        known = np.isfinite(joints_world[..., 0]).sum(axis=1) >= self.config.min_keypoints
        if known.any():
            radius_m = np.sqrt(np.nanvar(joints_world[known], axis=1).sum(axis=1))
            possible[known] = (radius_m >= self.config.min_body_radius_m) & (
                radius_m <= self.config.max_body_radius_m
            )
        return possible


def _reproject(
    cameras: Sequence[Camera], seen: Array, config: AssociateConfig
) -> tuple[Array, Array, Array]:
    """Triangulate keypoints (V, T, 17, 3): joints (T, 17, 3), errors in pixels and relative ones
    (V, T, 17).

    Errors are NaN for keypoints that fewer than two views saw, and relative ones infinite for
    joints behind a camera.
    """
    num_rows, num_times = seen.shape[:2]
    confident = np.isfinite(seen).all(axis=3) & (seen[..., 2] >= config.min_keypoint_confidence)
    weights = np.where(confident, np.nan_to_num(seen[..., 2]), 0.0)
    points, errors = triangulate(
        cameras, seen[..., :2].reshape(num_rows, -1, 2), weights.reshape(num_rows, -1)
    )
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
