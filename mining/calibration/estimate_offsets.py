"""Offsets between the clocks of a capture's views, found from how the people in them move.

For every two views and every lag, `motion.py` says how well their tracks agree; several people are
matched one to one at each lag. Views are then placed one after another, each where it agrees best
with all that are placed: a periodic gait has a peak at every stride, and only one that clearly
beats its rivals is believed. Last, every two views are compared finely around that lag (with known
cameras by distances to epipolar lines), and the offsets that agree best with all these lags are
found by least squares. Their errors come from leaving out parts of the time, and from how far the
views contradict each other around cycles.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mining.calibration.motion import (
    COARSE_STEPS,
    GRID_FPS,
    Motion,
    correlation,
    epipolar_misfit,
    misfit,
    motion_of,
)
from mining.geometry.cameras import Camera
from mining.identity.fits import Track
from mining.notices import Say, silent
from mining.sync import SyncConfig

Array = NDArray[np.float64]
ViewPair = tuple[int, int]

SAMPLES_PER_S = 8.0  # independent ones in the motion of a person's joints
PEAK_S = 0.2  # lags nearer than this are of one peak
FINE_S = 0.15  # lags on either side of the first answer that are compared finely
FINE_STEP_S = 1 / 120
MAX_TRACKS = 4  # of a view that are compared: 1 s for each two tracks of half a minute
NUM_PARTS = 5  # of the time, each left out once
MOTION_BIAS_S = (
    0.02  # usual error of a lag by motion that no leaving out tells: no camera is affine
)
EPIPOLAR_BIAS_S = 0.008  # the same of a lag by epipolar lines


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """Time of each view's first frame (V,) on the clock of the first view whose motion goes with
    another's, and its uncertainty (V,), two standard errors, in seconds.

    Offsets are NaN where the motion does not tell, or not to `max_sync_error_s`; `reasons` (V,)
    says why, None where there is an offset.
    """

    offsets_s: Array
    errors_s: Array
    reasons: tuple[str | None, ...]


def estimate_offsets(
    tracks: Sequence[Track],
    num_views: int,
    config: SyncConfig,
    cameras: Sequence[Camera | None] | None = None,
    say: Say = silent,
) -> Offsets:
    """Estimate the offsets of views from tracks whose times are on their own view's clock.

    `cameras` has one entry for each view where any are known. Tracks should be sampled at 25 frames
    a second or more. Cost: tracks of two views (the few that move most), times lags, times frames.
    """
    views: dict[int, list[Motion]] = defaultdict(list)
    for track in tracks:
        if track.times_s[-1] - track.times_s[0] >= config.min_overlap_s:
            motion = motion_of(track, cameras[track.view] if cameras is not None else None)
            if motion is not None:
                views[track.view].append(motion)
    for motions in views.values():  # those that move most tell most
        motions.sort(
            key=lambda motion: (
                -float(np.nansum(np.nanvar(motion.moves, axis=0)) * len(motion.moves))
            )
        )
        del motions[MAX_TRACKS:]
    couples = list(combinations(sorted(views), 2))
    profiles = {}
    for done, (a, b) in enumerate(couples):
        say(f"comparing views for their clocks, {done} of {len(couples)} pairs of views")
        profiles[a, b] = _Profile(views[a], views[b], config)
    reasons: list[str | None] = [
        None if views.get(view) else f"nobody is seen for {config.min_overlap_s:g} s"
        for view in range(num_views)
    ]
    lags = _place(profiles, config, reasons)
    offsets_s, errors_s = np.full(num_views, np.nan), np.full(num_views, np.nan)
    if lags:
        placed = sorted(lags)
        fine = []
        couples = list(combinations(placed, 2))
        for done, pair in enumerate(couples):
            say(f"comparing clocks finely, {done} of {len(couples)} pairs of views")
            lag = lags[pair[1]] - lags[pair[0]]
            fine += _compare_finely(views, profiles[pair], pair, lag, cameras)
        offsets_s[placed], errors_s[placed] = _solve(placed, fine)
    for view in sorted(lags):
        if not errors_s[view] <= config.max_sync_error_s:
            offsets_s[view] = np.nan
            reasons[view] = (
                f"its offset is known to {errors_s[view]:.3f} s only"
                if np.isfinite(errors_s[view])
                else "its lag to the other views cannot be told finely"
            )
    return Offsets(offsets_s=offsets_s, errors_s=errors_s, reasons=tuple(reasons))


class _Profile:
    """How strongly the tracks of two views speak for each lag, in units of log-likelihood: the sum
    over people, matched one to one, of -N / 2 log(1 - correlation^2) above its median over lags.
    """

    def __init__(self, left: Sequence[Motion], right: Sequence[Motion], config: SyncConfig) -> None:
        reach = round(config.max_offset_s * GRID_FPS / COARSE_STEPS)
        self.lags = np.arange(-reach, reach + 1) * COARSE_STEPS
        self.evidence = np.zeros((len(left), len(right), len(self.lags)))
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                self.evidence[i, j] = self._evidence(a, b, config)
        total = np.zeros(len(self.lags))
        for k in np.flatnonzero(self.evidence.any(axis=(0, 1))).tolist():
            rows, columns = self.matches(k)
            total[k] = self.evidence[rows, columns, k].sum()
        self.total = total

    def matches(self, place: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tracks matched at a lag's place, left and right, that speak for it."""
        rows, columns = linear_sum_assignment(self.evidence[..., place], maximize=True)
        speak = self.evidence[rows, columns, place] > 0
        return rows[speak], columns[speak]

    def at(self, lags: NDArray[np.int64]) -> Array:
        """Evidence for lags in grid steps; 0 where none was looked for."""
        places = lags // COARSE_STEPS + len(self.lags) // 2
        inside = (places >= 0) & (places < len(self.lags))
        return np.where(inside, self.total[np.clip(places, 0, len(self.lags) - 1)], 0.0)

    def _evidence(self, a: Motion, b: Motion, config: SyncConfig) -> Array:
        values = np.full(len(self.lags), np.nan)
        for k, lag in enumerate(self.lags.tolist()):
            shared, overlap_s = correlation(a, b, lag)
            if overlap_s < config.min_overlap_s:
                continue
            values[k] = -overlap_s * SAMPLES_PER_S / 2 * np.log(max(1 - shared**2, 1e-6))
        if np.isnan(values).all():
            return np.zeros(len(self.lags))
        return np.nan_to_num(np.clip(values - np.nanmedian(values), 0.0, None))


def _place(
    profiles: dict[ViewPair, _Profile], config: SyncConfig, reasons: list[str | None]
) -> dict[int, int]:
    """Place views on one clock, in grid steps; views whose place is not clear get a reason."""
    if not profiles:
        return {}
    start = max(profiles, key=lambda pair: float(profiles[pair].total.max()))
    placed: dict[int, int] = {start[0]: 0}
    waiting = {view for pair in profiles for view in pair} - {start[0]}
    while waiting:
        choices = {view: _best_place(view, placed, profiles, config) for view in sorted(waiting)}
        view = max(choices, key=lambda view: choices[view][1])
        lag, evidence, margin = choices[view]
        if evidence < config.min_evidence or margin < config.min_peak_margin:
            break
        placed[view] = lag
        waiting.remove(view)
    for view in sorted(waiting):
        _, evidence, margin = _best_place(view, placed, profiles, config)
        if evidence < config.min_evidence:
            reasons[view] = (
                f"no lag has enough evidence ({evidence:.1f} of {config.min_evidence:g})"
            )
        else:
            bound = config.min_peak_margin
            reasons[view] = f"another lag is nearly as likely (margin {margin:.1f} of {bound:g})"
    if len(placed) < 2:
        reasons[start[0]] = reasons[start[0]] or "no other view's motion goes with its own"
        return {}
    return placed


def _best_place(
    view: int, placed: dict[int, int], profiles: dict[ViewPair, _Profile], config: SyncConfig
) -> tuple[int, float, float]:
    """Where a view agrees best with those placed (grid steps), its evidence there, and by how much
    that beats the best other peak.
    """
    reach = round(config.max_offset_s * GRID_FPS / COARSE_STEPS) * COARSE_STEPS
    low, high = min(placed.values()) - reach, max(placed.values()) + reach
    candidates = np.arange(low, high + 1, COARSE_STEPS)
    total = np.zeros(len(candidates))
    for other, lag in placed.items():
        if (other, view) in profiles:
            total += profiles[other, view].at(candidates - lag)
        else:
            total += profiles[view, other].at(lag - candidates)
    best = int(np.argmax(total))
    far = np.abs(candidates - candidates[best]) > PEAK_S * GRID_FPS
    rival = float(total[far].max()) if far.any() else 0.0
    return int(candidates[best]), float(total[best]), float(total[best]) - rival


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The lag of two views in seconds (1 + NUM_PARTS,): from all of the time, and with each part of
    it left out; and the usual error of this way of asking.
    """

    pair: ViewPair
    lags_s: Array
    bias_s: float


def _compare_finely(
    views: dict[int, list[Motion]],
    profile: _Profile,
    pair: ViewPair,
    lag: int,
    cameras: Sequence[Camera | None] | None,
) -> list[_Answer]:
    """The lag of two views to a fraction of a frame: one answer by motion and, with cameras, one by
    epipolar lines; none where there is no peak.
    """
    place = lag // COARSE_STEPS + len(profile.lags) // 2
    if not 0 <= place < len(profile.lags):
        return []
    lags_s = lag / GRID_FPS + np.arange(-FINE_S, FINE_S + FINE_STEP_S / 2, FINE_STEP_S)
    measures: list[tuple[float, Callable[[Motion, Motion, float], Array]]] = [
        (MOTION_BIAS_S, lambda a, b, lag_s: misfit(a, b, lag_s, NUM_PARTS))
    ]
    left, right = (None, None) if cameras is None else (cameras[pair[0]], cameras[pair[1]])
    if left is not None and right is not None:
        known = (left, right)
        measures.append(
            (EPIPOLAR_BIAS_S, lambda a, b, lag_s: epipolar_misfit(a, b, lag_s, NUM_PARTS, known))
        )
    answers = []
    for bias_s, measure in measures:
        costs = np.zeros((len(lags_s), NUM_PARTS))
        for i, j in zip(*profile.matches(place), strict=True):
            a, b = views[pair[0]][i], views[pair[1]][j]
            length = min(len(a.moves), len(b.moves))
            costs += length * np.array([measure(a, b, lag_s) for lag_s in lags_s])
        whole = costs.sum(axis=1)
        parts = [_lowest(lags_s, whole - costs[:, part]) for part in range(NUM_PARTS)]
        answer_s = np.array([_lowest(lags_s, whole), *parts])
        answers.append(_Answer(pair=pair, lags_s=answer_s, bias_s=bias_s))
    return [answer for answer in answers if np.isfinite(answer.lags_s).all()]


def _lowest(lags_s: Array, costs: Array) -> float:
    """The lowest point of the parabola through the least cost and its neighbours; NaN at an end."""
    if not np.isfinite(costs).all():
        return float("nan")
    k = int(np.argmin(costs))
    if k in (0, len(costs) - 1):
        return float("nan")
    before, here, after = costs[k - 1 : k + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(lags_s[k] + shift * (lags_s[1] - lags_s[0]))


def _solve(placed: Sequence[int], answers: Sequence[_Answer]) -> tuple[Array, Array]:
    """Offsets (P,) of the placed views that agree best with the lags of pairs, and twice their
    standard errors: by leaving out parts of the time, or from how far the lags of pairs contradict
    each other where that is more.

    The first is 0 with the others' smallest error: only differences are known.
    """
    place = {view: k for k, view in enumerate(placed)}
    rows = np.zeros((len(answers), len(placed)))
    for row, answer in zip(rows, answers, strict=True):
        row[place[answer.pair[0]]], row[place[answer.pair[1]]] = -1, 1
    rows = rows[:, 1:]
    offsets_s, errors_s = np.full(len(placed), np.nan), np.full(len(placed), np.nan)
    if np.linalg.matrix_rank(rows) < len(placed) - 1:
        return offsets_s, errors_s
    lags_s = np.array([answer.lags_s for answer in answers])  # (answers, 1 + parts)
    biases_s = np.array([answer.bias_s for answer in answers])
    deviations_s = np.sqrt((NUM_PARTS - 1) * lags_s[:, 1:].var(axis=1) + biases_s**2)
    scaled = rows / deviations_s[:, None]
    solution = np.linalg.lstsq(scaled, lags_s / deviations_s[:, None], rcond=None)[0]
    variance = (NUM_PARTS - 1) * solution[:, 1:].var(axis=1)
    spare = len(answers) - (len(placed) - 1)
    if spare:
        residual = (rows @ solution[:, 0] - lags_s[:, 0]) / deviations_s
        contradiction = float(residual @ residual) / spare
        variance = np.maximum(variance, np.diag(np.linalg.inv(scaled.T @ scaled)) * contradiction)
    offsets_s[0], offsets_s[1:] = 0.0, solution[:, 0]
    errors_s[1:] = 2 * np.sqrt(variance + (FINE_STEP_S / 4) ** 2)
    errors_s[0] = errors_s[1:].min()
    return offsets_s, errors_s
