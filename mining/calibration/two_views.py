"""Two views of one person: every relative pose of the cameras that the keypoints could mean, best
first.

A search by chance (RANSAC) finds one answer and does not tell how many others are as good. Cameras
that film people mostly stand upright, so this begins with the second camera at even angles all
around the person and, from each, descends to the nearest least epipolar error (Sampson's first
order distance: Hartley and Zisserman, Multiple View Geometry, 11.4.3). What arrives at the same
place is one hypothesis.

Rays are keypoints on the image plane at depth 1, (T, K, 2), NaN where not seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mining.calibration.bones import Bones

Array = NDArray[np.float64]
NUM_AZIMUTHS = 16  # 22.5 degrees apart: a descent finds its way from half of that
TILTS_DEG = (0.0, 20.0)  # how far cameras look down, tried for both alike
NUM_STEPS = 15
MAX_POINTS = 250  # of all moments, evenly chosen; bounds the cost of long tracks
SAME_POSE_DEG = 5.0  # hypotheses that turn this little apart are one
MIN_IN_FRONT = 0.8  # share of points that lie in front of both cameras


@dataclass(frozen=True, kw_only=True)
class RelativePose:
    """Camera b from camera a: x_b = `rotation` x_a + `shift_m`, in metres of usual bones.

    `cost` is the mean Cauchy loss of epipolar errors, in their usual deviation.
    """

    rotation: Array
    shift_m: Array
    cost: float


def relative_poses(rays_a: Array, rays_b: Array, spread: float, bones: Bones) -> list[RelativePose]:
    """Hypotheses of how camera b stands to a, ascending by cost; `spread` is the usual error of
    rays.
    """
    both = np.isfinite(rays_a).all(axis=2) & np.isfinite(rays_b).all(axis=2)
    num_points = int(both.sum())
    if num_points < 30:
        return []
    chosen = np.linspace(0, num_points - 1, min(num_points, MAX_POINTS)).round().astype(int)
    x_a, x_b = _homogeneous(rays_a[both][chosen]), _homogeneous(rays_b[both][chosen])
    rotation, shift = _starts(rays_a, rays_b, bones)
    rotation, shift, costs = _descend(rotation, shift, x_a, x_b, spread)
    found: list[RelativePose] = []
    for place in np.argsort(costs, kind="stable"):
        if any(
            turn_between_deg(rotation[place], other.rotation) < SAME_POSE_DEG for other in found
        ):
            continue
        scaled = _scale(rotation[place], shift[place], rays_a, rays_b, bones)
        if scaled is not None:
            found.append(
                RelativePose(rotation=rotation[place], shift_m=scaled, cost=float(costs[place]))
            )
    return found


def depths_m(rays: Array, bones: Bones) -> Array:
    """About how far a person is (T,), from how long their bones look; NaN where none is seen.

    Bones look shorter than they are by their slant, 0.85 on average of limbs that hang or walk.
    """
    ends = rays[:, bones.ends]
    looks = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2)
    usual = np.where(np.isfinite(looks), bones.usual_m[bones.kinds], 0.0)
    length = np.nansum(looks, axis=1)
    depths: Array = np.full(len(rays), np.nan)
    known = length > 1e-9
    depths[known] = 0.85 * usual[known].sum(axis=1) / length[known]
    return depths


def triangulate_rays(rotation: Array, shift: Array, rays_a: Array, rays_b: Array) -> Array:
    """Points (..., 3) in camera a's frame, each in the middle of where two rays (..., 2) come
    nearest.
    """
    to_a = _homogeneous(rays_a)
    to_b = _homogeneous(rays_b) @ rotation  # directions of b's rays in a's frame
    centre_b = -rotation.T @ shift
    aa, bb, ab = (to_a**2).sum(-1), (to_b**2).sum(-1), (to_a * to_b).sum(-1)
    a_c, b_c = to_a @ centre_b, to_b @ centre_b
    determinant = np.maximum(aa * bb - ab**2, 1e-12)
    depth_a = (bb * a_c - ab * b_c) / determinant
    depth_b = (ab * a_c - aa * b_c) / determinant
    points: Array = (depth_a[..., None] * to_a + centre_b + depth_b[..., None] * to_b) / 2
    return points


def turn_between_deg(rotation_a: Array, rotation_b: Array) -> float:
    """Angle of the turn from one rotation to another, 0 to 180 degrees."""
    cosine = (np.trace(rotation_a.T @ rotation_b) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _homogeneous(rays: Array) -> Array:
    return np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)


def _starts(rays_a: Array, rays_b: Array, bones: Bones) -> tuple[Array, Array]:
    """Camera b at even angles around the person: rotations (H, 3, 3), shifts (H, 3) in metres."""
    places = []
    for rays in (rays_a, rays_b):
        middle = np.nanmedian(rays, axis=1)
        places.append(depths_m(rays, bones)[:, None] * _homogeneous(middle))
    rotations, shifts = [], []
    for tilt in np.radians(TILTS_DEG):
        down = np.array(
            [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
        )
        for around in 2 * np.pi * np.arange(NUM_AZIMUTHS) / NUM_AZIMUTHS:
            c, s = np.cos(around), np.sin(around)
            rotation = down @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ down.T
            rotations.append(rotation)
            shifts.append(np.nanmedian(places[1] - places[0] @ rotation.T, axis=0))
    return np.stack(rotations), np.stack(shifts)


def _descend(
    rotation: Array, shift: Array, x_a: Array, x_b: Array, spread: float
) -> tuple[Array, Array, Array]:
    """Levenberg-Marquardt on the epipolar errors of all hypotheses at once; poses and costs (H,).

    A pose has five freedoms: the turn, and the shift's direction (its length is kept).
    """
    damping = np.full(len(rotation), 1e-2)
    errors = _epipolar_errors(rotation, shift, x_a, x_b) / spread
    costs = np.log1p(errors**2).mean(axis=1)
    step = 1e-6
    for _ in range(NUM_STEPS):
        moved = [_move(rotation, shift, step * axis) for axis in np.eye(5)]
        slopes = np.stack(
            [_epipolar_errors(r, t, x_a, x_b) / spread - errors for r, t in moved], axis=2
        )
        slopes /= step
        weighted = slopes / (1 + errors**2)[..., None]
        normal = np.einsum("hmi,hmj->hij", weighted, slopes, optimize=True)
        normal += damping[:, None, None] * np.einsum("hij,ij->hij", normal, np.eye(5))
        normal += 1e-9 * np.eye(5)
        slope = np.einsum("hmi,hm->hi", weighted, errors, optimize=True)
        change = -np.linalg.solve(normal, slope[..., None])[..., 0]
        size = np.linalg.norm(change, axis=1, keepdims=True)
        new_rotation, new_shift = _move(
            rotation, shift, change * np.minimum(1, 0.3 / (size + 1e-9))
        )
        new_errors = _epipolar_errors(new_rotation, new_shift, x_a, x_b) / spread
        new_costs = np.log1p(new_errors**2).mean(axis=1)
        better = new_costs < costs
        rotation = np.where(better[:, None, None], new_rotation, rotation)
        shift = np.where(better[:, None], new_shift, shift)
        errors, costs = (
            np.where(better[:, None], new_errors, errors),
            np.where(better, new_costs, costs),
        )
        damping = np.where(better, damping / 4, damping * 8)
    return rotation, shift, costs


def _move(rotation: Array, shift: Array, change: Array) -> tuple[Array, Array]:
    """Turn by a `change`'s first three (radians), and tip the shift's direction by the last two;
    changes (H, 5), or one (5,) for all.
    """
    change = np.atleast_2d(change)
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    direction = shift / length
    other = np.eye(3)[np.abs(direction).argmin(axis=1)]
    first = np.cross(direction, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(direction, first)
    tipped = direction + change[:, 3:4] * first + change[:, 4:5] * second
    tipped *= length / np.linalg.norm(tipped, axis=1, keepdims=True)
    turns = Rotation.from_rotvec(change[:, :3]).as_matrix()
    return turns @ rotation, tipped


def _epipolar_errors(rotation: Array, shift: Array, x_a: Array, x_b: Array) -> Array:
    """Sampson's distance of M points from their epipolar lines under H poses, signed (H, M)."""
    x, y, z = shift.T / np.linalg.norm(shift, axis=1)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    essential = cross @ rotation
    lines_b = x_a @ essential.transpose(0, 2, 1)  # (H, M, 3)
    lines_a = x_b @ essential
    gradient = (lines_b[..., :2] ** 2).sum(axis=2) + (lines_a[..., :2] ** 2).sum(axis=2)
    errors: Array = (lines_b * x_b).sum(axis=2) / np.sqrt(np.maximum(gradient, 1e-18))
    return errors


def _scale(
    rotation: Array, shift: Array, rays_a: Array, rays_b: Array, bones: Bones
) -> Array | None:
    """The shift (3,) in metres that gives bones their usual length; None where points lie behind a
    camera.
    """
    points = triangulate_rays(rotation, shift, rays_a, rays_b)
    known = np.isfinite(points).all(axis=2)
    behind_b = (points @ rotation.T + shift)[..., 2] <= 0
    if np.mean((points[..., 2] > 0)[known] & ~behind_b[known]) < MIN_IN_FRONT:
        return None
    ends = points[:, bones.ends]
    lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2)
    stiff = bones.stiffness[bones.kinds] == 1
    ratios = (bones.usual_m[bones.kinds] / lengths)[:, stiff]
    if not np.isfinite(ratios).any():
        return None
    scaled: Array = shift * np.nanmedian(ratios)
    return scaled
