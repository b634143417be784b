"""The joints of one person in space, from the views that agree on where they are.

A view may take one arm for the other, or for the arm of somebody in front. Where most views agree,
the one that does not is left out of that joint; where too few are left to tell who is right,
the joint is unknown. So what one view mistakes can be held against what the others see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera, triangulate
from mining.geometry.instants import group_instants
from mining.identity.fits import AssociateConfig, Track

Array = NDArray[np.float64]

MIN_AGREEING = 3  # views: two rays nearly always meet somewhere, a third one is a check


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person: the indices of their tracks, and their joints over the times that any of them
    covers.

    `times_s` is (T,); `joints_world` (T, K, 3) in metres is NaN where fewer than two views saw a
    joint or did not agree: `disputed` (T, K) tells where they did not. `reprojection_error_px` is
    the median over joints, views that agree and times, None for a single view.
    """

    tracks: tuple[int, ...]
    times_s: Array
    joints_world: Array
    disputed: NDArray[np.bool_]
    reprojection_error_px: float | None


def triangulate_identity(
    tracks: Sequence[Track],
    members: Sequence[int],
    cameras: Sequence[Camera | None],
    config: AssociateConfig,
    *,
    max_sync_error_s: float,
) -> Identity:
    """Triangulate the joints of one person, whose tracks are known, at all times that any of them
    covers.
    """
    grid_s, places = group_instants([tracks[i].times_s for i in members], max_sync_error_s)
    num_keypoints = tracks[members[0]].keypoints_px.shape[1]
    joints_world = np.full((len(grid_s), num_keypoints, 3), np.nan)
    disputed = np.zeros((len(grid_s), num_keypoints), np.bool_)
    calibrated = [k for k, i in enumerate(members) if cameras[tracks[i].view] is not None]
    error_px: float | None = None
    if len({tracks[members[k]].view for k in calibrated}) > 1:
        seen = np.full((len(calibrated), len(grid_s), num_keypoints, 3), np.nan)
        for row, k in enumerate(calibrated):
            seen[row, places[k]] = tracks[members[k]].keypoints_px
        views = [_camera(cameras, tracks[members[k]]) for k in calibrated]
        points, errors_px, disputes = _where_views_agree(views, seen, config)
        joints_world, disputed = (
            points.reshape(joints_world.shape),
            disputes.reshape(disputed.shape),
        )
        errors_px = errors_px[np.isfinite(errors_px)]
        error_px = float(np.median(errors_px)) if len(errors_px) else None
    return Identity(
        tracks=tuple(members),
        times_s=grid_s,
        joints_world=joints_world,
        disputed=disputed,
        reprojection_error_px=error_px,
    )


def joints_at(geometry: Identity, times_s: Array, max_sync_error_s: float) -> Array:
    """The joints of an identity at times (N,) of its own detections: (N, K, 3) in world
    coordinates, NaN where the identity has no instant there.
    """
    return _joints(geometry, instants_at(geometry, times_s), times_s, max_sync_error_s)


def instants_at(geometry: Identity, times_s: Array) -> NDArray[np.int64]:
    """The places (N,) in `geometry.times_s` of times of the identity's own detections."""
    return np.maximum(np.searchsorted(geometry.times_s, times_s + 1e-9, side="right") - 1, 0)


def joints_near(geometry: Identity, times_s: Array, max_sync_error_s: float) -> Array:
    """As `joints_at` for times of somebody else's detections, which may come before or after an
    instant of this identity.
    """
    after = np.clip(np.searchsorted(geometry.times_s, times_s), 1, len(geometry.times_s) - 1)
    before = np.maximum(after - 1, 0)
    after = np.minimum(before + 1, len(geometry.times_s) - 1)
    waits_s, late_s = geometry.times_s[after] - times_s, times_s - geometry.times_s[before]
    nearest = np.where(np.abs(late_s) <= np.abs(waits_s), before, after)
    return _joints(geometry, nearest, times_s, max_sync_error_s)


def _joints(
    geometry: Identity, places: NDArray[np.int64], times_s: Array, max_sync_error_s: float
) -> Array:
    here = np.abs(times_s - geometry.times_s[places]) <= max_sync_error_s + 1e-9
    return np.where(here[:, None, None], geometry.joints_world[places], np.nan)


def _where_views_agree(
    cameras: Sequence[Camera], seen: Array, config: AssociateConfig
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Triangulate keypoints (V, T, K, 3), N = T * K of them: points (N, 3), errors in pixels (V, N)
    of the views that agree, and which points are disputed (N,).
    """
    num_views, num_times, num_keypoints = seen.shape[:3]
    confident = np.isfinite(seen).all(axis=3) & (seen[..., 2] >= config.min_keypoint_confidence)
    pixels = np.where(confident[..., None], seen[..., :2], np.nan)
    size_px = np.full((num_views, num_times), 1.0)
    some = confident.any(axis=2)
    size_px[some] = (np.nanmax(pixels[some], axis=1) - np.nanmin(pixels[some], axis=1)).max(axis=1)
    points_px = seen[..., :2].reshape(num_views, -1, 2)
    sizes_px = np.repeat(np.maximum(size_px, 1.0), num_keypoints, axis=1)
    weights = np.where(confident, np.nan_to_num(seen[..., 2]), 0.0).reshape(num_views, -1)

    def solve(chosen: NDArray[np.int64], weights: Array) -> tuple[Array, Array, Array]:
        """Points, errors in pixels and the largest relative error of each chosen point."""
        points, errors_px = triangulate(cameras, points_px[:, chosen], weights)
        count = (weights > 0).sum(axis=0)
        spare = np.sqrt(2 * count / np.maximum(2 * count - 3, 1))
        relative = errors_px / sizes_px[:, chosen] * spare
        relative[(weights > 0) & (count > 1) & ~np.isfinite(errors_px)] = np.inf
        return points, errors_px, np.where(np.isnan(relative), 0.0, relative).max(axis=0)

    points, errors_px, worst = solve(np.arange(weights.shape[1]), weights)
    left, weights = np.flatnonzero(worst > config.max_view_error), weights.copy()
    kept = weights[:, left]
    while True:
        can_spare = (kept > 0).sum(axis=0) > MIN_AGREEING
        left, kept = left[can_spare], kept[:, can_spare]
        if not len(left):
            break
        tried = np.full((num_views, len(left)), np.inf)
        for view in range(num_views):
            without = np.where((np.arange(num_views) == view)[:, None], 0.0, kept)
            tried[view] = np.where(kept[view] > 0, solve(left, without)[2], np.inf)
        kept = np.where(np.arange(num_views)[:, None] == tried.argmin(axis=0), 0.0, kept)
        agree = tried.min(axis=0) <= config.max_view_error
        settled = left[agree]
        points[settled], errors_px[:, settled], worst[settled] = solve(settled, kept[:, agree])
        left, kept = left[~agree], kept[:, ~agree]
    disputed = np.isfinite(points[:, 0]) & (worst > config.max_joint_error)
    points[worst > config.max_joint_error] = np.nan
    return points, errors_px, disputed


def _camera(cameras: Sequence[Camera | None], track: Track) -> Camera:
    camera = cameras[track.view]
    assert camera is not None
    return camera
