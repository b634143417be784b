"""Whether a hand lies where its body's wrist is: the wrist as all views see it, which one view may
mistake for the other one, or for somebody else's.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.associate import Identity
from mining.sources.base import Part

WRISTS: dict[Part, tuple[int, int]] = {"left_hand": (9, 10), "right_hand": (10, 9)}  # own, other
MAX_OFFSET = 1.0  # of the hand's wrist from the body's, over the hand's extent


def elsewhere(
    part: Part,
    hands: Sequence[int],
    detections: Sequence[Row],
    body: Identity,
    cameras: Sequence[Camera | None],
    places: Mapping[str, int],
    max_sync_error_s: float,
) -> dict[int, tuple[str, str]]:
    """The hands (indices of `detections`) of one `part` that are not at the wrist of their `body`,
    with the reason and the figure: `not_at_wrist`, or `other_wrist` where the other one is nearer.

    Nothing can be said, and nothing is rejected, where the wrist was not triangulated.
    """
    wrong: dict[int, tuple[str, str]] = {}
    if part not in WRISTS or not len(body.times_s):
        return wrong
    for i in hands:
        row = detections[i]
        camera = cameras[places[row["view_id"]]]
        instant = int(np.searchsorted(body.times_s, row["time_s"] + 1e-9, side="right")) - 1
        if camera is None or instant < 0:
            continue
        if row["time_s"] - body.times_s[instant] > max_sync_error_s + 1e-9:
            continue
        points_px = np.reshape(row["keypoints_px"], (-1, 3))[:, :2]
        wrists_px = camera.project(body.joints_world[instant][list(WRISTS[part])])
        own, other = (
            np.linalg.norm(wrists_px - points_px[0], axis=1) / np.ptp(points_px, axis=0).max()
        )
        if own > MAX_OFFSET:
            wrong[i] = ("not_at_wrist", f"its wrist is {own:.2f} hands from the body's")
        elif other < own:
            wrong[i] = (
                "other_wrist",
                f"{own:.2f} hands from its wrist, {other:.2f} from the other",
            )
    return wrong
