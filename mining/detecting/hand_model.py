"""Google's two hand networks (Apache-2.0): one finds palms, one finds 21 keypoints in a square
around a hand. The only module that imports LiteRT.

What goes in and comes out is described in "MediaPipe Hands: On-device Real-time Hand Tracking"
(Zhang et al., 2020, arXiv:2006.10214) and the model card. The palm network is an SSD (Liu et al.,
2016): 2016 anchors of one size on grids of 24 and 12 cells over 192 px.
"""

import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.squares import box_overlaps

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

PALM_INPUT_PX = 192
ANCHOR_GRIDS = ((24, 2), (12, 6))  # cells a side, anchors in each cell
HAND_INPUT_PX = 224
MAX_OVERLAP = 0.3  # palms that overlap more (intersection over union) are one
PALM_WRIST, PALM_MIDDLE = 0, 2  # of a palm's seven keypoints: the wrist, the middle finger's base
PALM_TO_HAND = 2.6  # side of the square around a hand over that of its palm's box
PALM_TO_FINGERS = 0.5  # the square's centre lies this share of the palm's box towards the fingers
STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # keypoints that say where a hand is: no tips
STEADY_TO_HAND = 2.0  # side of the square around a hand over the box of its steady keypoints
STEADY_TO_FINGERS = 0.1  # and how far, in that box, its centre lies towards the fingers

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """A square of an image that need not be upright: `up_rad` is the direction, in the image (x to
    the right, y down), that is shown upwards.
    """

    centre_px: tuple[float, float]
    side_px: float
    up_rad: float = -math.pi / 2

    def to_pixels(self, size_px: int) -> NDArray[np.float64]:
        """The (2, 3) affine map from the image to `size_px` x `size_px` pixels of the square."""
        scale = size_px / self.side_px
        turn = -math.pi / 2 - self.up_rad
        cosine, sine = math.cos(turn) * scale, math.sin(turn) * scale
        x, y = self.centre_px
        half = size_px / 2
        return np.array(
            [
                [cosine, -sine, half - cosine * x + sine * y],
                [sine, cosine, half - sine * x - cosine * y],
            ]
        )


@dataclass(frozen=True)
class Palm:
    """A palm: box (x0, y0, x1, y1) and 7 keypoints (7, 2) in pixels of the image, and a score."""

    box_px: Points
    keypoints_px: Points
    score: float


@dataclass(frozen=True)
class HandPoints:
    """What the network sees in a square: 21 keypoints (21, 2) in pixels of the image, the
    probability that a hand is there, and that it is a right hand (of an image not mirrored).
    """

    points_px: Points
    presence: float
    right: float


class HandModel:
    """Both networks of a hand_landmarker.task file, on one CPU thread; loaded when first used."""

    def __init__(self, path: str) -> None:
        self.path = path

    def palms(self, image: NDArray[np.uint8], square: Square, min_score: float) -> list[Palm]:
        """Find palms in an upright square of an RGB image (H, W, 3), best first."""
        pixels = _cut(image, square, PALM_INPUT_PX)
        raw, logits = self._ask(self._palm_network, pixels)
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -100, 100).astype(np.float64)))
        likely = np.flatnonzero(scores >= min_score)
        shares = raw.reshape(-1, 18)[likely].astype(np.float64) / PALM_INPUT_PX
        centres = shares[:, :2] + ANCHORS[likely]
        half = shares[:, 2:4] / 2
        boxes = np.concatenate([centres - half, centres + half], axis=1)
        keypoints = shares[:, 4:].reshape(-1, 7, 2) + ANCHORS[likely, None]
        corner = np.asarray(square.centre_px) - square.side_px / 2
        return [
            Palm(
                np.tile(corner, 2) + box * square.side_px,
                corner + points * square.side_px,
                float(score),
            )
            for box, points, score in _merge(boxes, keypoints, scores[likely])
        ]

    def points(self, image: NDArray[np.uint8], square: Square) -> HandPoints:
        """Find the keypoints of the hand in a square of an RGB image (H, W, 3), fingers upwards."""
        places, presence, right, _ = self._ask(
            self._points_network, _cut(image, square, HAND_INPUT_PX)
        )
        inverse = cv2.invertAffineTransform(square.to_pixels(HAND_INPUT_PX))
        points = places.reshape(21, 3)[:, :2].astype(np.float64) @ inverse[:, :2].T + inverse[:, 2]
        return HandPoints(points, float(presence.item()), float(right.item()))

    @cached_property
    def _palm_network(self) -> "Interpreter":
        return self._load("hand_detector.tflite")

    @cached_property
    def _points_network(self) -> "Interpreter":
        return self._load("hand_landmarks_detector.tflite")

    def _load(self, member: str) -> "Interpreter":
        from ai_edge_litert.interpreter import Interpreter

        try:
            with zipfile.ZipFile(self.path) as file:
                content = file.read(member)
        except (OSError, KeyError, zipfile.BadZipFile):
            raise ValueError(
                f"{Path(self.path).name} is no hand model: no {member} in it"
            ) from None
        network = Interpreter(model_content=content, num_threads=1)
        network.allocate_tensors()
        return network

    def _ask(self, network: "Interpreter", pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        network.set_tensor(
            network.get_input_details()[0]["index"], pixels[None].astype(np.float32) / 255
        )
        network.invoke()
        return [network.get_tensor(output["index"]) for output in network.get_output_details()]


def square_of_palm(palm: Palm) -> Square:
    """The square around the whole hand that a palm belongs to, turned with its fingers upwards."""
    forward = palm.keypoints_px[PALM_MIDDLE] - palm.keypoints_px[PALM_WRIST]
    up_rad = math.atan2(forward[1], forward[0])
    x0, y0, x1, y1 = palm.box_px
    side_px = max(x1 - x0, y1 - y0)
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    centre += PALM_TO_FINGERS * side_px * np.array([math.cos(up_rad), math.sin(up_rad)])
    return Square((float(centre[0]), float(centre[1])), PALM_TO_HAND * float(side_px), up_rad)


def square_of_points(points_px: Points) -> Square:
    """The square around the hand with these keypoints (21, 2), turned with its fingers upwards."""
    forward = 0.25 * points_px[5] + 0.5 * points_px[9] + 0.25 * points_px[13] - points_px[0]
    up_rad = math.atan2(forward[1], forward[0])
    up = np.array([math.cos(up_rad), math.sin(up_rad)])
    axes = np.stack([up, (-up[1], up[0])])
    along = points_px[STEADY] @ axes.T
    side_px = float(np.ptp(along, axis=0).max())
    centre = (along.min(axis=0) + along.max(axis=0)) / 2 @ axes + STEADY_TO_FINGERS * side_px * up
    return Square((float(centre[0]), float(centre[1])), STEADY_TO_HAND * side_px, up_rad)


def _anchors() -> Points:
    """Centres (2016, 2) of the palm network's anchors, in shares of its input's side."""
    grids = []
    for cells, repeats in ANCHOR_GRIDS:
        y, x = np.mgrid[:cells, :cells].reshape(2, -1)
        grids.append(np.repeat((np.stack([x, y], axis=1) + 0.5) / cells, repeats, axis=0))
    return np.concatenate(grids)


ANCHORS = _anchors()


def _merge(boxes: Points, keypoints: Points, scores: Points) -> list[tuple[Points, Points, float]]:
    """Join boxes (N, 4) and keypoints (N, 7, 2) of one palm: their mean, weighted by score."""
    left = np.argsort(-scores, kind="stable")
    merged = []
    while len(left):
        best = left[0]
        same = box_overlaps(boxes[[best]], boxes[left])[0] > MAX_OVERLAP
        same[0] = True
        joined = left[same]
        weights = scores[joined] / scores[joined].sum()
        merged.append(
            (
                weights @ boxes[joined],
                np.tensordot(weights, keypoints[joined], axes=1),
                float(scores[best]),
            )
        )
        left = left[~same]
    return merged


def _cut(image: NDArray[np.uint8], square: Square, size_px: int) -> NDArray[np.uint8]:
    """Sample a square as RGB (size_px, size_px, 3); black beyond the image.

    What is larger is shrunk by averaging first, so that fine texture does not turn into noise.
    """
    half = square.side_px * 0.71 + 2
    x, y = square.centre_px
    x0, y0 = max(0, math.floor(x - half)), max(0, math.floor(y - half))
    inside = image[y0 : max(0, math.ceil(y + half)), x0 : max(0, math.ceil(x + half))]
    if not inside.size:
        return np.zeros((size_px, size_px, 3), np.uint8)
    shrink = max(1.0, square.side_px / size_px / 1.5)
    if shrink > 1:
        width, height = (max(1, round(side / shrink)) for side in inside.shape[1::-1])
        shrunk = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
    else:
        shrunk = np.ascontiguousarray(inside)
    ratio = np.array(shrunk.shape[1::-1]) / inside.shape[1::-1]
    matrix = square.to_pixels(size_px)
    matrix[:, 2] += matrix[:, :2] @ (0.5 / ratio - 0.5 + (x0, y0))
    matrix[:, :2] /= ratio
    return cv2.warpAffine(shrunk, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR)
