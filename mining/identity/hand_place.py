"""Whether a hand lies where its body's wrist is, and where no other wrist is.

A wrist lies where all views see it: one view may mistake it for the other one, or for somebody
else's. Where it is not known in space, as in footage of one camera, the body's own keypoint is
taken. Two wrists that a view shows at one place cannot be told apart there: a hand that is as near
to another wrist as to its own may be either's, and is rejected.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.body_place import project
from mining.identity.joints import Identity, instants_at, joints_at, joints_near
from mining.sources.base import Part

Array = NDArray[np.float64]

WRISTS: dict[Part, tuple[int, int]] = {"left_hand": (9, 10), "right_hand": (10, 9)}  # own, other
MAX_OFFSET = 1.0  # of the hand's wrist from the body's, over the hand's extent
MIN_LEAD = 0.5  # by which another wrist is further from the hand, over the hand's extent
MIN_CONFIDENCE = 0.5  # of a body's wrist that is not known in space


class HandPlaces:
    """Tells of the hands of a capture whether they are at their own wrist and at no other.

    `detections` are all of the capture's, `bodies` everybody's joints in space, `places` those of
    the views among the `cameras`.
    """

    def __init__(
        self,
        detections: Sequence[Row],
        bodies: Sequence[Identity],
        cameras: Sequence[Camera | None],
        places: Mapping[str, int],
        max_sync_error_s: float,
    ) -> None:
        self._detections, self._bodies, self._cameras = detections, bodies, cameras
        self._places, self._max_sync_error_s = places, max_sync_error_s
        self._in_frame: dict[tuple[str, float], list[Row]] = defaultdict(list)
        for row in detections:
            if row["part"] == "body":
                self._in_frame[row["view_id"], row["time_s"]].append(row)

    def elsewhere(
        self, part: Part, hands: Sequence[int], own: Identity
    ) -> dict[int, tuple[str, str]]:
        """The hands (indices of detections) of one `part` of a body that cannot be said to be its
        own, with the reason and the figure.

        `disputed_wrist` where the views disagree on the body's wrist; `not_at_wrist`; `other_wrist`
        where another wrist is nearer, of this body or of another; `ambiguous_wrist` where one is
        nearly as near. What the source's annotations give is believed.
        """
        hands = [i for i in hands if self._detections[i].get("source") != "given"]
        if part not in WRISTS or not hands:
            return {}
        rows = [self._detections[i] for i in hands]
        times_s = np.array([row["time_s"] for row in rows], dtype=np.float64)
        disputed = own.disputed[instants_at(own, times_s), WRISTS[part][0]]
        in_space = joints_at(own, times_s, self._max_sync_error_s)[:, list(WRISTS[part])]
        own_px = self._project(in_space, rows)
        others_px = self._others_px(rows, times_s, own)
        wrong: dict[int, tuple[str, str]] = {}
        for k, (i, row) in enumerate(zip(hands, rows, strict=True)):
            at_px, rivals_px = self._found_px(row, part)
            at_px = np.where(np.isfinite(own_px[k]), own_px[k], at_px)
            points_px = np.reshape(row["keypoints_px"], (-1, 3))[:, :2]
            apart_px = np.linalg.norm(
                np.concatenate([at_px, others_px[k], rivals_px]) - points_px[0], axis=1
            )
            offsets = apart_px / max(float(np.ptp(points_px, axis=0).max()), 1.0)
            offset, other = offsets[0], np.nanmin([np.inf, *offsets[1:]])
            detail = f"{offset:.2f} hands from its wrist, {other:.2f} from another"
            if disputed[k]:
                wrong[i] = ("disputed_wrist", "views disagree on where its body's wrist is")
            elif offset > MAX_OFFSET:
                wrong[i] = ("not_at_wrist", f"its wrist is {offset:.2f} hands from the body's")
            elif other < offset + MIN_LEAD:
                wrong[i] = ("other_wrist" if other < offset else "ambiguous_wrist", detail)
        return wrong

    def _project(self, joints_world: Array, rows: Sequence[Row]) -> Array:
        """Joints (N, K, 3) in each row's view, (N, K, 2)."""
        return project(joints_world, [self._places[row["view_id"]] for row in rows], self._cameras)

    def _others_px(self, rows: Sequence[Row], times_s: Array, own: Identity) -> Array:
        """The wrists of all other bodies where their joints in space are in each row's view,
        (N, R, 2); NaN where unknown.
        """
        found = [np.full((len(rows), 0, 2), np.nan)]
        for body in self._bodies:
            if body is not own:
                joints_world = joints_near(body, times_s, self._max_sync_error_s)
                found.append(self._project(joints_world[:, [9, 10]], rows))
        return np.concatenate(found, axis=1)

    def _found_px(self, hand: Row, part: Part) -> tuple[Array, Array]:
        """Wrists as found in a hand's frame: its body's own and other one (2, 2), and those of
        other bodies (R, 2).
        """
        own_px, others_px = np.full((2, 2), np.nan), [np.full((0, 2), np.nan)]
        for row in self._in_frame[hand["view_id"], hand["time_s"]]:
            wrists = np.reshape(row["keypoints_px"], (-1, 3))[list(WRISTS[part])]
            if row["detection_id"] == hand["body_detection_id"]:
                own_px = np.where([[True], [wrists[1, 2] >= MIN_CONFIDENCE]], wrists[:, :2], np.nan)
            else:
                others_px.append(wrists[wrists[:, 2] >= MIN_CONFIDENCE, :2])
        return own_px, np.concatenate(others_px)
