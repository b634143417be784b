"""What was truly to be seen in a synthetic capture, and which detection shows whom.

A detection shows the true body, or hand, whose projected keypoints lie nearest to its own: a hand
whatever its side, so that a wrong side is found out. Two detections may show the same body.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catalog.parts import Row
from mining.sources.base import Part
from mining.synthetic.reader import parse_uri
from mining.synthetic.scene import Scene

Array = NDArray[np.float64]

MAX_DISTANCE: dict[str, float] = {"body": 0.15, "left_hand": 0.5, "right_hand": 0.5}
HANDS: tuple[Part, ...] = ("left_hand", "right_hand")
FAR = 1e6


@dataclass(frozen=True, kw_only=True)
class Truly:
    """A person's part as it truly was in one frame: `person` is the place in `Scene.people`,
    `keypoints_px` (K, 2) and `size_px` their extent, hidden ones and those beyond the frame too.
    """

    person: int
    part: Part
    keypoints_px: Array
    size_px: float
    inside: NDArray[np.bool_]


class CaptureTruth:
    """The truth of one synthetic capture, by the names of its views."""

    def __init__(self, uris: dict[str, str]) -> None:
        """`uris` of the views by view id, as in the catalog."""
        self._uris = uris

    @property
    def view_ids(self) -> list[str]:
        """The ids of the views."""
        return list(self._uris)

    @cached_property
    def scene(self) -> Scene:
        """The scene that all views show."""
        config, capture, _, _ = parse_uri(next(iter(self._uris.values())))
        return Scene(config, capture)

    def view(self, view_id: str) -> int:
        """The scene's number of a view."""
        return parse_uri(self._uris[view_id])[2]

    def seen(self, view_id: str, frame: int, parts: Sequence[Part]) -> list[Truly]:
        """The `parts` of everybody in a frame, wherever they are."""
        scene, view = self.scene, self.view(view_id)
        camera, config = scene.cameras[view], scene.config
        found = []
        for person in range(len(scene.people)):
            for part in parts:
                joints = scene.joints_world(person, frame, part)
                if (camera.to_camera(joints)[:, 2] <= 0.05).any():
                    continue  # behind the camera
                pixels = camera.project(joints)
                bounds = np.array([config.width_px, config.height_px])
                inside = np.all((pixels >= 0) & (pixels < bounds), axis=1)
                size_px = float(np.ptp(pixels, axis=0).max())
                found.append(
                    Truly(
                        person=person, part=part, keypoints_px=pixels, size_px=size_px,
                        inside=inside,
                    )
                )  # fmt: skip
        return found

    def match(self, detections: Sequence[Row]) -> dict[str, tuple[int, Part]]:
        """Whom each detection shows, by its id: the person and the part; those that show nobody are
        left out.
        """
        frames: dict[tuple[str, int, bool], list[Row]] = defaultdict(list)
        for row in detections:
            frames[row["view_id"], row["frame_index"], row["part"] == "body"].append(row)
        shown: dict[str, tuple[int, Part]] = {}
        for (view_id, frame, is_body), rows in frames.items():
            true = self.seen(view_id, frame, ("body",) if is_body else HANDS)
            for row in rows:
                distances = [_distance(row, one) for one in true]
                nearest = int(np.argmin(distances)) if distances else -1
                if distances and distances[nearest] < FAR:
                    shown[row["detection_id"]] = (true[nearest].person, true[nearest].part)
        return shown


def _distance(row: Row, true: Truly) -> float:
    """Median distance of the detected keypoints from the true ones as a share of the true size."""
    keypoints = np.reshape(row["keypoints_px"], (-1, 3))
    both = (keypoints[:, 2] >= 0.3) & true.inside
    if both.sum() < 4:
        return FAR
    apart_px = np.linalg.norm(keypoints[both, :2] - true.keypoints_px[both], axis=1)
    distance = float(np.median(apart_px)) / max(true.size_px, 1.0)
    return distance if distance <= MAX_DISTANCE[true.part] else FAR
