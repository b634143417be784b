"""Finds hands with Google's networks: the palm network proposes, the keypoint network confirms."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mining.detecting.config import DetectConfig
from mining.detecting.hand_fit import fit, is_same, problem
from mining.detecting.hand_model import (
    HandModel,
    HandPoints,
    Palm,
    Square,
    square_of_palm,
    square_of_points,
)
from mining.detecting.hands import HandReject
from mining.detecting.weights import hand_weights
from mining.detecting.wrists import Wrist, wrists_of
from mining.sources.base import Detection, Part

MIN_PALM_AT_WRIST, MIN_PALM_ANYWHERE = 0.3, 0.5  # palms of lower scores are not looked at
PALMS_PER_WRIST = 2  # the best of them that are looked at
HOPELESS = 0.02  # presence at the first look below which there is no second
SURE = 0.8  # a hand of this fit is taken without looking further
MIN_TILE_PX = 256  # frames are searched in tiles down to this side, each half of the one before


class GoogleHandFinder:
    """A HandFinder with the networks of a hand_landmarker.task file; each frame on its own."""

    def __init__(self, config: DetectConfig) -> None:
        self.config = config

    @cached_property
    def model(self) -> HandModel:
        """Both networks, their file fetched when the first frame comes."""
        return HandModel(str(hand_weights(self.config.hand_model)))

    def at_wrists(
        self, image: NDArray[np.uint8], bodies: Sequence[Detection]
    ) -> tuple[list[Detection], list[HandReject]]:
        """See HandFinder. A hand seen from several wrists goes to the one that it fits best."""
        wrists = list(wrists_of(bodies))
        answers = [self._answers(image, wrist) for wrist in wrists]
        good = [
            (fit(hand, wrist), place, hand)
            for place, wrist in enumerate(wrists)
            for hand in answers[place]
            if problem(hand, wrist, self.config.hand_confidence) is None
        ]
        taken: dict[int, HandPoints] = {}
        for _, place, hand in sorted(good, key=lambda entry: -entry[0]):
            if place not in taken and not any(is_same(hand, other) for other in taken.values()):
                taken[place] = hand
        hands: list[Detection] = []
        rejects: list[HandReject] = []
        for place, wrist in enumerate(wrists):
            if place in taken:
                hands.append(_detection(taken[place], wrist.part, image, wrist.body))
            else:
                reason, detail = self._why_not(wrist, answers[place])
                rejects.append(
                    HandReject(body=wrist.body, part=wrist.part, reason=reason, detail=detail)
                )
        return hands, rejects

    def everywhere(self, image: NDArray[np.uint8]) -> list[Detection]:
        """See HandFinder. The frame is searched as a whole and in overlapping tiles."""
        palms = [
            palm
            for tile in tiles(image.shape[1], image.shape[0])
            for palm in self.model.palms(image, tile, MIN_PALM_ANYWHERE)
        ]
        hands: list[HandPoints] = []
        for palm in sorted(palms, key=lambda palm: -palm.score):
            if any(_holds(hand, palm) for hand in hands):
                continue
            hand = self._looked_at(image, square_of_palm(palm))
            sure = hand.presence >= self.config.hand_confidence
            if sure and not any(is_same(hand, other) for other in hands):
                hands.append(hand)
        return [
            _detection(hand, "right_hand" if hand.right >= 0.5 else "left_hand", image, None)
            for hand in sorted(hands, key=lambda hand: -hand.presence)
        ]

    def _answers(self, image: NDArray[np.uint8], wrist: Wrist) -> list[HandPoints]:
        """What the keypoint network sees at a wrist: in the squares of palms, then in those along
        the forearm, until one is sure.

        Both kinds are needed: of 155 wrists of the demo's footage palms alone confirm 82, the
        forearm alone 66, both 95; other turns, sizes and places of the square add 2.
        """
        if wrist.searched.side_px < self.config.min_hand_px:
            return []
        palms = self.model.palms(image, wrist.searched, MIN_PALM_AT_WRIST)[:PALMS_PER_WRIST]
        answers: list[HandPoints] = []
        for square in [*map(square_of_palm, palms), *wrist.direct]:
            answers.append(self._looked_at(image, square))
            if fit(answers[-1], wrist) >= SURE:
                break
        return answers

    def _looked_at(self, image: NDArray[np.uint8], square: Square) -> HandPoints:
        """Look twice: the keypoints of the first look say where the hand's own square is."""
        first = self.model.points(image, square)
        if first.presence < HOPELESS:
            return first
        return self.model.points(image, square_of_points(first.points_px))

    def _why_not(self, wrist: Wrist, answers: Sequence[HandPoints]) -> tuple[str, str]:
        side_px = wrist.searched.side_px
        if side_px < self.config.min_hand_px:
            return "small_hand", (
                f"{side_px:.0f} px to look at, at least {self.config.min_hand_px} wanted"
            )
        if not answers:
            return "no_hand", "no palm was found"
        best = max(answers, key=lambda hand: fit(hand, wrist))
        return problem(best, wrist, self.config.hand_confidence) or (
            "same_hand",
            "the hand seen here fits another wrist better",
        )


def tiles(width_px: int, height_px: int) -> list[Square]:
    """Squares that cover a frame: the whole of it, then halves, quarters and so on that overlap by
    half.
    """
    side = float(max(width_px, height_px))
    squares = [Square((width_px / 2, height_px / 2), side)]
    while side / 2 >= MIN_TILE_PX:
        side /= 2
        squares += [
            Square((x, y), side)
            for y in _middles(height_px, side)
            for x in _middles(width_px, side)
        ]
    return squares


def _middles(length: float, side: float) -> NDArray[np.float64]:
    """Middles of the fewest tiles that cover a length and overlap by half or more."""
    if length <= side:
        return np.array([length / 2])
    return np.linspace(side / 2, length - side / 2, math.ceil(2 * (length - side) / side) + 1)


def _holds(hand: HandPoints, palm: Palm) -> bool:
    """Whether a palm's middle is within a hand that was found."""
    low, high = hand.points_px.min(axis=0), hand.points_px.max(axis=0)
    middle = (palm.box_px[:2] + palm.box_px[2:]) / 2
    return bool((low < middle).all() and (middle < high).all())


def _detection(
    hand: HandPoints, part: Part, image: NDArray[np.uint8], body: int | None
) -> Detection:
    """A hand as a Detection: its box is tight around the keypoints; those beyond the frame were not
    seen.
    """
    points = hand.points_px
    height, width = image.shape[:2]
    inside = ((points >= 0) & (points < (width, height))).all(axis=1)
    keypoints = np.concatenate([points, np.where(inside, hand.presence, 0.0)[:, None]], axis=1)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return Detection(
        box_px=box.astype(np.float32),
        keypoints_px=keypoints.astype(np.float32),
        score=hand.presence,
        part=part,
        body=body,
    )
