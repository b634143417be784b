"""How well tracks of different views fit together as one person.

A set of tracks fits when all of them, triangulated together, reproject close to what was detected.
A time that n views see gives 2n measurements for 3 unknowns, so 2n - 3 constraints: a set scores
its constraints times how far its error stays below the gate. That is why three views that agree
beat two that agree by chance, as any two people do that share an epipolar plane.

Hundreds of sets are tried, so keypoints become rays once, and a set is solved from sums over its
tracks: the point with the least squared distances to the rays, with errors in undistorted pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import MIN_PARALLAX, Camera
from mining.geometry.instants import group_instants
from mining.identity.packing import Members
from mining.sources.base import Part

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AssociateConfig:
    """Gates of association.

    Errors are shares of a person's (or hand's) size in the image, the longer side of their
    keypoints' bounds, times sqrt(2n / (2n - 3)) for n views, which makes two views and many
    comparable.
    """

    min_keypoint_confidence: float = 0.5  # keypoints below it are not triangulated
    min_keypoints: int = 6  # seen in two views, for a time to count
    min_common_times: int = 3  # for two tracks to be compared
    # footage of Pose2Sim: 0.02 to 0.11 for the same person, 0.16 and more for others
    max_error: float = 0.14
    error_quantile: float = 0.75  # of a track's errors over time: a share of one quarter may be bad
    max_view_error: float = 0.1  # a view further from a joint is left out, if three others agree
    max_joint_error: float = 0.2  # a single triangulated joint beyond it is dropped
    # root mean square distance of joints from their mean: a crouching child ...
    min_body_radius_m: float = 0.1
    max_body_radius_m: float = 1.2  # ... and more than any adult
    min_hand_radius_m: float = 0.02  # the same of a hand: a child's fist ...
    max_hand_radius_m: float = 0.2  # ... and more than any open hand
    ambiguity_margin: float = 0.2  # share of score by which a choice must beat its best rival
    max_times_scored: int = 30  # evenly spread; bounds the cost of long tracks
    change_cost: float = 1.0  # of a track's changing person, in times at which it errs by the gate
    max_own_error: float = 0.2  # a detection that is further from its own identity is dropped
    max_misplaced_share: float = 0.3  # of a body's joints; with more, its keypoints are not its own

    def radii_m(self, part: Part) -> tuple[float, float]:
        """The least and the largest radius of what a part can be."""
        if part == "body":
            return self.min_body_radius_m, self.max_body_radius_m
        return self.min_hand_radius_m, self.max_hand_radius_m


@dataclass(frozen=True, kw_only=True)
class Track:
    """One person, or hand, in one view: the view's index, `times_s` (T,) ascending, `keypoints_px`
    (T, K, 3) as x, y, confidence.
    """

    view: int
    times_s: Array
    keypoints_px: Array


class Fits:
    """How well sets of tracks fit together, each worked out once; `Scores` of packing."""

    def __init__(
        self,
        tracks: Sequence[Track],
        cameras: Sequence[Camera | None],
        config: AssociateConfig,
        max_sync_error_s: float,
        part: Part,
        known: Mapping[Members, float] | None = None,
    ) -> None:
        """Scores that are `known` of sets of the same tracks are not worked out again."""
        self.config = config
        self.radii_m = config.radii_m(part)
        self.views = [track.view for track in tracks]
        _, self.places = group_instants([track.times_s for track in tracks], max_sync_error_s)
        centres = [camera.centre_world for camera in cameras if camera is not None]
        origin_world = np.median(centres, axis=0) if centres else np.zeros(3)
        self.known = dict(known or {})
        self.rivals: list[set[int]] = [set() for _ in tracks]
        self.usable = [i for i, track in enumerate(tracks) if cameras[track.view] is not None]
        if len({self.views[i] for i in self.usable}) < 2:
            self.usable = []  # nothing to join: the cost of long single-view footage stays linear
        self.rays: dict[int, _Rays] = {}
        for i in self.usable:
            camera = _known(cameras[self.views[i]])
            self.rays[i] = _Rays(tracks[i], self.places[i], camera, origin_world, config)
        meeting = _overlapping({i: (self.places[i][0], self.places[i][-1]) for i in self.usable})
        self.met: list[set[int]] = [set() for _ in tracks]
        for i, j in meeting:
            self.met[i].add(j)
            self.met[j].add(i)
            same_view = self.views[i] == self.views[j]
            if same_view and np.intersect1d(self.places[i], self.places[j]).size:
                self.rivals[i].add(j)
                self.rivals[j].add(i)
        self.pairs: Sequence[Members] = [
            pair for pair in map(frozenset, meeting) if self.allowed(pair) and self.score(pair) > 0
        ]

    def allowed(self, members: Members) -> bool:
        """Whether no two tracks of one view share a time."""
        return not any(self.rivals[member] & members for member in members)

    def score(self, members: Members) -> float:
        """Constraints that an allowed set explains, each weighed by how far its error stays below
        the gate.
        """
        if members not in self.known:
            config = self.config
            order = sorted(members)
            times, counts = np.unique(
                np.concatenate([self.places[i] for i in order]), return_counts=True
            )
            shared = times[counts > 1]
            chosen = np.linspace(0, len(shared) - 1, min(len(shared), config.max_times_scored))
            errors = self.errors(order, shared[chosen.round().astype(int)])
            counted = ~np.isnan(errors)
            num_constraints = np.clip(2 * counted.sum(axis=0) - 3, 0, None).sum()
            num_constraints *= len(shared) / max(len(chosen), 1)
            enough = (counted.sum(axis=1) >= config.min_common_times).all()
            track_errors = [_quantile(row, config.error_quantile) for row in errors]
            fits = enough and max(track_errors) < config.max_error
            weight = 1 - float(np.mean(track_errors)) / config.max_error if fits else 0.0
            self.known[members] = float(num_constraints) * weight
        return self.known[members]

    def num_comparable(self, one: int, members: Members) -> int:
        """How many of the members are of another view than a track and share time with it."""
        return sum(self.views[other] != self.views[one] for other in self.met[one] & members)

    def errors_with(self, track: int, others: Members) -> Array:
        """A track's error (T,) at each of its times when triangulated together with others, NaN
        where these do not see the person. Others of its own view that share a time are left out.
        """
        order = [track, *sorted(others - self.rivals[track] - {track})]
        if not all(i in self.rays for i in order):
            return np.full(len(self.places[track]), np.nan)
        return self.errors(order, self.places[track], only_first=True)[0]

    def errors(
        self, order: Sequence[int], times: NDArray[np.int64], only_first: bool = False
    ) -> Array:
        """Each track's error (len(order), T) at instants, NaN where it cannot be told and infinite
        for what no person can be; `only_first`: of the first track alone, (1, T).
        """
        rays = [self.rays[i] for i in order]
        rows = [np.searchsorted(one.places, times).clip(max=len(one.places) - 1) for one in rays]
        here = [one.places[row] == times for one, row in zip(rays, rows, strict=True)]
        seen = np.stack([r.seen[k] & h[:, None] for r, k, h in zip(rays, rows, here, strict=True)])
        directions = np.stack([one.directions[row] for one, row in zip(rays, rows, strict=True)])
        directions[~seen] = 0.0  # (V, T, K, 3), as long as the keypoint's weight
        weights = (directions**2).sum(axis=3)
        centres = np.stack([one.centre for one in rays])
        along = directions.transpose(1, 2, 3, 0)  # (T, K, 3, V)
        normal = weights.sum(axis=0)[..., None, None] * np.eye(3) - along @ along.swapaxes(2, 3)
        reach = np.einsum("vtki,vi->tkv", directions, centres)
        target = np.einsum("vtk,vi->tki", weights, centres) - (along @ reach[..., None])[..., 0]
        num_views = seen.sum(axis=0)
        trace = np.trace(normal, axis1=2, axis2=3)
        solvable = (num_views > 1) & (np.linalg.det(normal) > MIN_PARALLAX**2 * trace**3 / 8)
        points = np.full((*solvable.shape, 3), np.nan)
        points[solvable] = np.linalg.solve(normal[solvable], target[solvable][..., None])[..., 0]
        possible = self._possible(points)
        spare = np.sqrt(2 * np.maximum(num_views, 2) / np.maximum(2 * num_views - 3, 1))
        errors = np.full((1 if only_first else len(order), len(times)), np.nan)
        for row, one, place, shown in zip(errors, rays, rows, seen, strict=False):
            relative = one.errors_px(points, place) / one.size_px[place, None] * spare
            relative[~shown | (num_views < 2)] = np.nan
            counted = (~np.isnan(relative)).sum(axis=1) >= self.config.min_keypoints
            row[counted] = np.where(possible, _median(relative), np.inf)[counted]
        return errors

    def _possible(self, joints_world: Array) -> NDArray[np.bool_]:
        """Whether joints (T, K, 3) are those of a part of a possible size, or too few to tell;
        (T,).
        """
        known = np.isfinite(joints_world[..., 0])
        count = np.maximum(known.sum(axis=1), 1)
        points = np.where(known[..., None], joints_world, 0.0)
        mean = points.sum(axis=1) / count[:, None]
        variance = np.where(known[..., None], (points - mean[:, None]) ** 2, 0.0).sum(axis=(1, 2))
        radius_m = np.sqrt(variance / count)
        least, most = self.radii_m
        possible: NDArray[np.bool_] = (radius_m >= least) & (radius_m <= most)
        return possible | (known.sum(axis=1) < self.config.min_keypoints)


class _Rays:
    """One track's keypoints as rays, in world axes about a given origin."""

    def __init__(
        self,
        track: Track,
        places: NDArray[np.int64],
        camera: Camera,
        origin_world: Array,
        config: AssociateConfig,
    ) -> None:
        keypoints = track.keypoints_px
        self.places = places
        self.seen = np.isfinite(keypoints).all(axis=2) & (
            keypoints[..., 2] >= config.min_keypoint_confidence
        )
        pixels = np.where(self.seen[..., None], keypoints[..., :2], 0.0)
        low = np.where(self.seen[..., None], pixels, np.inf).min(axis=1)
        high = np.where(self.seen[..., None], pixels, -np.inf).max(axis=1)
        self.size_px = np.maximum((high - low).max(axis=1), 1.0)
        self.flat = camera.normalize(pixels.reshape(-1, 2)).reshape(pixels.shape)
        self.rotation = camera.cam_from_world[:3, :3]
        self.centre = camera.centre_world - origin_world
        self.focal_px = float(np.sqrt(camera.intrinsics[0, 0] * camera.intrinsics[1, 1]))
        ahead = np.concatenate([self.flat, np.ones((*self.seen.shape, 1))], axis=2)
        weights = np.where(self.seen, np.nan_to_num(keypoints[..., 2]), 0.0)
        self.directions = (
            ahead @ self.rotation * (weights / np.linalg.norm(ahead, axis=2))[..., None]
        )

    def errors_px(self, points: Array, rows: NDArray[np.int64]) -> Array:
        """Reprojection errors (T, K) of points (T, K, 3) at some of the track's times; infinite
        behind the camera, and for what is not finite.
        """
        at_camera = (points - self.centre) @ self.rotation.T
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = at_camera[..., :2] / at_camera[..., 2:] - self.flat[rows]
            errors_px: Array = np.where(
                at_camera[..., 2] > 0, np.sqrt((apart**2).sum(axis=2)) * self.focal_px, np.inf
            )
        return errors_px


def _overlapping(spans: Mapping[int, tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs of keys, both ascending, whose spans (first, last) share a place; each span is
    compared with those alone that have not ended when it begins.
    """
    found: list[tuple[int, int]] = []
    current: list[int] = []
    for key in sorted(spans, key=lambda key: spans[key]):
        current = [other for other in current if spans[other][1] >= spans[key][0]]
        found += [(min(key, other), max(key, other)) for other in current]
        current.append(key)
    return sorted(found)


def _median(errors: Array) -> Array:
    """Median along the last axis of what is not NaN; NaN without any."""
    ordered = np.sort(errors, axis=-1)  # NaN last
    count = (~np.isnan(errors)).sum(axis=-1)
    rows = np.arange(len(errors))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, errors.shape[-1] - 1)
    median: Array = (ordered[rows, low] + ordered[rows, high]) / 2
    return median


def _quantile(errors: Array, share: float) -> float:
    """Quantile of what is not NaN, the higher neighbour; infinite without any."""
    errors = np.sort(errors[~np.isnan(errors)])
    return float(errors[int(np.ceil(share * (len(errors) - 1)))]) if len(errors) else float("inf")


def _known(camera: Camera | None) -> Camera:
    assert camera is not None
    return camera
