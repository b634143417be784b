"""Which pixels are whose, by an instance segmentation model.

Without a model (`detect.masks=none`) the foreground of crops is drawn around their keypoints. An
ultralytics segmentation network is named by its weights file; a segmenter from another package by
its entry point in the group `crosspairs.segmenters`: a callable that takes a DetectConfig and
returns a Segmenter.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from catalog.squares import box_overlaps
from mining.detecting.config import DetectConfig
from mining.detecting.yolo import load_yolo
from mining.plugins import find_plugin, plugin_names
from mining.sources.base import Detection

if TYPE_CHECKING:
    import ultralytics

GROUP = "crosspairs.segmenters"  # entry points of other packages
OURS = ("none", "the path of a weights file on this machine")
MIN_OVERLAP = 0.5  # intersection over union of a mask's box with a person's for it to be theirs
PERSON_CLASS = 0  # of COCO's 80

Mask = NDArray[np.bool_]


class Segmenter(Protocol):
    """Tells which pixels of images are whose."""

    def masks(self, image: NDArray[np.uint8], people: Sequence[Detection]) -> list[Mask | None]:
        """The visible pixels (H, W) of each of the people in an RGB image (H, W, 3); None where the
        model did not find them.
        """


def make_segmenter(config: DetectConfig) -> Segmenter | None:
    """Build the configured segmenter, None where there is to be none.

    Raises ValueError, naming those there are, for an unknown one.
    """
    if config.masks == "none":
        return None
    is_file = Path(config.masks).expanduser().is_file()
    if config.masks in plugin_names(GROUP) or not is_file:
        make = find_plugin(GROUP, config.masks, f"detect.masks={config.masks}: unknown", OURS)
        segmenter: Segmenter = make(config)
        return segmenter
    return UltralyticsSegmenter(config)


class UltralyticsSegmenter:
    """A YOLO segmentation network; one frame at a time on one CPU thread."""

    def __init__(self, config: DetectConfig) -> None:
        self.config = config

    @cached_property
    def model(self) -> "ultralytics.YOLO":
        """The network, loaded when the first frame comes."""
        return load_yolo(str(Path(self.config.masks).expanduser()), "segment")

    def masks(self, image: NDArray[np.uint8], people: Sequence[Detection]) -> list[Mask | None]:
        """See Segmenter."""
        if not people:
            return []
        result = self.model.predict(
            np.ascontiguousarray(image[..., ::-1]),
            conf=self.config.confidence,
            imgsz=self.config.input_px,
            device=None if self.config.device == "auto" else self.config.device,
            classes=[PERSON_CLASS],
            retina_masks=True,
            verbose=False,
        )[0]
        if result.masks is None:
            return [None] * len(people)
        height, width = image.shape[:2]
        found = [
            cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0
            for mask in result.masks.data.cpu().numpy().astype(np.uint8)
        ]
        return match_masks(result.boxes.xyxy.cpu().numpy(), found, people)


def match_masks(
    boxes_px: NDArray[np.float32], masks: Sequence[Mask], people: Sequence[Detection]
) -> list[Mask | None]:
    """Give each person the instance mask whose box (N, 4) overlaps theirs most, each mask to one
    person, over all people the best; None below an overlap of 0.5.
    """
    matched: list[Mask | None] = [None] * len(people)
    if not people or not len(masks):
        return matched
    theirs = np.stack([person.box_px for person in people])
    overlaps = box_overlaps(theirs, np.asarray(boxes_px, np.float32))
    for person, mask in zip(*linear_sum_assignment(-overlaps), strict=True):
        if overlaps[person, mask] >= MIN_OVERLAP:
            matched[person] = masks[mask]
    return matched
