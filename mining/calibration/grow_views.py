"""Cameras found one after the other: pairs of views that one person links, then all views around
the best pair.

Which track of one view is the same person as which of another is not known before. A link is a
guess of both, the two tracks and how the cameras stand; its cost after adjusting shows whether
bones keep their length. Costs of links are compared between views, never trusted alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mining.calibration.bundle import PER_VIEW, Priors, Sightings, Solution, adjust
from mining.calibration.sightings import Footage
from mining.calibration.two_views import relative_poses, turn_between_deg
from mining.geometry.cameras import Camera, triangulate
from mining.notices import Say, silent

Array = NDArray[np.float64]

FOCALS = (0.75, 1.0, 1.4)  # of the usual one, to begin with where it is not known
MAX_ADJUSTED = 4  # hypotheses of a pair of views that are adjusted
NUM_STEPS = 12  # of adjusting a hypothesis ...
NUM_MOMENTS = 18  # ... at so many moments


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two tracks of views a < b taken for one person, and the poses that this means.

    `cost` is that of adjusting the two views, by keypoint; `rival` the least of a pose that turns
    far from it, infinite without one.
    """

    views: tuple[int, int]
    tracks: frozenset[int]
    rotation: Array
    shift_m: Array
    log_focal: Array
    cost: float
    rival: float
    num_moments: int

    @property
    def rank(self) -> float:
        """Ascends from what to begin with: low cost, clearly lower than any rival's, over many
        moments.
        """
        return self.cost / min(self.num_moments, 20) ** 0.25 / min(self.rival / self.cost, 2) ** 0.5


@dataclass(frozen=True, kw_only=True)
class Located:
    """Views whose cameras are found, in the order of the solution's rows; `people` are the tracks
    of each person.
    """

    views: tuple[int, ...]
    people: tuple[frozenset[int], ...]
    solution: Solution
    seen: Sightings
    cost: float


def find_links(footage: Footage, say: Say = silent) -> list[Link]:
    """The best guesses for every two views, ascending by cost; none for views that share too few
    moments.
    """
    links = []
    tracks = _moving_tracks(footage)
    couples = list(combinations(sorted(tracks), 2))
    for done, (a, b) in enumerate(couples):
        what = f"comparing views for their cameras, {done} of {len(couples)} pairs of views"
        if footage.given[a] is None or footage.given[b] is None:
            pairs = [(i, j) for i in tracks[a] for j in tracks[b]]
            links += _links_of(footage, a, b, pairs, partial(say, what))
    return sorted(links, key=lambda link: link.rank)


def grow(footage: Footage, links: Sequence[Link], say: Say = silent) -> Located | None:
    """Join views to the given cameras, or else to the best link, one at a time, the best first."""
    known = [view for view, camera in enumerate(footage.given) if camera is not None]
    if not known and not links:
        return None
    poses = {view: given_pose(footage, view) for view in known}
    people: list[frozenset[int]] = []
    located: Located | None = None
    if not known:
        first = links[0]
        poses[first.views[0]] = (np.eye(3), np.zeros(3), first.log_focal[0])
        poses[first.views[1]] = (first.rotation, first.shift_m, first.log_focal[1])
        located = settle(footage, poses, [first.tracks])
    while True:
        say(f"joining views, {len(located.views) if located else 0} of {len(footage.given)}")
        if located is not None:
            people = list(located.people)
            poses = poses_of(located)
        # a person whom located views know ties the new view's distance to theirs
        known_people = frozenset[int]().union(*people)
        options = [
            option
            for link in sorted(links, key=lambda link: not link.tracks & known_people)
            if (option := _attach(footage, poses, people, link)) is not None
        ]
        if not options:
            return located
        best = min(
            (settle(footage, *option) for option in options[:2]),
            key=lambda found: found.cost / max((found.seen.weights > 0).sum(), 1),
        )
        located = best


Pose = tuple[Array, Array, float]


def given_pose(footage: Footage, view: int) -> Pose:
    """The pose of a view whose camera is given, and the logarithm of its focal length."""
    camera = footage.given[view]
    assert camera is not None
    extrinsics = camera.cam_from_world
    return extrinsics[:3, :3], extrinsics[:3, 3], float(np.log(footage.usual_focal_px[view]))


def poses_of(located: Located) -> dict[int, Pose]:
    """The pose of each located view."""
    found = located.solution
    return {
        view: (found.rotation[row], found.shift_m[row], float(found.log_focal[row]))
        for row, view in enumerate(located.views)
    }


def settle(
    footage: Footage,
    poses: dict[int, Pose],
    people: Sequence[frozenset[int]],
    *,
    num_steps: int = NUM_STEPS,
    at_most: int = NUM_MOMENTS,
) -> Located:
    """Adjust the cameras of `poses` and the people's joints, at about `at_most` moments, together,
    beginning with triangulated joints.
    """
    views = tuple(sorted(poses))
    seen = footage.sightings(people, views, at_most)
    start = Solution(
        rotation=np.stack([poses[view][0] for view in views]),
        shift_m=np.stack([poses[view][1] for view in views]),
        log_focal=np.array([poses[view][2] for view in views]),
        joints_world=np.zeros((*seen.weights.shape[1:], 3)),
        log_bones=np.tile(np.log(footage.bones.usual_m), (len(people), 1)),
    )
    start = replace(start, joints_world=_triangulated(start, seen))
    solution, cost = adjust(
        start, seen, footage.bones, priors_of(footage, views), free_of(footage, views), num_steps
    )
    return Located(views=views, people=tuple(people), solution=solution, seen=seen, cost=cost)


def priors_of(footage: Footage, views: Sequence[int]) -> Priors:
    """What is believed of these views before looking."""
    config = footage.config
    return Priors(
        log_focal=np.log(footage.usual_focal_px[list(views)]),
        focal_deviation=config.focal_deviation,
        focal_difference=config.focal_difference,
        bone_deviation=config.bone_deviation,
        bone_change=config.bone_change,
    )


def free_of(footage: Footage, views: Sequence[int]) -> NDArray[np.bool_]:
    """Which parameters of the views (V, 7) may change: none of given cameras; the first view's
    pose stays where nothing is given.
    """
    free = np.ones((len(views), PER_VIEW), np.bool_)
    is_given = [footage.given[view] is not None for view in views]
    free[is_given] = False
    if not any(is_given):
        free[0, :6] = False
    return free


def _moving_tracks(footage: Footage) -> dict[int, list[int]]:
    """The tracks of each view that move enough to tell anything, those with most moments first."""
    config = footage.config
    found: dict[int, list[tuple[int, int]]] = {}
    for i, view in enumerate(footage.views.tolist()):
        count = footage.moments([i], [view], config.max_moments).shape[1]
        if count >= config.min_moments // 2:
            found.setdefault(view, []).append((-count, i))
    return {
        view: [i for _, i in sorted(tracks)[: config.max_tracks_per_view]]
        for view, tracks in found.items()
    }


def _links_of(
    footage: Footage,
    a: int,
    b: int,
    pairs: Sequence[tuple[int, int]],
    at_each: Callable[[], None],
) -> list[Link]:
    """Links of two views, at most one for each pair of tracks; calls `at_each` before each step."""
    config = footage.config
    guesses = []
    for tracks in pairs:
        at_each()
        seen = footage.moments(tracks, [a, b], config.max_moments // 2)
        if seen.shape[1] < config.min_moments:
            continue
        points = np.where(seen[..., 2:] > 0, seen[..., :2], np.nan)
        for factor in FOCALS:
            factors = [1.0 if footage.given[view] is not None else factor for view in (a, b)]
            focal = footage.usual_focal_px[[a, b]] * factors
            spread = config.keypoint_error_sizes * np.sqrt(
                np.prod([np.nanmedian(_extent(points[k])) / focal[k] for k in range(2)])
            )
            found = relative_poses(
                points[0] / focal[0], points[1] / focal[1], spread, footage.bones
            )
            guesses += [(pose.cost, tracks, pose, np.log(focal)) for pose in found[:3]]
            if factors == [1.0, 1.0] and factor != 1.0:
                break
    guesses.sort(key=lambda guess: guess[0])
    adjusted: dict[tuple[int, int], list[Located]] = {}
    for _, tracks, pose, log_focal in guesses[:MAX_ADJUSTED]:
        at_each()
        poses = {
            a: (np.eye(3), np.zeros(3), float(log_focal[0])),
            b: (pose.rotation, pose.shift_m, float(log_focal[1])),
        }
        if footage.given[a] is not None or footage.given[b] is not None:
            poses = _beside_given(footage, poses, a, b)
        adjusted.setdefault(tracks, []).append(settle(footage, poses, [frozenset(tracks)]))
    return [_link(found, (a, b), tracks, footage) for tracks, found in adjusted.items()]


def _beside_given(footage: Footage, poses: dict[int, Pose], a: int, b: int) -> dict[int, Pose]:
    """Move both cameras so that the given one stands where it does."""
    fixed = a if footage.given[a] is not None else b
    other = b if fixed == a else a
    rotation, shift, _ = given_pose(footage, fixed)
    turn = poses[other][0] @ poses[fixed][0].T
    step = poses[other][1] - turn @ poses[fixed][1]
    return {
        fixed: given_pose(footage, fixed),
        other: (turn @ rotation, turn @ shift + step, poses[other][2]),
    }


def _link(
    found: Sequence[Located], views: tuple[int, int], tracks: tuple[int, int], footage: Footage
) -> Link:
    """The best of the adjusted hypotheses of two tracks, with its rival's cost."""
    by_keypoint = [one.cost / max((one.seen.weights > 0).sum(), 1) for one in found]
    best = int(np.argmin(by_keypoint))
    turns = [one.solution.rotation[1] @ one.solution.rotation[0].T for one in found]
    rivals = [
        cost
        for cost, turn in zip(by_keypoint, turns, strict=True)
        if turn_between_deg(turn, turns[best]) > footage.config.rival_turn_deg
    ]
    solution = found[best].solution
    return Link(
        views=views,
        tracks=frozenset(tracks),
        rotation=turns[best],
        shift_m=solution.shift_m[1] - turns[best] @ solution.shift_m[0],
        log_focal=solution.log_focal,
        cost=by_keypoint[best],
        rival=min(rivals, default=np.inf),
        num_moments=found[best].seen.weights.shape[1],
    )


def _attach(
    footage: Footage, poses: dict[int, Pose], people: Sequence[frozenset[int]], link: Link
) -> tuple[dict[int, Pose], list[frozenset[int]]] | None:
    """Poses and people with a link's new view; None where the link joins nothing new to what is
    located.
    """
    a, b = link.views
    if (a in poses) == (b in poses):
        return None
    if a in poses:
        rotation, shift, _ = poses[a]
        pose = (link.rotation @ rotation, link.rotation @ shift + link.shift_m, link.log_focal[1])
        new = b
    else:
        rotation, shift, _ = poses[b]
        back = link.rotation.T
        pose = (back @ rotation, back @ (shift - link.shift_m), link.log_focal[0])
        new = a
    joined = link.tracks.union(*(group for group in people if group & link.tracks))
    if footage.conflict(joined):
        return None
    rest = [group for group in people if not group & link.tracks]
    return {**poses, new: pose}, [*rest, joined]


def _triangulated(start: Solution, seen: Sightings) -> Array:
    """Joints (N, K, 3) from the cameras of a solution; where two views do not meet, the middle of
    the person.
    """
    cameras = cameras_of(start)
    shape = seen.weights.shape
    points, _ = triangulate(
        cameras, seen.points_px.reshape(shape[0], -1, 2), seen.weights.reshape(shape[0], -1)
    )
    points = points.reshape(*shape[1:], 3)
    middle = np.median(points[np.isfinite(points).all(axis=2)].reshape(-1, 3), axis=0)
    for moment in points:
        known = np.isfinite(moment).all(axis=1)
        moment[~known] = np.median(moment[known], axis=0) if known.any() else middle
    return points


def cameras_of(solution: Solution) -> list[Camera]:
    """The solution's cameras, with the principal point at 0."""
    cameras = []
    for rotation, shift, log_focal in zip(
        solution.rotation, solution.shift_m, solution.log_focal, strict=True
    ):
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3] = rotation.T
        world_from_cam[:3, 3] = -rotation.T @ shift
        focal = float(np.exp(log_focal))
        cameras.append(
            Camera(intrinsics=np.diag([focal, focal, 1.0]), world_from_cam=world_from_cam)
        )
    return cameras


def _extent(points: Array) -> Array:
    """Longer side of the bounds of points (N, K, 2), NaN where not seen; (N,)."""
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(points)
        high = np.where(seen, points, -np.inf).max(axis=1)
        low = np.where(seen, points, np.inf).min(axis=1)
        extent: Array = (high - low).max(axis=1)
    extent[~np.isfinite(extent)] = np.nan
    return extent
