"""Identities: tracks of different views joined by geometry, one person each, never by order and
never by guess.

`mining/identity/fits.py` says how well a set of tracks fits together, and
`mining/identity/packing.py` picks the best sets; where another choice is nearly as good, the tracks
that it would move to other company are rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera, triangulate
from mining.geometry.instants import group_instants
from mining.identity.fits import AssociateConfig, Fits, Track
from mining.identity.packing import Members, components, pack

Array = NDArray[np.float64]

Rejects = dict[int, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person: the indices of their tracks, and their joints over the times that any of them
    covers.

    `times_s` is (T,); `joints_world` (T, K, 3) in metres is NaN where fewer than two views saw a
    joint or did not agree; `reprojection_error_px` is the median over joints, views and times, None
    for a single view.
    """

    tracks: tuple[int, ...]
    times_s: Array
    joints_world: Array
    reprojection_error_px: float | None


def associate(fits: Fits) -> tuple[list[Members], Rejects]:
    """Join tracks into identities, in the order of their first track; every track is in one of
    them, or rejected with a reason and the figure that decided.

    Tracks of views without a camera stay identities of a single view, as do tracks that fit no
    other. Rejected as `ambiguous` are tracks that another choice, nearly as good, would move.
    """
    chosen: list[Members] = []
    rejects: Rejects = {}
    for component in components(fits.pairs):
        best, rivals = pack(component, fits, fits.config.ambiguity_margin)
        for moved, share in rivals:
            for track in sorted(moved):
                rejects.setdefault(
                    track, ("ambiguous", f"another choice scores {share:.2f} of the best")
                )
        chosen += [picked - rejects.keys() for picked in best]
    chosen = [picked for picked in chosen if len(picked) > 1]
    joined = rejects.keys() | frozenset[int]().union(*chosen)
    chosen += [frozenset([track]) for track in range(len(fits.views)) if track not in joined]
    return sorted(chosen, key=min), rejects


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
    calibrated = [k for k, i in enumerate(members) if cameras[tracks[i].view] is not None]
    error_px: float | None = None
    if len({tracks[members[k]].view for k in calibrated}) > 1:
        seen = np.full((len(calibrated), len(grid_s), num_keypoints, 3), np.nan)
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


def _reproject(
    cameras: Sequence[Camera], seen: Array, config: AssociateConfig
) -> tuple[Array, Array, Array]:
    """Triangulate keypoints (V, T, K, 3): joints (T, K, 3), errors in pixels and relative ones
    (V, T, K).

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
    return points.reshape(num_times, -1, 3), errors_px, relative


def _camera(cameras: Sequence[Camera | None], track: Track) -> Camera:
    camera = cameras[track.view]
    assert camera is not None
    return camera
