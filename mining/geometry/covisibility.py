"""How much of a person's surface two views share: the surface's points that each camera sees, and
the share of the area seen by either that both see.

Where joints are triangulated, the points of `mining/geometry/surface.py` are looked at: a camera
sees a point that faces it, lies in its image and behind no other capsule, the person's own or
another's. Elsewhere the body is taken for an upright cylinder.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.geometry.pose import seen_keypoints
from mining.geometry.surface import place_bones, surface_of, unit_lengths_m

Array = NDArray[np.float64]
Seen = NDArray[np.int8]  # per point of the surface: 1 seen, 0 not, -1 unknown

MIN_KNOWN_AREA = 0.3  # share of the surface that must be known in both views
CLEARANCE = 0.04  # a point is hidden by what is this share of the unit length nearer
OCCLUDER_MARGIN_M = 0.2  # how far a body may reach beyond its joints
BODY_HANDS = (6, 9)  # bones of a body's hands: too rough to hide anything, and a hand's own bones
CHUNK = 256  # views looked at in one go: bounds the memory to tens of megabytes


def seen_surface(
    joints_world: Array, cameras: Sequence[Camera | None], others: Sequence[Array] = ()
) -> list[Seen | None]:
    """Which points of one person's (or hand's) surface each of N views sees.

    `joints_world` (N, K, 3) are the joints at each view's time, NaN where unknown; `cameras` their
    cameras, whose `size_px` bounds the image where it is known. `others` are bodies that may stand
    before it, each (N, 17, 3) at the same times: other people, and the own body of a hand. None for
    a view without camera or with an unknown trunk or palm.
    """
    found: list[Seen | None] = [None] * len(cameras)
    units_m = unit_lengths_m(joints_world)
    known = np.isfinite(units_m)
    if not known.any():
        return found
    unit_m = float(np.median(units_m[known]))
    usable = [i for i, camera in enumerate(cameras) if camera is not None and known[i]]
    for first in range(0, len(usable), CHUNK):
        rows = usable[first : first + CHUNK]
        views = [camera for i in rows if (camera := cameras[i]) is not None]
        looked = _look(joints_world[rows], views, unit_m, [other[rows] for other in others])
        for i, seen in zip(rows, looked, strict=True):
            found[i] = seen if (seen >= 0).any() else None
    return found


def shared_surface(seen_a: Seen, seen_b: Seen, num_joints: int) -> float | None:
    """The area that both see over the area that either sees, 0 to 1, of the points known in both
    (S,); None where too little is known.
    """
    area = surface_of(num_joints).area
    known = (seen_a >= 0) & (seen_b >= 0)
    if area @ known < MIN_KNOWN_AREA * area.sum():
        return None
    either = area @ (known & ((seen_a | seen_b) > 0))
    return float(area @ ((seen_a > 0) & (seen_b > 0)) / either) if either > 0 else 0.0


def shared_cylinder(
    keypoints_a: Array,
    keypoints_b: Array,
    view_angle_deg: float | None,
    *,
    min_confidence: float,
) -> float:
    """Estimate the share (0 to 1) of the surface seen by either view that both see from keypoints
    (K, 3) and the angle alone.

    Each view sees half of an upright cylinder, an arc of 180 degrees; views at an angle a share an
    arc of 180 - a, and together see 180 + a, so the share is (180 - a) / (180 + a): 1 for the same
    direction, 1/2 at 60 degrees, 1/3 at 90, 0 from opposite sides. It is multiplied by the
    intersection over union of the keypoints seen in each, which measures what lies outside the
    frame or behind things. With an unknown angle that second factor stands alone, and is too high
    where the body has turned.
    """
    seen_a, seen_b = (
        seen_keypoints(keypoints_a, min_confidence),
        seen_keypoints(keypoints_b, min_confidence),
    )
    union = int((seen_a | seen_b).sum())
    if union == 0:
        return 0.0
    arc = 1.0 if view_angle_deg is None else (180.0 - view_angle_deg) / (180.0 + view_angle_deg)
    return float(arc * (seen_a & seen_b).sum() / union)


def _look(
    joints_world: Array, cameras: Sequence[Camera], unit_m: float, others: Sequence[Array]
) -> Seen:
    """`seen_surface` of N views that all have cameras and trunks: (N, S)."""
    surface = surface_of(joints_world.shape[1])
    radii_m = np.array([bone.radius for bone in surface.bones]) * unit_m
    ends, frames = place_bones(joints_world, unit_m)
    start, end = ends[:, surface.bone_of, 0], ends[:, surface.bone_of, 1]
    normals = (frames[:, surface.bone_of] @ surface.normal[:, :, None])[..., 0]
    points = start + surface.along[:, None] * (end - start)
    points += radii_m[surface.bone_of][:, None] * normals
    centres = np.stack([camera.centre_world for camera in cameras])
    facing = ((centres[:, None] - points) * normals).sum(axis=2) > 0
    inside = np.stack([_inside(camera, rows) for camera, rows in zip(cameras, points, strict=True)])
    extrinsics = np.stack([camera.cam_from_world for camera in cameras])
    points_cam = _to_cameras(extrinsics, points)
    clearance_m = CLEARANCE * unit_m
    hidden = _hidden(
        points_cam, _to_cameras(extrinsics, ends), radii_m, clearance_m, own=surface.bone_of
    )
    for other in others:
        rows = np.flatnonzero(_may_hide(points_cam, _to_cameras(extrinsics, other)))
        if len(rows):
            other_ends, other_radii_m = _occluders(other[rows])
            other_ends = _to_cameras(extrinsics[rows], other_ends)
            hidden[rows] |= _hidden(points_cam[rows], other_ends, other_radii_m, clearance_m)
    seen = (facing & inside & ~hidden).astype(np.int8)
    seen[~np.isfinite(points).all(axis=2)] = -1
    return seen


def _to_cameras(extrinsics: Array, points_world: Array) -> Array:
    """Points (N, ..., 3) in the coordinates of N cameras, in single precision: for comparing."""
    flat = points_world.reshape(len(points_world), -1, 3)
    moved = flat @ extrinsics[:, :3, :3].transpose(0, 2, 1) + extrinsics[:, None, :3, 3]
    return moved.reshape(points_world.shape).astype(np.float32)


def _may_hide(points_cam: Array, other_cam: Array) -> NDArray[np.bool_]:
    """Whether another's joints (N, K, 3) come near the line of sight to points (N, S, 3) and not
    wholly behind them; (N,).
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # a view in which nothing is known
        low, high, near, far = [], [], [], []
        for corners in (points_cam, other_cam):
            depth = np.where(corners[..., 2] > 0, corners[..., 2], np.nan)
            flat = corners[..., :2] / depth[..., None]
            low.append(np.nanmin(flat, axis=1))
            high.append(np.nanmax(flat, axis=1))
            near.append(np.nanmin(depth, axis=1))
            far.append(np.nanmax(depth, axis=1))
        margin = (OCCLUDER_MARGIN_M / near[1])[:, None]
        meet = (low[0] - margin <= high[1]) & (low[1] - margin <= high[0])
        may: NDArray[np.bool_] = meet.all(axis=1) & (near[1] <= far[0])
    return may


def _occluders(joints_world: Array) -> tuple[Array, Array]:
    """The capsules of bodies (N, 17, 3) but for their hands: ends (N, B, 2, 3) in world
    coordinates, radii (B,) in metres. Where the trunk is unknown there are none (NaN).
    """
    units_m = unit_lengths_m(joints_world)
    known = units_m[np.isfinite(units_m)]
    unit_m = float(np.median(known)) if len(known) else np.nan
    ends, _ = place_bones(joints_world, unit_m)
    bones = surface_of(joints_world.shape[1]).bones
    chosen = [k for k in range(len(bones)) if k not in BODY_HANDS]
    return ends[:, chosen], np.array([bones[k].radius for k in chosen]) * unit_m


def _inside(camera: Camera, points_world: Array) -> NDArray[np.bool_]:
    """Whether points (S, 3) lie before the camera and in its image; (S,)."""
    pixels = camera.project(points_world)
    if camera.size_px is None:
        return np.asarray(np.isfinite(pixels).all(axis=1))
    return np.asarray(((pixels >= 0) & (pixels < np.array(camera.size_px))).all(axis=1))


def _hidden(
    points_cam: Array,
    ends_cam: Array,
    radii_m: Array,
    clearance_m: float,
    own: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Whether points (N, S, 3) lie behind capsules, with ends (N, B, 2, 3) and radii (B,), all in
    camera coordinates; (N, S). A point is not hidden by its `own` capsule (S,).

    In the image a capsule is taken for the strip around its axis, as deep as its axis there: exact
    where its ends are about equally far, which for limbs at metres from the camera they are.
    """
    hidden = np.zeros(points_cam.shape[:2], np.bool_)
    depth = points_cam[..., 2]
    x, y = points_cam[..., 0] / depth, points_cam[..., 1] / depth
    deepest = depth - np.float32(clearance_m)
    for k, radius_m in enumerate(radii_m.astype(np.float32)):
        a, b = ends_cam[:, k, 0, :, None], ends_cam[:, k, 1, :, None]
        ax, ay = a[:, 0] / a[:, 2], a[:, 1] / a[:, 2]
        dx, dy = b[:, 0] / b[:, 2] - ax, b[:, 1] / b[:, 2] - ay
        offset_x, offset_y = x - ax, y - ay
        share = (offset_x * dx + offset_y * dy) / np.maximum(dx * dx + dy * dy, 1e-12)
        np.clip(share, 0.0, 1.0, out=share)
        offset_x -= share * dx
        offset_y -= share * dy
        axis_depth = a[:, 2] + share * (b[:, 2] - a[:, 2])
        bulge2 = radius_m**2 - (offset_x * offset_x + offset_y * offset_y) * axis_depth**2
        behind = axis_depth - np.sqrt(np.maximum(bulge2, 0.0)) < deepest
        behind &= bulge2 > 0
        if own is not None:
            behind &= own != k
        hidden |= behind
    return hidden
