"""Whether the evidence for estimated cameras is enough: a wrong camera would make wrong pairs, no
camera only fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.calibration.bundle import Sightings, Solution, adjust, errors_px
from mining.calibration.grow_views import Link, Located, cameras_of, free_of, priors_of
from mining.calibration.sightings import MIN_KEYPOINTS, Footage
from mining.geometry.cameras import Camera

Array = NDArray[np.float64]

AGAIN_STEPS = 10  # of adjusting again, without a part of the time or with another focal length
AGAIN_TOLERANCE = 1e-6  # these begin near the least cost: they must not stop before they move


@dataclass(frozen=True, kw_only=True)
class ViewEstimate:
    """What was found of one view: its camera, or the reason (a word, and a sentence) why not.

    `error_px` is the median reprojection error, `spread_deg` the standard error of its angles to
    other views, `num_keypoints` how many keypoints it explains; None for given cameras.
    """

    camera: Camera | None
    error_px: float | None = None
    spread_deg: float | None = None
    num_keypoints: int | None = None
    problem: tuple[str, str] | None = None


def judge(footage: Footage, located: Located, links: Sequence[Link]) -> dict[int, ViewEstimate]:
    """What is found of each view whose camera was not given, with its problem where the evidence is
    too little.
    """
    config = footage.config
    errors = errors_px(located.solution, located.seen)
    allowed_px = located.seen.spread_px * (config.max_error_sizes / config.keypoint_error_sizes)
    shared = (located.seen.weights > 0).sum(axis=2) >= MIN_KEYPOINTS  # (V, N)
    min_explained = config.min_explained_by_two if len(located.views) == 2 else config.min_explained
    parallax = _parallax_deg(located.solution)
    spread = _spread_deg(footage, located)
    estimates = {}
    for row, (view, camera) in enumerate(
        zip(located.views, cameras_of(located.solution), strict=True)
    ):
        if footage.given[view] is not None:
            continue
        known = np.isfinite(errors[row])
        explained = (errors[row] <= allowed_px[row, :, None])[known]
        num_moments = int((shared[row] & (shared.sum(axis=0) > 1)).sum())
        problem = None
        if num_moments < config.min_moments:
            problem = ("too_few_moments", f"{num_moments} moments, of {config.min_moments} needed")
        elif explained.mean() < min_explained:
            problem = ("unexplained", f"{explained.mean():.2f} of its keypoints fit the others")
        elif np.delete(parallax[row], row).max() < config.min_parallax_deg:
            problem = ("small_parallax", f"{parallax[row].max():.1f} degrees to the nearest rays")
        elif spread[row] > config.max_spread_deg:
            problem = ("unsteady", f"its angles change by {spread[row]:.1f} degrees with the "
                       "moments looked at")  # fmt: skip
        elif len(located.views) == 2 and (rival := _rival(located, links)) < config.min_rival_cost:
            problem = ("ambiguous", f"another pose costs {rival:.2f} times as much")
        estimates[view] = ViewEstimate(
            camera=camera,
            error_px=float(np.median(errors[row][known])) if known.any() else None,
            spread_deg=float(spread[row]),
            num_keypoints=int(explained.sum()),
            problem=problem,
        )
    return estimates


def _rival(located: Located, links: Sequence[Link]) -> float:
    """Cost of the next other pose of two views, by that of the best."""
    ours = [link for link in links if link.views == located.views]
    least = min(link.cost for link in ours)
    return min(link.rival / least for link in ours)


def _parallax_deg(solution: Solution) -> Array:
    """Median angle between the rays of every two views at people's joints (V, V); angles over 90
    count as what they lack to 180, for rays that meet head on.
    """
    centres = -np.einsum("vji,vj->vi", solution.rotation, solution.shift_m)
    rays = centres[:, None] - solution.joints_world.reshape(-1, 3)
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    cosine = np.abs(np.einsum("vni,wni->vwn", rays, rays))
    angles: Array = np.degrees(np.arccos(np.median(np.clip(cosine, 0, 1), axis=2)))
    return angles


def _view_angles_deg(solution: Solution) -> Array:
    """Angle between every two views at the people's middle (V, V)."""
    middle = np.median(solution.joints_world.reshape(-1, 3), axis=0)
    to_camera = -np.einsum("vji,vj->vi", solution.rotation, solution.shift_m) - middle
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    angles: Array = np.degrees(np.arccos(np.clip(to_camera @ to_camera.T, -1, 1)))
    return angles


def _spread_deg(footage: Footage, located: Located) -> Array:
    """How uncertain each view's angles to the others are (V,): the median over the others of the
    root of two squared errors.

    One is the jackknife's over parts of the time (Efron and Tibshirani, An introduction to the
    bootstrap, 11.5). The other is how far angles follow when the usual focal length is taken one
    deviation longer or shorter: not at all where the footage itself tells the focal length.
    """
    seen, solution = located.seen, located.solution
    priors, free = priors_of(footage, located.views), free_of(footage, located.views)
    num_parts = footage.config.num_parts
    part = np.zeros(len(seen.person), np.int64)
    for person in np.unique(seen.person):
        mine = np.flatnonzero(seen.person == person)
        part[mine] = np.arange(len(mine)) * num_parts // len(mine)
    by_part = []
    for left_out in range(num_parts):
        keep = part != left_out
        start = replace(solution, joints_world=solution.joints_world[keep])
        less, _ = adjust(
            start,
            _moments_of(seen, keep),
            footage.bones,
            priors,
            free,
            AGAIN_STEPS,
            AGAIN_TOLERANCE,
        )
        by_part.append(_view_angles_deg(less) - _view_angles_deg(start))
    by_focal = []
    for deviation in (-priors.focal_deviation, priors.focal_deviation):
        moved = replace(priors, log_focal=priors.log_focal + deviation)
        again, _ = adjust(solution, seen, footage.bones, moved, free, AGAIN_STEPS, AGAIN_TOLERANCE)
        by_focal.append(_view_angles_deg(again))
    variance = np.var(by_part, axis=0) * (num_parts - 1) + np.var(by_focal, axis=0)
    others = ~np.eye(len(variance), dtype=np.bool_)
    return np.sqrt([np.median(row[mask]) for row, mask in zip(variance, others, strict=True)])


def _moments_of(seen: Sightings, keep: NDArray[np.bool_]) -> Sightings:
    """What was seen at some of the moments."""
    return Sightings(
        points_px=seen.points_px[:, keep],
        weights=seen.weights[:, keep],
        spread_px=seen.spread_px[:, keep],
        person=seen.person[keep],
    )
