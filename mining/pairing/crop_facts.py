"""What the terms of pairs need of each crop, worked out once for a crop and not once for a pair:
its joints in space, the directions from which it is seen, and what of the surface its view sees.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import NUM_BODY_KEYPOINTS
from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.geometry.covisibility import seen_surface
from mining.geometry.view_angle import directions_from_within, directions_to
from mining.identity.joints import Identity, joints_near
from mining.identity.linking import keypoints_of
from mining.identity.present import Present
from mining.pairing.score import CropFacts

Array = NDArray[np.float64]


def crop_facts(
    crops: Sequence[Row],
    views: Sequence[str],
    cameras: Sequence[Camera | None],
    joints_world: Array,
    others: Sequence[Array] = (),
) -> list[CropFacts]:
    """The facts of one identity's crops of one part, rows of the table `crops`.

    `views` are the view ids, `cameras` theirs in the same order. `joints_world` (N, K, 3) are the
    joints at each crop's time and `others` those of other bodies (N, 17, 3), as `joints_at` gives
    them.
    """
    if not crops:
        return []
    places = {view_id: place for place, view_id in enumerate(views)}
    seen_by = [places[row["view_id"]] for row in crops]
    cameras_here = [cameras[place] for place in seen_by]
    centres_world = np.array(
        [np.full(3, np.nan) if camera is None else camera.centre_world for camera in cameras_here]
    )
    to_camera = directions_to(centres_world, joints_world)
    from_within = directions_from_within(centres_world, joints_world)
    surfaces = seen_surface(joints_world, cameras_here, others)
    keypoints_px = keypoints_of(crops)
    return [
        CropFacts(
            crop_id=row["crop_id"], view=seen_by[i], time_s=row["time_s"],
            keypoints_px=keypoints_px[i], box_px=np.array(row["box_px"]),
            sharpness=row["sharpness"], phash=row["phash"], truncation=row["truncation"],
            occlusion=row["occlusion"], appearance=row["appearance"],
            joints_world=joints_world[i], to_camera_world=to_camera[i],
            to_camera_within=from_within[i], seen_surface=surfaces[i],
        )
        for i, row in enumerate(crops)
    ]  # fmt: skip


def others_at(
    geometry: Identity, bodies: Present, times_s: Array, max_sync_error_s: float
) -> list[Array]:
    """The joints (N, 17, 3) at times (N,) of all `bodies` but the identity's own that are there at
    any of these times and are known in space.
    """
    found: list[Array] = []
    if not len(times_s):
        return found
    for body in bodies.between(times_s.min(), times_s.max(), max_sync_error_s):
        if body is geometry or body.joints_world.shape[1] != NUM_BODY_KEYPOINTS:
            continue
        joints_world = joints_near(body, times_s, max_sync_error_s)
        if np.isfinite(joints_world).any():
            found.append(joints_world)
    return found
