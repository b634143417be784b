"""Square crops: where to cut, the cut itself, and what is measured on its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catalog.squares import cut_square, cut_to_size, share_inside, square_around
from mining.cropping.appearance import appearance
from mining.cropping.foreground import ForegroundSource, from_mask, from_skeleton
from mining.cropping.squares import SquareConfig
from mining.cropping.visible_share import Figure, figures_of, occlusion, truncation
from mining.sources.base import Detection

SHARPNESS_PX = 128  # sharpness is measured at this size, so that it compares between crops


@dataclass(frozen=True, kw_only=True)
class CropConfig(SquareConfig):
    """How crops are cut, and which people and hands are good enough to crop."""

    min_person_px: int = 96  # longer side of the person in the frame
    min_hand_px: int = 32  # the same of a hand
    min_keypoints: int = 8  # of a body's 17, with at least `min_confidence`
    min_hand_keypoints: int = 10  # of a hand's 21
    min_confidence: float = 0.3  # keypoints below it count as not seen
    min_inside: float = 0.6  # share of the square that lies within the frame


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One cut-out person or hand: the square `box_px` in frame pixels, the JPEG, and what was
    measured, as in the table `crops`; None where it cannot be told.
    """

    box_px: tuple[float, float, float, float]
    jpeg: bytes
    sharpness: float
    truncation: float | None
    occlusion: float | None
    appearance: list[float]
    phash: str
    foreground: NDArray[np.uint8]
    foreground_source: ForegroundSource


def reject_person(
    person: Detection, width_px: int, height_px: int, config: CropConfig
) -> tuple[str, str] | None:
    """Decide whether a detected person or hand is good enough to crop: None, or the reason and the
    figure that decided.
    """
    is_body = person.part == "body"
    x0, y0, x1, y1 = person.box_px
    side_px = max(x1 - x0, y1 - y0)
    min_px = config.min_person_px if is_body else config.min_hand_px
    if side_px < min_px:
        return "small", f"{side_px:.0f} px, at least {min_px} wanted"
    num_seen = int((person.keypoints_px[:, 2] >= config.min_confidence).sum())
    min_keypoints = config.min_keypoints if is_body else config.min_hand_keypoints
    if num_seen < min_keypoints:
        return "few_keypoints", f"{num_seen} seen, at least {min_keypoints} wanted"
    share = share_inside(square_box(person, config), width_px, height_px)
    if share < config.min_inside:
        return (
            "outside_frame",
            f"{share:.2f} of the square is inside, at least {config.min_inside} wanted",
        )
    return None


def square_box(person: Detection, config: CropConfig) -> tuple[float, float, float, float]:
    """The square around a box and confident keypoints, with the part's margin, in whole pixels."""
    seen = person.keypoints_px[person.keypoints_px[:, 2] >= config.min_confidence, :2]
    corners = np.concatenate([person.box_px.reshape(2, 2), seen])
    return square_around(corners, config.margin if person.part == "body" else config.hand_margin)


def cut(
    image: NDArray[np.uint8], person: Detection, others: Sequence[Detection], config: CropConfig
) -> Crop:
    """Cut one person or hand out of an RGB frame (H, W, 3), resized once, and measure it.

    `others` are the other bodies of the frame, which may hide it; not a hand's own.
    """
    height_px, width_px = image.shape[:2]
    box_px = square_box(person, config)
    pixels = cut_to_size(image, box_px, config.size_px)
    done, jpeg = cv2.imencode(
        ".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]
    )
    assert done
    source: ForegroundSource = "skeleton"
    in_crop = _to_crop(person.keypoints_px, box_px)
    if person.mask is None:
        cells = from_skeleton(in_crop)
    else:
        source = "model" if person.mask_by_model else "mask"
        cells = from_mask(cut_square(person.mask.astype(np.uint8), box_px, 0) > 0)
    figure = Figure(person.keypoints_px, config.min_confidence)
    before = figures_of(others, config.min_confidence)
    return Crop(
        box_px=box_px,
        jpeg=jpeg.tobytes(),
        sharpness=sharpness(pixels, cells),
        truncation=truncation(figure, width_px, height_px),
        occlusion=occlusion(figure, before, person.mask, width_px, height_px),
        appearance=appearance(pixels, cells, Figure(in_crop, config.min_confidence)),
        phash=str(imagehash.phash(Image.fromarray(pixels))),
        foreground=cells,
        foreground_source=source,
    )


def phash_distance(a: str, b: str) -> int:
    """Bits that differ between two 64-bit perceptual hashes in hex, 0 to 64."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def sharpness(pixels: NDArray[np.uint8], cells: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of an RGB crop (S, S, 3) at 128 px over the cells that show the
    person (32, 32).
    """
    grey = cv2.cvtColor(
        cv2.resize(pixels, (SHARPNESS_PX, SHARPNESS_PX), interpolation=cv2.INTER_AREA),
        cv2.COLOR_RGB2GRAY,
    )
    person = cv2.resize(cells, (SHARPNESS_PX, SHARPNESS_PX), interpolation=cv2.INTER_NEAREST) > 0
    values = cv2.Laplacian(grey, cv2.CV_64F)[person]
    return round(float(values.var()), 3) if values.size else 0.0


def _to_crop(
    keypoints_px: NDArray[np.float32], box_px: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Frame pixels to shares of the crop's side; confidences stay."""
    inside = keypoints_px.copy()
    inside[:, :2] = (keypoints_px[:, :2] - box_px[:2]) / (box_px[2] - box_px[0])
    return inside
