"""People with 2D keypoints in one frame. Another detector is one class.

The default weights (yolo11n-pose) and the ultralytics package are AGPL-3.0. A detector from another
package is named by its entry point in the group `crosspairs.detectors`: a callable that takes a
DetectConfig and returns a Detector.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import NUM_BODY_KEYPOINTS
from mining.detecting.config import DetectConfig
from mining.detecting.weights import people_weights
from mining.detecting.yolo import load_yolo
from mining.plugins import find_plugin
from mining.sources.base import Detection

if TYPE_CHECKING:
    import ultralytics


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find people in an RGB image (H, W, 3), most confident first."""


def make_detector(config: DetectConfig) -> Detector:
    """Build the configured detector.

    Raises ValueError, naming those there are, for an unknown one.
    """
    if config.detector == "ultralytics":
        return UltralyticsDetector(config)
    unknown = f"detect.detector={config.detector}: unknown"
    make = find_plugin("crosspairs.detectors", config.detector, unknown, ["ultralytics"])
    detector: Detector = make(config)
    return detector


class UltralyticsDetector:
    """A YOLO pose model.

    One frame at a time on one CPU thread, so that its answers do not depend on the workers.
    """

    def __init__(self, config: DetectConfig) -> None:
        self.config = config

    @cached_property
    def model(self) -> "ultralytics.YOLO":
        """The network, loaded when the first frame comes: annotated footage never needs it."""
        return load_yolo(str(people_weights(self.config.weights)), "pose")

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See Detector."""
        bgr = np.ascontiguousarray(
            image[..., ::-1]
        )  # ultralytics takes arrays as OpenCV gives them
        device = None if self.config.device == "auto" else self.config.device
        result = self.model.predict(
            bgr,
            conf=self.config.confidence,
            imgsz=self.config.input_px,
            device=device,
            verbose=False,
        )[0]
        boxes_px = result.boxes.xyxy.cpu().numpy()
        if len(boxes_px) == 0:
            return []
        scores = result.boxes.conf.cpu().numpy()
        keypoints_px = result.keypoints.data.cpu().numpy()
        if keypoints_px.shape[1:] != (NUM_BODY_KEYPOINTS, 3):
            raise ValueError(
                f"{self.config.weights} gives keypoints of shape {keypoints_px.shape[1:]}, "
                "not COCO's 17 with a confidence each"
            )
        order = np.argsort(-scores, kind="stable")
        return [
            Detection(box_px=boxes_px[i], keypoints_px=keypoints_px[i], score=float(scores[i]))
            for i in order
        ]
