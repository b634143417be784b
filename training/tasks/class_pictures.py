"""Pictures of classes: what one image was taken for, and which class is taken for which.

Shapes: K classes.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

FONT = cv2.FONT_HERSHEY_SIMPLEX
RIGHT, WRONG, BAR = (0, 130, 0), (200, 0, 0), (205, 220, 240)
CELL_PX = 26  # of the confusion picture
LETTER_PX = 8  # width of a letter there, at most
MOST_LETTERS = 18  # of a class's name there

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB


def draw_classes(image_HW3: Picture, shares: Mapping[str, float], true: str) -> Picture:
    """The image, and beside it the classes with their probabilities: green is the true one.

    Where none of them is true, a last line names the true class.
    """
    height_px = image_HW3.shape[0]
    lines = [(f"{share:4.0%} {name}", share, name == true) for name, share in shares.items()]
    if true not in shares:
        lines.append((f"true: {true}", 0.0, True))
    panel = np.full((height_px, max(2 * height_px, 128), 3), 255, np.uint8)
    step_px = height_px // max(4, len(lines))
    for place, (text, share, right) in enumerate(lines):
        top = place * step_px
        panel[top + 1 : top + step_px - 1, : round(share * panel.shape[1])] = BAR
        scale = min(step_px / 36, _fitting_scale(text, panel.shape[1] - 4))
        at = 2, top + round(0.7 * step_px)
        cv2.putText(panel, text, at, FONT, scale, RIGHT if right else WRONG, 1, cv2.LINE_AA)
    return np.hstack([image_HW3, panel])


def draw_confusion(counts_KK: npt.NDArray[np.integer], classes: Sequence[str]) -> Picture:
    """Rows are true classes, columns what they are taken for; each cell its share of the row in
    per cent, the darker the more.
    """
    num = len(classes)
    names = [
        name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "." for name in classes
    ]
    margin_px = LETTER_PX * max(map(len, names)) + 8
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    side_px = margin_px + num * CELL_PX
    picture = np.full((side_px, side_px, 3), 255, np.uint8)
    # Names of columns are written as rows, and turned.
    columns = np.full((num * CELL_PX, margin_px, 3), 255, np.uint8)
    for place, name in enumerate(names):
        baseline = place * CELL_PX + CELL_PX // 2 + 4
        cv2.putText(picture, name, (4, margin_px + baseline), FONT, 0.4, 0, 1, cv2.LINE_AA)
        cv2.putText(columns, name, (4, baseline), FONT, 0.4, 0, 1, cv2.LINE_AA)
    picture[:margin_px, margin_px:] = cv2.rotate(columns, cv2.ROTATE_90_COUNTERCLOCKWISE)
    for true in range(num):
        for taken in range(num):
            share = float(shares_KK[true, taken])
            top, left = margin_px + true * CELL_PX, margin_px + taken * CELL_PX
            hue = np.array(RIGHT if true == taken else WRONG)
            shade = (255 - share * (255 - hue)).astype(np.uint8)
            picture[top : top + CELL_PX - 1, left : left + CELL_PX - 1] = shade
            if counts_KK[true, taken]:
                ink = (255, 255, 255) if share > 0.6 else (0, 0, 0)
                at = left + 2, top + CELL_PX // 2 + 4
                cv2.putText(picture, f"{share * 100:.0f}", at, FONT, 0.35, ink, 1, cv2.LINE_AA)
    return picture


def _fitting_scale(text: str, width_px: int) -> float:
    (unit_px, _), _ = cv2.getTextSize(text, FONT, 1.0, 1)
    return width_px / max(unit_px, 1)
