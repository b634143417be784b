"""Bones: pairs of keypoints whose distance a body, or a hand, keeps, and how long they usually are.

Lengths are those between keypoints as detectors place them, of an adult of 1.7 m: shares of stature
after Drillis and Contini (Body segment parameters, 1966), with the width of shoulders and hips
between the joints' centres; a hand's are of one 0.19 m long. They are a guess for any one person:
a tenth is a usual deviation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import MIRRORED, NUM_HAND_KEYPOINTS


@dataclass(frozen=True, kw_only=True)
class Bones:
    """The bones of one kind of body: `ends` (B, 2) are keypoints, `kinds` (B,) numbers bones so
    that the left and the right one share a number, `usual_m` (L,) is each number's length in
    metres, `stiffness` (L,) how much less than its own length a bone seems to change: 1 for long
    bones, less where detectors place keypoints loosely. `mirrored` (K,) gives each keypoint's
    counterpart on the other side, itself where it has none.
    """

    ends: NDArray[np.int64]
    kinds: NDArray[np.int64]
    usual_m: NDArray[np.float64]
    stiffness: NDArray[np.float64]
    mirrored: NDArray[np.int64]


def _bones(kinds: list[tuple[float, float, list[tuple[int, int]]]], mirrored: list[int]) -> Bones:
    """Make Bones from (usual length in metres, stiffness, ends of each bone of the kind)."""
    return Bones(
        ends=np.array([ends for _, _, bones in kinds for ends in bones]),
        kinds=np.repeat(np.arange(len(kinds)), [len(bones) for _, _, bones in kinds]),
        usual_m=np.array([length for length, _, _ in kinds]),
        stiffness=np.array([stiffness for _, stiffness, _ in kinds]),
        mirrored=np.array(mirrored),
    )


BODY = _bones(
    [
        (0.34, 0.7, [(5, 6)]),  # shoulder to shoulder
        (0.24, 0.5, [(11, 12)]),  # hip to hip
        (0.49, 1.0, [(5, 11), (6, 12)]),  # shoulder to hip
        (0.57, 1.0, [(5, 12), (6, 11)]),  # shoulder to the other side's hip
        (0.29, 1.0, [(5, 7), (6, 8)]),  # upper arm
        (0.25, 1.0, [(7, 9), (8, 10)]),  # forearm
        (0.41, 1.0, [(11, 13), (12, 14)]),  # thigh
        (0.41, 1.0, [(13, 15), (14, 16)]),  # shank
        (0.29, 0.4, [(0, 5), (0, 6)]),  # nose to shoulder: the head turns
        (0.23, 0.4, [(3, 5), (4, 6)]),  # ear to shoulder
        (0.14, 0.5, [(3, 4)]),  # ear to ear
        (0.12, 0.5, [(0, 3), (0, 4)]),  # nose to ear
        (0.04, 0.5, [(0, 1), (0, 2)]),  # nose to eye
    ],
    MIRRORED,
)
HAND = _bones(
    [
        (0.045, 0.7, [(0, 1)]),
        (0.045, 1.0, [(1, 2)]),
        (0.032, 1.0, [(2, 3)]),
        (0.026, 1.0, [(3, 4)]),
        (0.090, 1.0, [(0, 5)]),
        (0.088, 1.0, [(0, 9)]),
        (0.084, 1.0, [(0, 13)]),
        (0.080, 1.0, [(0, 17)]),
        (0.022, 0.7, [(5, 9), (9, 13), (13, 17)]),
        (0.043, 1.0, [(5, 6), (9, 10), (13, 14)]),
        (0.027, 1.0, [(6, 7), (10, 11), (14, 15)]),
        (0.022, 1.0, [(7, 8), (11, 12), (15, 16)]),
        (0.032, 1.0, [(17, 18)]),
        (0.020, 1.0, [(18, 19), (19, 20)]),
    ],
    list(range(NUM_HAND_KEYPOINTS)),
)


def bones_of(num_keypoints: int) -> Bones:
    """The bones of a body (17 keypoints) or a hand (21). Raises ValueError for another number."""
    if num_keypoints == len(BODY.mirrored):
        return BODY
    if num_keypoints == len(HAND.mirrored):
        return HAND
    raise ValueError(f"bones are known of 17 or 21 keypoints, got {num_keypoints}")
