"""Whether what the hand model saw is the hand of a wrist, and how well it fits.

Limits are shares of the forearm's length; they were read off the hands found in the demo's footage
and in rendered people, whose bodies tell which hand it is.
"""

import math

import numpy as np

from mining.detecting.hand_model import HandPoints
from mining.detecting.wrists import Wrist

CONTRADICTS = 0.25  # what is the wrist's side with a lower probability is not the wrist's hand
MAX_OFFSET = 0.5  # between the hand's wrist and the body's
HAND_LENGTH = (0.2, 0.95)  # least and most of a hand's extent
MAX_BEND_DEG = 120.0  # between forearm and hand as seen; wrists bend by 90 degrees at most
MIN_FORESHORTENED = 0.25  # a forearm that looks shorter than this says nothing of the bend
OFFSET_COST = 0.3  # of a fit, for each forearm's length of offset
SAME_HAND = 0.3  # hands whose keypoints differ by less (their mean, over the extent) are one


def fit(hand: HandPoints, wrist: Wrist) -> float:
    """How well a hand fits a wrist, at most 1: surely a hand, of its side, at its place; below -1
    where it lies elsewhere.
    """
    if not is_near(hand, wrist):
        return hand.presence - 3
    return hand.presence * min(1.0, 2 * agreement(hand, wrist)) - OFFSET_COST * offset(hand, wrist)


def problem(hand: HandPoints, wrist: Wrist, min_presence: float) -> tuple[str, str] | None:
    """Why what was seen is not the hand of this wrist, as reason and figure: None where it is."""
    if hand.presence < min_presence:
        return "no_hand", f"presence {hand.presence:.2f}, at least {min_presence} wanted"
    if not is_near(hand, wrist):
        return "other_hand", (
            f"its wrist is {offset(hand, wrist):.2f} forearms away, its extent "
            f"{extent_px(hand) / wrist.reach_px:.2f}, bent by {bend_deg(hand, wrist):.0f} degrees"
        )
    probability = agreement(hand, wrist)
    if probability < CONTRADICTS:
        other = "right" if wrist.part == "left_hand" else "left"
        return "handedness", f"a {other} hand with probability {1 - probability:.2f}"
    return None


def is_near(hand: HandPoints, wrist: Wrist) -> bool:
    """Whether a hand's place, size and direction are those of the wrist's hand."""
    shortest, longest = HAND_LENGTH
    return (
        offset(hand, wrist) <= MAX_OFFSET
        and shortest <= extent_px(hand) / wrist.reach_px <= longest
        and bend_deg(hand, wrist) <= MAX_BEND_DEG
    )


def is_same(a: HandPoints, b: HandPoints) -> bool:
    """Whether two answers of the model are of one hand."""
    differences_px = np.linalg.norm(a.points_px - b.points_px, axis=1)
    return float(differences_px.mean()) < SAME_HAND * max(extent_px(a), extent_px(b))


def agreement(hand: HandPoints, wrist: Wrist) -> float:
    """Probability that a hand is of the wrist's side."""
    return hand.right if wrist.part == "right_hand" else 1 - hand.right


def offset(hand: HandPoints, wrist: Wrist) -> float:
    """Distance of the hand's wrist from the body's, over the forearm."""
    return math.dist(hand.points_px[0], wrist.at_px) / wrist.reach_px


def extent_px(hand: HandPoints) -> float:
    """Longer side of the box around the keypoints."""
    return float(np.ptp(hand.points_px, axis=0).max())


def bend_deg(hand: HandPoints, wrist: Wrist) -> float:
    """Angle in the image between forearm and palm, 0 where the forearm points along the view."""
    if np.linalg.norm(wrist.forearm_px) < MIN_FORESHORTENED * wrist.reach_px:
        return 0.0
    palm_px = hand.points_px[9] - hand.points_px[0]
    turned = math.atan2(palm_px[1], palm_px[0])
    turned -= math.atan2(wrist.forearm_px[1], wrist.forearm_px[0])
    return abs(math.degrees(math.remainder(turned, 2 * math.pi)))
