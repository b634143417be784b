"""From tracks to what bundle adjustment needs: keypoints of all views at moments that differ.

Keypoints of one person at rest have the same errors at every instant: a thousand such instants tell
no more than one. So a moment counts only when the person has moved since every moment before.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mining.calibration.bones import Bones, bones_of
from mining.calibration.bundle import Sightings, Solution, errors_px
from mining.calibration.estimate_config import EstimateConfig
from mining.geometry.cameras import Camera
from mining.geometry.instants import group_instants
from mining.identity.fits import Track

Array = NDArray[np.float64]

MAX_LOOKED_AT = 240  # instants of a group, evenly chosen; bounds the cost of long tracks
MIN_KEYPOINTS = 6  # of a person in a view, for the instant to count there
MIN_SIZE_PX = 20.0  # people who look smaller have no usable keypoints


class Footage:
    """The tracks of one capture, all on one clock, in pixels less the principal point, without
    distortion.

    `keypoints[i]` (T, K, 3) are x, y and confidence, 0 where not usable; `places[i]` (T,) number
    the instants of the capture; `sizes_px[i]` (T,).
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        image_sizes_px: Sequence[tuple[int, int]],
        given: Sequence[Camera | None],
        config: EstimateConfig,
        max_sync_error_s: float,
    ) -> None:
        self.config = config
        self.given = tuple(given)
        self.views = np.array([track.view for track in tracks], dtype=np.int64)
        _, self.places = group_instants([track.times_s for track in tracks], max_sync_error_s)
        numbers = {track.keypoints_px.shape[1] for track in tracks}
        if len(numbers) != 1:
            raise ValueError(f"tracks must have one number of keypoints, got {sorted(numbers)}")
        self.bones: Bones = bones_of(numbers.pop())
        self.usual_focal_px = np.array(
            [max(size) * config.usual_focal for size in image_sizes_px], dtype=np.float64
        )
        for view, camera in enumerate(given):
            if camera is not None:
                self.usual_focal_px[view] = camera.intrinsics[[0, 1], [0, 1]].mean()
        self.keypoints = [self._centred(track, image_sizes_px[track.view]) for track in tracks]
        self.sizes_px = [_sizes_px(keypoints) for keypoints in self.keypoints]

    def at_times(self, tracks: Sequence[Track], max_sync_error_s: float) -> "Footage":
        """The same keypoints at other times, those of `tracks`."""
        other = copy(self)
        _, other.places = group_instants([track.times_s for track in tracks], max_sync_error_s)
        return other

    def _centred(self, track: Track, image_size_px: tuple[int, int]) -> Array:
        keypoints = np.array(track.keypoints_px, dtype=np.float64)
        usable = np.isfinite(keypoints).all(axis=2)
        usable &= keypoints[..., 2] >= self.config.min_keypoint_confidence
        usable &= (usable.sum(axis=1) >= MIN_KEYPOINTS)[:, None]
        keypoints[~usable] = 0.0
        camera = self.given[track.view]
        if camera is None:
            keypoints[..., :2] -= np.array(image_size_px) / 2
        else:
            rays = camera.normalize(keypoints[..., :2].reshape(-1, 2))
            keypoints[..., :2] = (rays * self.usual_focal_px[track.view]).reshape(*usable.shape, 2)
        keypoints[~usable] = 0.0
        return keypoints

    def moments(self, group: Iterable[int], views: Sequence[int], at_most: int) -> Array:
        """One person's keypoints at moments that differ: (V, N, K, 3) in the order of `views`, N at
        most `at_most`, in order of time.

        `group` are the tracks of the person; moments are seen in two or more of the views.
        """
        members = [i for i in sorted(group) if self.views[i] in views]
        places = np.unique(
            np.concatenate([np.zeros(0, np.int64), *(self.places[i] for i in members)])
        )
        num_keypoints = len(self.bones.mirrored)
        seen = np.zeros((len(views), len(places), num_keypoints, 3))
        for i in members:
            row = list(views).index(int(self.views[i]))
            seen[row, np.searchsorted(places, self.places[i])] = self.keypoints[i]
        usable = ((seen[..., 2] > 0).sum(axis=2) >= MIN_KEYPOINTS).sum(axis=0) >= min(2, len(views))
        seen = _evenly(seen[:, usable], MAX_LOOKED_AT)
        return _evenly(seen[:, _distinct(seen, self.config.min_change_sizes)], at_most)

    def conflict(self, group: Iterable[int]) -> bool:
        """Whether two of these tracks are in one view at one instant, so cannot be one person."""
        members = sorted(group)
        return any(
            self.views[i] == self.views[j] and np.intersect1d(self.places[i], self.places[j]).size
            for place, i in enumerate(members)
            for j in members[place + 1 :]
        )

    def sightings(
        self, people: Sequence[frozenset[int]], views: Sequence[int], at_most: int
    ) -> Sightings:
        """What `views` saw of `people`, each the tracks of one person, at moments that differ,
        about `at_most` of all people together.
        """
        config = self.config
        share = max(at_most // max(len(people), 1), config.min_moments)
        parts = [self.moments(group, views, share) for group in people]
        seen = np.concatenate(parts, axis=1)
        person = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
        sizes_px = np.stack([_sizes_px(row) for row in seen])
        return Sightings(
            points_px=seen[..., :2],
            weights=seen[..., 2],
            spread_px=np.maximum(sizes_px, MIN_SIZE_PX) * config.keypoint_error_sizes,
            person=person,
        )


def swap_sides(solution: Solution, seen: Sightings, bones: Bones) -> Sightings:
    """Exchange left and right of a person in a view at the moments where a detector confused them:
    where that halves the errors.
    """
    mirrored = bones.mirrored
    swapped = replace(
        seen, points_px=seen.points_px[:, :, mirrored], weights=seen.weights[:, :, mirrored]
    )
    flip = 2 * _capped_errors(solution, swapped) < _capped_errors(solution, seen)
    return replace(
        seen,
        points_px=np.where(flip[..., None, None], swapped.points_px, seen.points_px),
        weights=np.where(flip[..., None], swapped.weights, seen.weights),
    )


def _capped_errors(solution: Solution, seen: Sightings) -> Array:
    """Mean error of a person in a view (V, N) in usual errors, each at most 10."""
    errors = np.minimum(errors_px(solution, seen) / seen.spread_px[..., None], 10.0)
    known = np.isfinite(errors)
    mean: Array = np.where(known, errors, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    return mean


def _sizes_px(keypoints: Array) -> Array:
    """Longer side of the bounds of what is seen of (T, K, 3), (T,); 0 where nothing is."""
    seen = keypoints[..., 2:] > 0
    high = np.where(seen, keypoints[..., :2], -np.inf).max(axis=1)
    low = np.where(seen, keypoints[..., :2], np.inf).min(axis=1)
    sizes: Array = np.where(seen.any(axis=(1, 2)), np.nan_to_num(high - low).max(axis=1), 0.0)
    return sizes


def _evenly(seen: Array, at_most: int) -> Array:
    num = seen.shape[1]
    chosen = np.linspace(0, num - 1, min(num, at_most)).round().astype(int)
    return seen[:, chosen]


def _distinct(seen: Array, min_change: float) -> list[int]:
    """Which moments of (V, N, K, 3) differ from each before: in some view the median keypoint has
    moved by `min_change` sizes.
    """
    sizes_px = np.maximum(np.stack([_sizes_px(row) for row in seen]), MIN_SIZE_PX)
    points = np.where(seen[..., 2:] > 0, seen[..., :2] / sizes_px[..., None, None], np.nan)
    kept: list[int] = []
    for moment in range(seen.shape[1]):
        moved = np.linalg.norm(points[:, kept] - points[:, [moment]], axis=3)  # (V, kept, K)
        known = np.isfinite(moved)
        enough = known.sum(axis=2) >= MIN_KEYPOINTS
        ordered = np.sort(np.where(known, moved, np.inf), axis=2)
        middle = np.take_along_axis(ordered, known.sum(axis=2)[..., None] // 2, axis=2)[..., 0]
        change = np.where(enough, middle, 0.0).max(axis=0)
        if (change >= min_change).all():
            kept.append(moment)
    return kept
