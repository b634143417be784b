"""Pictures of zero-shot matches: lines from image a's keypoints to where the model finds them in
image b.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from training.correspondence import find_places, matches_of
from training.loading.colour import to_pixels
from training.loading.pair_batch import PairBatch
from training.models.croco import Croco
from training.pictures import FONT, HEADER_PX, LABEL_PX, MARGIN_PX, Picture
from training.png import encode_png

TILE_PX = 288  # side of one shown image; wide, for the lines
RIGHT, WRONG = (0, 170, 0), (220, 0, 0)
TRUTH, OUTLINE = (255, 255, 255), (0, 0, 0)  # outlined, so that rings show on any image
RIGHT_WITHIN = 0.1  # share of the image's side


@torch.no_grad()
def draw_matches(model: Croco, held_out: PairBatch, rows: Sequence[int]) -> bytes:
    """Draw one line of images for each of the chosen pairs and return the PNG's bytes.

    A line is green when it ends within RIGHT_WITHIN of the truth and red when not; rings in image b
    are the truth.
    """
    chosen = list(rows)
    shown = held_out.choose(chosen)
    images_a, images_b = (to_pixels(image_B3HW) for image_B3HW in shown.inputs())
    points_BK2, truth_BK2 = shown.keypoints_a[:, :, :2], shown.keypoints_b[:, :, :2]
    places_BK2 = find_places(model, shown)
    right_BK = (places_BK2 - truth_BK2).norm(dim=2) <= RIGHT_WITHIN
    match_BK = matches_of(shown)
    lines = [_header()]
    for i, row in enumerate(chosen):
        matches = match_BK[i].nonzero()[:, 0].tolist()
        kind = held_out.metas[row]["kind"].replace("_", "-")
        found = f"{int(right_BK[i, matches].sum())} of {len(matches)}"
        line = _line((kind, found), images_a[i].numpy(), images_b[i].numpy())
        for k in matches:
            start = _at(points_BK2[i, k], 0)
            end, true = _at(places_BK2[i, k], 1), _at(truth_BK2[i, k], 1)
            colour = RIGHT if right_BK[i, k] else WRONG
            for radius, shade in ((5, OUTLINE), (4, TRUTH)):
                cv2.circle(line, true, radius, shade, 1, cv2.LINE_AA)
            cv2.line(line, start, end, colour, 1, cv2.LINE_AA)
            for point in (start, end):
                cv2.circle(line, point, 3, colour, -1, cv2.LINE_AA)
        lines.append(line)
    return encode_png(np.vstack(lines))


def _at(place_2: torch.Tensor, column: int) -> tuple[int, int]:
    """Pixel of a place (shares of the side) in the first or second image of a line."""
    x, y = (place_2[:2] * TILE_PX).round().int().tolist()
    return LABEL_PX + column * (TILE_PX + MARGIN_PX) + x, y


def _header() -> Picture:
    header = np.full((HEADER_PX, LABEL_PX + 2 * (TILE_PX + MARGIN_PX), 3), 255, np.uint8)
    for column, text in enumerate(("image a", "image b")):
        at = (_at(torch.zeros(2), column)[0], 15)
        cv2.putText(header, text, at, FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    note = f"where cross-attention finds a's keypoints: green within {RIGHT_WITHIN} of the side of "
    note += "the truth (rings)"
    cv2.putText(header, note, (LABEL_PX, 33), FONT, 0.38, (90, 90, 90), 1, cv2.LINE_AA)
    return header


def _line(label: Sequence[str], image_a: Picture, image_b: Picture) -> Picture:
    line = np.full((TILE_PX + MARGIN_PX, LABEL_PX + 2 * (TILE_PX + MARGIN_PX), 3), 255, np.uint8)
    for number, text in enumerate(label):
        at = (4, TILE_PX // 2 + 20 * number)
        cv2.putText(line, text, at, FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for column, tile in enumerate((image_a, image_b)):
        how = cv2.INTER_NEAREST if tile.shape[0] < TILE_PX else cv2.INTER_AREA
        x_px, _ = _at(torch.zeros(2), column)
        line[:TILE_PX, x_px : x_px + TILE_PX] = cv2.resize(tile, (TILE_PX,) * 2, interpolation=how)
    return line
