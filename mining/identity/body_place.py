"""Whether a body's keypoints lie where its joints are, as all views see them.

One view may take a person's left for their right, or give somebody half hidden the arms of whoever
stands in front. Such a body agrees with its own identity in part, so that its track is right; but
its keypoints are not this person's, and its hands are somebody else's.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import MIRRORED
from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.fits import AssociateConfig
from mining.identity.joints import Identity, joints_at

Array = NDArray[np.float64]


def misplaced(
    bodies: Sequence[int],
    detections: Sequence[Row],
    identity: Identity,
    cameras: Sequence[Camera | None],
    places: Mapping[str, int],
    config: AssociateConfig,
    max_sync_error_s: float,
) -> dict[int, tuple[str, str]]:
    """The bodies (indices of `detections`) of one identity whose keypoints are not its joints, with
    the reason and the figure: `mirrored` where left and right taken for each other would explain
    what is off, else `misplaced`.

    Nothing can be said, and nothing is rejected, where too few joints were triangulated. What the
    source's annotations give is believed.
    """
    wrong: dict[int, tuple[str, str]] = {}
    known = [i for i in bodies if cameras[places[detections[i]["view_id"]]] is not None]
    known = [i for i in known if detections[i].get("source") != "given"]
    times_s = np.array([detections[i]["time_s"] for i in known], dtype=np.float64)
    joints_px = project(
        joints_at(identity, times_s, max_sync_error_s),
        [places[detections[i]["view_id"]] for i in known], cameras,
    )  # fmt: skip
    for i, true_px in zip(known, joints_px, strict=True):
        keypoints = np.reshape(detections[i]["keypoints_px"], (-1, 3))
        seen = keypoints[:, 2] >= config.min_keypoint_confidence
        if not seen.any():
            continue
        size_px = max(float(np.ptp(keypoints[seen, :2], axis=0).max()), 1.0)
        errors, mirrored = (
            np.where(seen, np.linalg.norm(one - keypoints[:, :2], axis=1) / size_px, np.nan)
            for one in (true_px, true_px[MIRRORED])
        )
        off = errors > config.max_view_error
        count = int(np.isfinite(errors).sum())
        if count < config.min_keypoints or off.sum() <= config.max_misplaced_share * count:
            continue
        explained = off & (mirrored <= config.max_view_error)
        reason = "mirrored" if 2 * explained.sum() > off.sum() else "misplaced"
        wrong[i] = (reason, f"{off.sum()} of {count} joints are not where other views see them")
    return wrong


def project(joints_world: Array, views: Sequence[int], cameras: Sequence[Camera | None]) -> Array:
    """Joints (N, K, 3) as each detection's view sees them, (N, K, 2) in pixels; NaN where unknown,
    behind the camera, or without one.
    """
    joints_px = np.full((*joints_world.shape[:2], 2), np.nan)
    for view, camera in enumerate(cameras):
        rows = np.flatnonzero(np.asarray(views, np.int64) == view)
        if camera is not None and len(rows):
            pixels = camera.project(joints_world[rows].reshape(-1, 3))
            joints_px[rows] = pixels.reshape(len(rows), -1, 2)
    return joints_px
