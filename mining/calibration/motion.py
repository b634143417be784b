"""Motion of a tracked person as a signal that two cameras can compare without knowing where they
stand.

Keypoints are taken relative to the trunk (of a hand: the palm) and to its length, so that walking
past a camera, or towards it, is no motion. Two affine cameras share one direction of space, that
of the line where their image planes meet: along some direction in each image, all joints move
alike. Canonical correlation finds the two directions in closed form (Hotelling, 1936), so that the
correlation of two tracks at a lag needs no calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mining.geometry.cameras import Camera
from mining.identity.fits import Track

Array = NDArray[np.float64]

GRID_FPS = 60.0  # signals are resampled to multiples of 1 / GRID_FPS of the view's own clock
COARSE_STEPS = 2  # of the grid, between the rows and between the lags of the first search
SMOOTHING_S = 0.04  # standard deviation; detectors' jitter is faster, limbs are slower
SIZE_SMOOTHING_S = 1.0  # a person's distance changes slowly
MAX_GAP_S = 0.2  # a joint not seen for longer is not interpolated
MIN_CONFIDENCE = 0.5
MIN_SAMPLES = 8
RESIDUAL_SCALE = 0.6  # of canonical variates, whose own deviation is 1; beyond it they count less
EPIPOLAR_SCALE = 0.04  # of the trunk's length; a detector's error is about that

# Keypoints of the two ends of what is taken as rigid, and those that are compared.
TRUNKS: dict[int, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {
    17: ((5, 6), (11, 12), range(5, 17)),  # COCO: shoulders, hips; the head only turns
    21: ((0,), (5, 9, 13, 17), range(1, 21)),  # a hand: the wrist, the knuckles
}


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A track on the grid: `start` is the grid index of the first row, `moves` (T, J, 2) the joints
    relative to the trunk in its lengths, NaN where not seen; `rays` (T, J, 2) the joints at depth 1
    of a known camera, and `size` (T,) the trunk's length there; both NaN without a camera.
    """

    start: int
    moves: Array
    rays: Array
    size: Array

    @property
    def end(self) -> int:
        """The grid index after the last row."""
        return self.start + len(self.moves)


def motion_of(track: Track, camera: Camera | None) -> Motion | None:
    """Resample a track; None where its trunk is hardly ever seen."""
    first, second, joints = TRUNKS[track.keypoints_px.shape[1]]
    start = int(np.ceil(track.times_s[0] * GRID_FPS - 1e-6))
    end = int(np.floor(track.times_s[-1] * GRID_FPS + 1e-6)) + 1
    grid_s = np.arange(start, end) / GRID_FPS
    points = np.where(
        track.keypoints_px[..., 2:] >= MIN_CONFIDENCE, track.keypoints_px[..., :2], np.nan
    )
    if len(grid_s) < 2 or len(track.times_s) < 2:
        return None
    moves, size = _relative(points, first, second, track.times_s)
    if moves is None or size is None:
        return None
    rays = np.full_like(points[:, joints], np.nan)
    ray_size = np.full(len(points), np.nan)
    if camera is not None:
        flat = points.reshape(-1, 2)
        seen = np.isfinite(flat).all(axis=1)
        flat = flat.copy()
        flat[seen] = camera.normalize(flat[seen])
        rays = flat.reshape(points.shape)[:, joints]
        ray_size = size / np.sqrt(np.linalg.det(camera.intrinsics[:2, :2]))
    return Motion(
        start=start,
        moves=_resample(track.times_s, moves[:, joints], grid_s),
        rays=_resample(track.times_s, rays, grid_s),
        size=np.interp(grid_s, track.times_s, ray_size),
    )


def correlation(a: Motion, b: Motion, lag: int) -> tuple[float, float]:
    """The first canonical correlation (0 to 1) of two motions when b's clock begins `lag` grid
    steps after a's, and the seconds of overlap; one row in `COARSE_STEPS` is looked at.
    """
    low, high = max(a.start, b.start + lag), min(a.end, b.end + lag)
    if high - low < 2 * COARSE_STEPS:
        return 0.0, 0.0
    rows_a = a.moves[low - a.start : high - a.start : COARSE_STEPS]
    rows_b = b.moves[low - lag - b.start : high - lag - b.start : COARSE_STEPS]
    x, y, _ = _centred(rows_a, rows_b)
    if len(x) < MIN_SAMPLES:
        return 0.0, 0.0
    return float(_canonical(x, y, np.ones(len(x)))[2]), len(rows_a) * COARSE_STEPS / GRID_FPS


def misfit(a: Motion, b: Motion, lag_s: float, num_parts: int) -> Array:
    """How badly two motions agree at a lag in seconds: log(1 + (r / scale)^2) summed over the
    samples of each part of the overlap (num_parts,), and divided by their number; r is the
    difference of canonical variates, found again with such weights, so that errors of the detector
    do not decide. NaN without enough samples.
    """
    rows_a, rows_b, part = _overlap(a, b, a.moves, b.moves, lag_s, num_parts)
    x, y, seen = _centred(rows_a, rows_b)
    if len(x) < MIN_SAMPLES:
        return np.full(num_parts, np.nan)
    weights = np.ones(len(x))
    for _ in range(4):
        u, v, _ = _canonical(x, y, weights)
        residual = (x @ u - y @ v) / RESIDUAL_SCALE
        weights = 1 / (1 + residual**2)
    return _mean_by_part(
        np.log1p(residual**2), np.broadcast_to(part[:, None], seen.shape)[seen], num_parts
    )


def epipolar_misfit(
    a: Motion, b: Motion, lag_s: float, num_parts: int, cameras: tuple[Camera, Camera]
) -> Array:
    """As `misfit`, of the distances to epipolar lines (Sampson's) in trunk lengths, less each
    joint's median: detectors place a joint a little differently in each view, always alike.
    """
    rows_a, rows_b, part = _overlap(a, b, a.rays, b.rays, lag_s, num_parts)
    size_a, size_b, _ = _overlap(
        a, b, a.size[:, None, None], b.size[:, None, None], lag_s, num_parts
    )
    from_a = cameras[1].cam_from_world @ cameras[0].world_from_cam
    x, y, z = from_a[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ from_a[:3, :3]
    left, right = (np.concatenate([r, np.ones_like(r[..., :1])], axis=2) for r in (rows_a, rows_b))
    lines_b, lines_a = left @ essential.T, right @ essential
    slope = np.sqrt((lines_b[..., :2] ** 2).sum(axis=2) + (lines_a[..., :2] ** 2).sum(axis=2))
    distance = (right * lines_b).sum(axis=2) / slope / ((size_a + size_b)[..., 0] / 2)
    distance = distance[:, np.isfinite(distance).sum(axis=0) >= MIN_SAMPLES]
    if not distance.size:
        return np.full(num_parts, np.nan)
    distance = (distance - np.nanmedian(distance, axis=0)) / EPIPOLAR_SCALE
    seen = np.isfinite(distance)
    parts = np.broadcast_to(part[:, None], seen.shape)[seen]
    return _mean_by_part(np.log1p(distance[seen] ** 2), parts, num_parts)


def _mean_by_part(values: Array, parts: NDArray[np.int64], num_parts: int) -> Array:
    """Sums of values over parts (num_parts,), divided by the number of all values."""
    sums: Array = np.bincount(parts, values, minlength=num_parts) / len(values)
    return sums


def _relative(
    points: Array, first: Sequence[int], second: Sequence[int], times_s: Array
) -> tuple[Array | None, Array | None]:
    """Points relative to the middle of the trunk's ends, in its lengths, and the length in
    pixels.
    """
    ends = [points[:, list(end)].mean(axis=1) for end in (first, second)]  # NaN unless all are seen
    length = np.linalg.norm(ends[0] - ends[1], axis=1)
    seen = np.isfinite(length)
    if seen.sum() < 2:
        return None, None
    step_s = np.median(np.diff(times_s))
    filled = np.interp(times_s, times_s[seen], length[seen])
    size = gaussian_filter1d(filled, SIZE_SMOOTHING_S / step_s, mode="nearest")
    middle = (ends[0] + ends[1]) / 2
    return (points - middle[:, None]) / np.maximum(size, 1.0)[:, None, None], size


def _resample(times_s: Array, values: Array, grid_s: Array) -> Array:
    """Interpolate series (T, J, 2) to grid times, smoothed; NaN in gaps beyond MAX_GAP_S."""
    out = np.full((len(grid_s), *values.shape[1:]), np.nan)
    for joint in range(values.shape[1]):
        seen = np.flatnonzero(np.isfinite(values[:, joint, 0]))
        if len(seen) < 2:
            continue
        known_s = times_s[seen]
        after = np.clip(np.searchsorted(known_s, grid_s), 1, len(known_s) - 1)
        inside = (grid_s >= known_s[0] - 1e-6) & (grid_s <= known_s[-1] + 1e-6)
        inside &= known_s[after] - known_s[after - 1] <= MAX_GAP_S
        for axis in range(values.shape[2]):
            series = np.interp(grid_s, known_s, values[seen, joint, axis])
            out[:, joint, axis] = gaussian_filter1d(series, SMOOTHING_S * GRID_FPS, mode="nearest")
        out[~inside, joint] = np.nan
    return out


def _overlap(
    a: Motion, b: Motion, rows_a: Array, rows_b: Array, lag_s: float, num_parts: int
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Rows of a, rows of b interpolated to the same instants, and the part of the time of each,
    where the two overlap at a lag.
    """
    shift = lag_s * GRID_FPS
    low = int(np.ceil(max(a.start, b.start + shift)))
    high = int(np.floor(min(a.end - 1, b.end - 1 + shift)))
    places = np.arange(low, high + 1)
    part = (places - low) * num_parts // max(len(places), 1)
    there = places - shift - b.start
    before = np.clip(np.floor(there).astype(int), 0, max(len(rows_b) - 2, 0))
    share = (there - before)[:, None, None]
    shown_b = (1 - share) * rows_b[before] + share * rows_b[np.minimum(before + 1, len(rows_b) - 1)]
    return rows_a[places - a.start], shown_b, part


def _centred(rows_a: Array, rows_b: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Joints seen in both, less their means over time, as samples (N, 2) each; and which (T, J)."""
    seen = np.isfinite(rows_a[..., 0]) & np.isfinite(rows_b[..., 0])
    count = np.maximum(seen.sum(axis=0), 1)[:, None]
    samples = []
    for rows in (rows_a, rows_b):
        filled = np.where(seen[..., None], rows, 0.0)
        samples.append((filled - filled.sum(axis=0) / count)[seen])
    return samples[0], samples[1], seen


def _canonical(x: Array, y: Array, weights: Array) -> tuple[Array, Array, float]:
    """Directions (2,) along which samples (N, 2) agree best, scaled to unit variance, and their
    correlation.
    """
    weighted = x * weights[:, None]
    total = weights.sum()
    floor = 1e-9 * np.eye(2)
    root_x = np.linalg.cholesky(weighted.T @ x / total + floor)
    root_y = np.linalg.cholesky((y * weights[:, None]).T @ y / total + floor)
    cross = np.linalg.solve(root_x, weighted.T @ y / total) @ np.linalg.inv(root_y).T
    left, singular, right = np.linalg.svd(cross)
    u = np.linalg.solve(root_x.T, left[:, 0])
    v = np.linalg.solve(root_y.T, right[0])
    return u, v, min(float(singular[0]), 1.0)
