"""Bundle adjustment of cameras and people: cameras, joints and bone lengths that explain the
keypoints best.

Plain bundle adjustment of noisy keypoints leaves the focal length and the depth of bodies nearly
free. Here a person's bones keep their length over time, are as long left as right, and are about
as long as people's usually are, which also sets the scale. It is Levenberg and Marquardt's method
with the Schur complement over moments (Triggs et al., Bundle adjustment, a modern synthesis, 1999):
the joints of a moment are one small block, so a step costs time linear in moments. Errors in
pixels weigh by Cauchy's loss. scipy's `least_squares` took 50 times as long on the same problem.

Arrays: V views, N moments (one person at one time), K keypoints, B kinds of bones, P people.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mining.calibration.bones import Bones

Array = NDArray[np.float64]
PER_VIEW = 7  # global parameters of a view: turn (3), shift (3), logarithm of the focal length
MIN_DEPTH_M = 0.05  # points nearer to a camera's plane, or behind it, count as this near


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """What was seen: `points_px` (V, N, K, 2) less the principal point, `weights` (V, N, K) from 0
    (not seen), `spread_px` (V, N) the usual error of a keypoint there, `person` (N,) who it is.
    """

    points_px: Array
    weights: Array
    spread_px: Array
    person: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Cameras, people's joints (N, K, 3) in metres and the logarithms of bone lengths (P, B);
    `rotation` (V, 3, 3) and `shift_m` (V, 3) take world points to cameras, `log_focal` is (V,).
    """

    rotation: Array
    shift_m: Array
    log_focal: Array
    joints_world: Array
    log_bones: Array


@dataclass(frozen=True, kw_only=True)
class Priors:
    """What is believed before looking: the usual focal length (V,) in pixels as a logarithm, and
    the deviations (logarithms, so about shares) of what is usual.
    """

    log_focal: Array
    focal_deviation: float
    focal_difference: float  # between the views of one capture, mostly cameras of one model
    bone_deviation: float  # of a person's bones from usual people's
    bone_change: float  # of one bone from moment to moment, by keypoints placed wrongly


def adjust(
    start: Solution,
    seen: Sightings,
    bones: Bones,
    priors: Priors,
    free: NDArray[np.bool_],
    max_steps: int,
    tolerance: float = 3e-4,
) -> tuple[Solution, float]:
    """Move a solution to the nearest least cost; `free` (V, 7) says which parameters of each view
    may change. Returns it with its cost, half the sum of squared weighted errors.
    """
    solution, damping = start, 1e-3
    system = _linearize(solution, seen, bones, priors)
    keep = np.concatenate([free.ravel(), np.ones(solution.log_bones.size, np.bool_)])
    for _ in range(max_steps):
        stepped, cost = solution, np.inf
        for _ in range(6):
            stepped = _step(solution, system, keep, damping)
            cost = _cost(stepped, seen, bones, priors)
            if cost < system.cost:
                break
            damping *= 6
        if not cost < system.cost:
            break
        gain = 1 - cost / system.cost
        solution, damping = stepped, max(damping / 4, 1e-7)
        system = _linearize(solution, seen, bones, priors)
        if gain < tolerance:
            break
    return solution, system.cost


def errors_px(solution: Solution, seen: Sightings) -> Array:
    """Distance of each keypoint from its joint's image (V, N, K) in pixels; NaN where not seen."""
    errors, in_front, _ = _misses(solution, seen)
    distance: Array = np.linalg.norm(errors, axis=3)
    distance[~in_front] = np.inf
    distance[seen.weights == 0] = np.nan
    return distance


@dataclass(frozen=True)
class _System:
    """The normal equations, joints (N, 3K) apart from what all moments share (G,)."""

    cost: float
    joints: Array  # (N, 3K, 3K)
    mixed: Array  # (N, 3K, G)
    shared: Array  # (G, G)
    joints_slope: Array  # (N, 3K)
    shared_slope: Array  # (G,)


def _misses(solution: Solution, seen: Sightings) -> tuple[Array, NDArray[np.bool_], Array]:
    """Errors in pixels (V, N, K, 2), which points lie in front (V, N, K), and points as cameras
    see them (V, N, K, 3), pushed in front.
    """
    points = np.einsum("vij,nkj->vnki", solution.rotation, solution.joints_world, optimize=True)
    points += solution.shift_m[:, None, None]
    in_front = points[..., 2] > MIN_DEPTH_M
    points[..., 2] = np.where(in_front, points[..., 2], MIN_DEPTH_M)
    focal = np.exp(solution.log_focal)[:, None, None, None]
    return focal * points[..., :2] / points[..., 2:] - seen.points_px, in_front, points


def _prior_errors(solution: Solution, bones: Bones, priors: Priors) -> tuple[Array, Array, Array]:
    """Errors, in deviations, of focal lengths (V,), of their differences (V,), and of bones (P,
    B).
    """
    focal = (solution.log_focal - priors.log_focal) / priors.focal_deviation
    relative = solution.log_focal - priors.log_focal
    difference = (relative - relative.mean()) / priors.focal_difference
    bone = (solution.log_bones - np.log(bones.usual_m)) / priors.bone_deviation
    return focal / np.sqrt(len(focal)), difference, bone


def _bone_errors(
    solution: Solution, seen: Sightings, bones: Bones, priors: Priors
) -> tuple[Array, Array, Array]:
    """Errors of bones (N, bones) in deviations, their directions (N, bones, 3), and the factors
    (bones,) from metres to deviations.
    """
    a, b = solution.joints_world[:, bones.ends[:, 0]], solution.joints_world[:, bones.ends[:, 1]]
    away = a - b
    length = np.maximum(np.linalg.norm(away, axis=2), 1e-9)
    factor = (bones.stiffness / bones.usual_m)[bones.kinds] / priors.bone_change
    expected = np.exp(solution.log_bones)[seen.person][:, bones.kinds]
    return (length - expected) * factor, away / length[..., None], factor


def _cost(solution: Solution, seen: Sightings, bones: Bones, priors: Priors) -> float:
    errors, in_front, _ = _misses(solution, seen)
    square = (errors**2).sum(axis=3) / seen.spread_px[..., None] ** 2
    square[~in_front] += 100.0
    square = np.where(seen.weights > 0, square, 0.0)
    bone, _, _ = _bone_errors(solution, seen, bones, priors)
    total = (seen.weights * np.log1p(square)).sum() + np.log1p(bone**2).sum()
    total += sum((part**2).sum() for part in _prior_errors(solution, bones, priors))
    return float(total) / 2


def _linearize(solution: Solution, seen: Sightings, bones: Bones, priors: Priors) -> _System:
    num_views, num_moments, num_keypoints = seen.weights.shape
    num_people, num_kinds = solution.log_bones.shape
    num_shared = PER_VIEW * num_views + num_people * num_kinds
    joints = np.zeros((num_moments, num_keypoints, 3, num_keypoints, 3))
    joints_slope = np.zeros((num_moments, num_keypoints, 3))
    mixed = np.zeros((num_moments, num_keypoints, 3, num_shared))
    shared, shared_slope = np.zeros((num_shared, num_shared)), np.zeros(num_shared)

    errors, _, points = _misses(solution, seen)
    square = (errors**2).sum(axis=3) / seen.spread_px[..., None] ** 2
    weights = seen.weights / (1 + square) / seen.spread_px[..., None] ** 2
    errors = np.where(seen.weights[..., None] > 0, errors, 0.0)
    weights = np.where(seen.weights > 0, weights, 0.0)
    focal = np.exp(solution.log_focal)[:, None, None]
    by_point = np.zeros((*weights.shape, 2, 3))  # derivative of pixels by points as a camera sees
    by_point[..., 0, 0] = by_point[..., 1, 1] = focal / points[..., 2]
    by_point[..., :, 2] = -focal[..., None] * points[..., :2] / points[..., 2:] ** 2
    by_joint = by_point @ solution.rotation[:, None, None]
    turned = points - solution.shift_m[:, None, None]
    by_view = np.zeros((*weights.shape, 2, PER_VIEW))
    by_view[..., :3] = np.cross(turned[..., None, :], by_point, axis=-1)
    by_view[..., 3:6] = by_point
    by_view[..., 6] = focal[..., None] * points[..., :2] / points[..., 2:]
    weighted = weights[..., None, None] * by_joint
    diagonal = np.arange(num_keypoints)
    joints[:, diagonal, :, diagonal] += np.einsum(
        "vnkci,vnkcj->knij", weighted, by_joint, optimize=True
    )
    joints_slope += np.einsum("vnkci,vnkc->nki", weighted, errors, optimize=True)
    for view in range(num_views):
        part = slice(PER_VIEW * view, PER_VIEW * (view + 1))
        mixed[..., part] = np.einsum("nkci,nkcg->nkig", weighted[view], by_view[view])
        flat = by_view[view].reshape(-1, PER_VIEW)
        heavy = flat * np.repeat(weights[view].ravel(), 2)[:, None]
        shared[part, part] += heavy.T @ flat
        shared_slope[part] += heavy.T @ errors[view].ravel()

    bone, towards, factor = _bone_errors(solution, seen, bones, priors)
    weight = 1 / (1 + bone**2)
    lengths = np.exp(solution.log_bones)[seen.person][:, bones.kinds]
    moments = np.arange(num_moments)
    for number, ((a, b), kind) in enumerate(zip(bones.ends, bones.kinds, strict=True)):
        slope = towards[:, number] * factor[number]  # by joint a; the opposite by joint b
        heavy = slope * weight[:, number, None]
        block = heavy[:, :, None] * slope[:, None]
        pull = heavy * bone[:, number, None]
        place = PER_VIEW * num_views + seen.person * num_kinds + kind
        by_length = -lengths[:, number] * factor[number]
        for joint, sign in ((a, 1.0), (b, -1.0)):
            joints[:, joint, :, joint] += block
            joints[:, joint, :, a + b - joint] -= block
            joints_slope[:, joint] += sign * pull
            mixed[moments, joint, :, place] += sign * heavy * by_length[:, None]
        np.add.at(shared, (place, place), weight[:, number] * by_length**2)
        np.add.at(shared_slope, place, weight[:, number] * by_length * bone[:, number])

    own, difference, usual = _prior_errors(solution, bones, priors)
    places = PER_VIEW * np.arange(num_views) + 6
    own_factor = 1 / priors.focal_deviation / np.sqrt(num_views)
    centring = (np.eye(num_views) - 1 / num_views) / priors.focal_difference
    shared[places, places] += own_factor**2
    shared[np.ix_(places, places)] += centring.T @ centring
    shared_slope[places] += own * own_factor + centring.T @ difference
    rest = np.arange(PER_VIEW * num_views, num_shared)
    shared[rest, rest] += priors.bone_deviation**-2
    shared_slope[rest] += usual.ravel() / priors.bone_deviation
    size = 3 * num_keypoints
    return _System(
        _cost(solution, seen, bones, priors),
        joints.reshape(num_moments, size, size),
        mixed.reshape(num_moments, size, num_shared),
        shared,
        joints_slope.reshape(num_moments, size),
        shared_slope,
    )


def _step(solution: Solution, system: _System, keep: NDArray[np.bool_], damping: float) -> Solution:
    """One damped step: solve for what is shared with the joints eliminated, then for the joints."""
    size = system.joints.shape[1]
    joints = system.joints.copy()
    diagonal = np.arange(size)
    joints[:, diagonal, diagonal] *= 1 + damping
    joints[:, diagonal, diagonal] += 1e-3  # joints that nothing holds stay where they are
    mixed = system.mixed[..., keep]
    both = np.concatenate([mixed, system.joints_slope[..., None]], axis=2)
    solved = np.linalg.solve(joints, both)
    shared = system.shared[np.ix_(keep, keep)].copy()
    shared[np.diag_indices_from(shared)] *= 1 + damping
    shared[np.diag_indices_from(shared)] += 1e-9
    flat = mixed.reshape(-1, mixed.shape[2])
    shared -= flat.T @ solved[..., :-1].reshape(flat.shape)
    slope = system.shared_slope[keep] - flat.T @ solved[..., -1].ravel()
    change = np.zeros(len(keep))
    change[keep] = -np.linalg.lstsq(shared, slope, rcond=None)[0]
    moved = -solved[..., -1] - solved[..., :-1] @ change[keep]
    num_views = len(solution.log_focal)
    by_view = change[: PER_VIEW * num_views].reshape(num_views, PER_VIEW)
    turns = Rotation.from_rotvec(by_view[:, :3]).as_matrix()
    return replace(
        solution,
        rotation=turns @ solution.rotation,
        shift_m=solution.shift_m + by_view[:, 3:6],
        log_focal=solution.log_focal + by_view[:, 6],
        joints_world=solution.joints_world + moved.reshape(solution.joints_world.shape),
        log_bones=solution.log_bones
        + change[PER_VIEW * num_views :].reshape(solution.log_bones.shape),
    )
