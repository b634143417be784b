"""Where the wrists of detected bodies say that hands are: the squares to look at."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.detecting.hand_model import Square
from mining.sources.base import Detection, Part

MIN_CONFIDENCE = 0.3  # wrists below it propose nothing
ARMS: tuple[tuple[Part, int, int, int], ...] = (  # COCO's shoulder, elbow, wrist
    ("left_hand", 5, 7, 9),
    ("right_hand", 6, 8, 10),
)
SHOULDERS, HIPS = (5, 6), (11, 12)
FOREARM_PER_UPPER_ARM = 0.85  # lengths of adults' limbs, elbow to wrist over shoulder to elbow
FOREARM_PER_TORSO = 0.5  # over the middle of the shoulders to the middle of the hips
BEYOND_WRIST = 0.35  # the square's centre lies this share of the forearm beyond the wrist
SEARCHED = 1.7  # side of the square in which palms are sought, over the forearm
DIRECT = (1.1, 1.5)  # sides of squares that are taken for the hand's own, over the forearm


@dataclass(frozen=True)
class Wrist:
    """A wrist of a body: whose (a place in the bodies), its pixel, the way from the elbow (zero
    where the elbow is not seen), and the length in pixels that a forearm of this body has face on.
    """

    body: int
    part: Part
    at_px: NDArray[np.float64]
    forearm_px: NDArray[np.float64]
    reach_px: float

    @property
    def searched(self) -> Square:
        """The upright square in which the hand is sought."""
        x, y = self.at_px + BEYOND_WRIST * self.forearm_px
        return Square((float(x), float(y)), SEARCHED * self.reach_px)

    @property
    def direct(self) -> list[Square]:
        """Squares turned along the forearm that should hold the hand; none without an elbow."""
        if not self.forearm_px.any():
            return []
        up_rad = math.atan2(self.forearm_px[1], self.forearm_px[0])
        return [Square(self.searched.centre_px, share * self.reach_px, up_rad) for share in DIRECT]


def wrists_of(bodies: Sequence[Detection]) -> Iterator[Wrist]:
    """Yield the wrists that were seen, body by body, left before right."""
    for place, body in enumerate(bodies):
        reach_px = forearm_length(body.keypoints_px)
        points = body.keypoints_px[:, :2].astype(np.float64)
        seen = body.keypoints_px[:, 2] >= MIN_CONFIDENCE
        for part, _, elbow, wrist in ARMS:
            if seen[wrist] and reach_px > 0:
                forearm_px = points[wrist] - points[elbow] if seen[elbow] else np.zeros(2)
                yield Wrist(place, part, points[wrist], forearm_px, reach_px)


def forearm_length(keypoints_px: NDArray[np.float32]) -> float:
    """Length in pixels that a forearm of a body (17, 3) has where it lies across the view.

    Limbs that point at the camera look short, so the longest of what forearms, upper arms and trunk
    suggest is taken; 0 where none is seen.
    """
    points = keypoints_px[:, :2].astype(np.float64)
    seen = keypoints_px[:, 2] >= MIN_CONFIDENCE
    lengths = [0.0]
    for _, shoulder, elbow, wrist in ARMS:
        for a, b, ratio in ((elbow, wrist, 1.0), (shoulder, elbow, FOREARM_PER_UPPER_ARM)):
            if seen[a] and seen[b]:
                lengths.append(ratio * math.dist(points[a], points[b]))
    tops, bottoms = [k for k in SHOULDERS if seen[k]], [k for k in HIPS if seen[k]]
    if tops and bottoms:
        trunk_px = math.dist(points[tops].mean(axis=0), points[bottoms].mean(axis=0))
        lengths.append(FOREARM_PER_TORSO * trunk_px)
    return max(lengths)
