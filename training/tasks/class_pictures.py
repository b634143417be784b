"""Pictures of classes: what one image was taken for."""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

FONT = cv2.FONT_HERSHEY_SIMPLEX
RIGHT, WRONG, BAR = (0, 130, 0), (200, 0, 0), (205, 220, 240)

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


def _fitting_scale(text: str, width_px: int) -> float:
    (unit_px, _), _ = cv2.getTextSize(text, FONT, 1.0, 1)
    return width_px / max(unit_px, 1)
