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

from catalog.keypoints import LEFT_WRIST, NUM_BODY_KEYPOINTS, RIGHT_WRIST
from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.body_place import project
from mining.identity.joints import Identity, instants_at, joints_at, joints_near
from mining.identity.present import Present
from mining.sources.base import Part

Array = NDArray[np.float64]

WRISTS: dict[Part, tuple[int, int]] = {  # own, other
    "left_hand": (LEFT_WRIST, RIGHT_WRIST),
    "right_hand": (RIGHT_WRIST, LEFT_WRIST),
}
BOTH = [LEFT_WRIST, RIGHT_WRIST]
MAX_OFFSET = 1.0  # of the hand's wrist from the body's, over the hand's extent
MAX_OFFSET_BOTH = 0.5  # the same from the wrist in space and from the body's keypoint: beyond it
# the keypoints are those of no hand, such as of one that reaches up the forearm
MIN_LEAD = 0.5  # by which another wrist is further from the hand, over the hand's extent
MIN_CONFIDENCE = 0.5  # of a body's wrist that is not known in space
SAME_BODY = 0.1  # median distance of joints, over the body's size, of one person in two identities


class HandPlaces:
    """Tells of the hands of a capture whether they are at their own wrist and at no other.

    `detections` are all of the capture's, `bodies` everybody's joints in space, `places` those of
    the views among the `cameras`.
    """

    def __init__(
        self,
        detections: Sequence[Row],
        bodies: Present,
        cameras: Sequence[Camera | None],
        places: Mapping[str, int],
        max_sync_error_s: float,
    ) -> None:
        self._detections, self._bodies, self._cameras = detections, bodies, cameras
        self._places, self._max_sync_error_s = places, max_sync_error_s
        self._found: dict[tuple[str, float], dict[str, Array]] = defaultdict(dict)
        for row in detections:
            if row["part"] == "body":
                keypoints = np.reshape(row["keypoints_px"], (-1, 3))
                shown = keypoints[:, 2:] >= MIN_CONFIDENCE
                in_frame = self._found[row["view_id"], row["time_s"]]
                in_frame[row["detection_id"]] = np.where(shown, keypoints[:, :2], np.nan)

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
        wrist, other_wrist = WRISTS[part]
        disputed = own.disputed[instants_at(own, times_s), wrist]
        own_px = self._project(joints_at(own, times_s, self._max_sync_error_s), rows)
        others_px = self._others_px(rows, times_s, own)
        wrong: dict[int, tuple[str, str]] = {}
        for k, (i, row) in enumerate(zip(hands, rows, strict=True)):
            in_frame = self._found[row["view_id"], row["time_s"]]
            here_px = in_frame[row["body_detection_id"]]
            found_px = [one for key, one in in_frame.items() if key != row["body_detection_id"]]
            others = _without_same(np.stack([here_px, *found_px, *others_px[k]])[1:], here_px)
            at_px = np.where(np.isfinite(own_px[k]), own_px[k], here_px)
            points_px = np.reshape(row["keypoints_px"], (-1, 3))[:, :2]
            wrists_px = np.stack(
                [at_px[wrist], at_px[other_wrist], *others[:, BOTH].reshape(-1, 2)]
            )
            apart_px = np.linalg.norm(wrists_px - points_px[0], axis=1)
            extent_px = max(float(np.ptp(points_px, axis=0).max()), 1.0)
            offset, *offsets = apart_px / extent_px
            other = float(np.nanmin([np.inf, *offsets]))
            detail = f"{offset:.2f} hands from its wrist, {other:.2f} from another"
            in_space, found = (
                float(np.linalg.norm(one - points_px[0])) / extent_px
                for one in (own_px[k, wrist], here_px[wrist])
            )
            if disputed[k]:
                wrong[i] = ("disputed_wrist", "views disagree on where its body's wrist is")
            elif offset > MAX_OFFSET or min(in_space, found) > MAX_OFFSET_BOTH:
                wrong[i] = ("not_at_wrist", f"its wrist is {offset:.2f} hands from the body's")
            elif other < offset + MIN_LEAD:
                wrong[i] = ("other_wrist" if other < offset else "ambiguous_wrist", detail)
        return wrong

    def _project(self, joints_world: Array, rows: Sequence[Row]) -> Array:
        """Joints (N, K, 3) in each row's view, (N, K, 2)."""
        return project(joints_world, [self._places[row["view_id"]] for row in rows], self._cameras)

    def _others_px(self, rows: Sequence[Row], times_s: Array, own: Identity) -> Array:
        """Where the joints in space of the other bodies are in each row's view, (N, B, 17, 2); NaN
        where unknown.
        """
        others = self._bodies.between(times_s.min(), times_s.max(), self._max_sync_error_s)
        found = [np.full((len(rows), 0, NUM_BODY_KEYPOINTS, 2), np.nan)]
        for body in others:
            if body is not own:
                joints_world = joints_near(body, times_s, self._max_sync_error_s)
                found.append(self._project(joints_world, rows)[:, None])
        return np.concatenate(found, axis=1)


def _without_same(others_px: Array, here_px: Array) -> Array:
    """The other bodies (B, 17, 2) but for those whose joints lie on the keypoints (17, 2) of this
    one: the same person, found twice, or in two identities.
    """
    shown = np.isfinite(here_px).all(axis=1)
    if not shown.any() or not len(others_px):
        return others_px
    size_px = max(float(np.ptp(here_px[shown], axis=0).max()), 1.0)
    apart = np.linalg.norm(others_px - here_px, axis=2) / size_px
    return others_px[np.median(np.where(np.isnan(apart), np.inf, apart), axis=1) >= SAME_BODY]
