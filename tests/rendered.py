"""Rendered people with exact keypoints, masks and hands, large enough to see their fingers."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mining.sources.base import Detection
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene

NUM_CAPTURES = 7
VISIBLE = 1.0  # confidence of a keypoint that nothing hides

Picture = tuple[NDArray[np.uint8], Detection, dict[str, Detection]]


@cache
def pictures() -> list[Picture]:
    """Images (512, 512, 3), each with its one body and its hands by part."""
    config = SyntheticConfig(image_px=(512,), num_views=2, num_frames=1)
    made = []
    for capture in range(NUM_CAPTURES):
        scene = Scene(config, capture)
        for view in range(config.num_views):
            image, people = scene.render(view, 0)
            hands = {person.part: person for person in people if person.part != "body"}
            made.append((image, people[0], hands))
    return made


def share_visible(detection: Detection) -> float:
    """Share of the keypoints that are in the frame with nothing before them."""
    return float((detection.keypoints_px[:, 2] >= VISIBLE).mean())


def error(found: Detection, truth: Detection) -> float:
    """Mean distance of keypoints from the truth's, over the truth's extent."""
    differences = (found.keypoints_px - truth.keypoints_px)[:, :2]
    extent_px = np.ptp(truth.keypoints_px[:, :2], axis=0).max()
    return float(np.linalg.norm(differences, axis=1).mean() / extent_px)
