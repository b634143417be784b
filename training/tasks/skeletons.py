"""The names of keypoints and the lines between them, for figures and pictures."""

import cv2
import numpy as np
import numpy.typing as npt

from catalog.keypoints import COCO_KEYPOINTS, HAND_KEYPOINTS

NAMES = {"body": COCO_KEYPOINTS, "hand": HAND_KEYPOINTS}

BODY_LINES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
HAND_LINES = tuple(
    (0 if link == 1 else 4 * finger + link - 1, 4 * finger + link)
    for finger in range(5)
    for link in range(1, 5)
)
LEFT, RIGHT, MIDDLE = (255, 160, 0), (0, 200, 255), (80, 255, 80)
FINGER_COLOURS = ((255, 80, 80), (255, 200, 0), (90, 255, 90), (80, 180, 255), (220, 120, 255))
FAINT = 0.1  # sureness below which a keypoint is not drawn


def draw_skeleton(
    image_HW3: npt.NDArray[np.uint8], keypoints_K3: npt.NDArray[np.floating], hand: bool
) -> npt.NDArray[np.uint8]:
    """A copy of the image, darkened, with lines between keypoints given as shares of its side and
    how sure each is.
    """
    size_px = image_HW3.shape[0]
    picture = np.ascontiguousarray(image_HW3 // 2)
    thickness = max(1, size_px // 100)
    places = [tuple(map(int, place)) for place in np.floor(keypoints_K3[:, :2] * size_px)]
    shown = keypoints_K3[:, 2] >= FAINT
    for start, end in HAND_LINES if hand else BODY_LINES:
        if shown[start] and shown[end]:
            one_side = hand or start == 0 or (end - start) % 2 == 0
            colour = _colour(end, hand) if one_side else MIDDLE
            cv2.line(picture, places[start], places[end], colour, thickness, cv2.LINE_AA)
    for keypoint in np.flatnonzero(shown):
        colour = _colour(int(keypoint), hand)
        cv2.circle(picture, places[keypoint], thickness, colour, -1, cv2.LINE_AA)
    return picture


def _colour(keypoint: int, hand: bool) -> tuple[int, int, int]:
    if keypoint == 0:
        return MIDDLE
    if hand:
        return FINGER_COLOURS[(keypoint - 1) // 4]
    return LEFT if keypoint % 2 else RIGHT
