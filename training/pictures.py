"""Pictures of completions: input, masked input, second image, completion, for held-out pairs of
both kinds.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from training.loading.colour import to_pixels
from training.loading.pair_batch import PairBatch, person_of
from training.loading.reader import KINDS
from training.models.croco import Croco, patchify, unpatchify
from training.png import encode_png

ROWS_PER_KIND = 4  # pairs that are shown
TILE_PX = 192  # side of one shown image
MARGIN_PX = 6
HEADER_PX = 40
LABEL_PX = 100
COLUMNS = ("input", "masked input", "second image", "completion")
NOTE = "completed patches have the true patch's mean and contrast; visible ones are pasted in"
HIDDEN = 235  # grey of a hidden patch
FONT = cv2.FONT_HERSHEY_SIMPLEX

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB


def choose_rows(held_out: PairBatch) -> list[int]:
    """Choose pairs to show: of each kind those of different people first, in the held-out
    order.
    """
    chosen: list[int] = []
    for kind in KINDS:
        of_kind = [i for i, meta in enumerate(held_out.metas) if meta["kind"] == kind]
        seen: set[str] = set()
        fresh = []
        for i in of_kind:
            if person_of(held_out.metas[i]) not in seen:
                seen.add(person_of(held_out.metas[i]))
                fresh.append(i)
        chosen += (fresh + [i for i in of_kind if i not in fresh])[:ROWS_PER_KIND]
    return chosen


@torch.no_grad()
def draw_completions(model: Croco, held_out: PairBatch, rows: Sequence[int]) -> bytes:
    """Draw one line of images for each of the chosen pairs and return the PNG's bytes.

    The model predicts each patch around zero in units of its own contrast; mean and contrast come
    from the truth.
    """
    device = next(model.parameters()).device
    shown = held_out.choose(list(rows)).to(device)
    a_B3HW, b_B3HW = shown.inputs()
    prediction = model(a_B3HW, b_B3HW, shown.visible, shown.masked).prediction_BMP.cpu()
    images_a, images_b = to_pixels(a_B3HW).cpu(), to_pixels(b_B3HW).cpu()
    masked = shown.masked.cpu()
    patch_px = model.config.patch_px
    patches = patchify(images_a.permute(0, 3, 1, 2).float(), patch_px)
    index = masked[:, :, None].expand(-1, -1, patches.shape[2])
    variance, mean = torch.var_mean(patches.gather(1, index), dim=2, keepdim=True)
    completed = patches.scatter(1, index, prediction.float() * variance.sqrt() + mean)
    hidden = patches.scatter(1, index, float(HIDDEN))
    lines = [_header(len(COLUMNS))]
    for i, row in enumerate(rows):
        tiles = [
            images_a[i].numpy(),
            _to_image(hidden[i : i + 1], patch_px),
            images_b[i].numpy(),
            _to_image(completed[i : i + 1], patch_px),
        ]
        lines.append(_line(held_out.metas[row]["kind"].replace("_", "-"), tiles))
    return encode_png(np.vstack(lines))


def _to_image(patches_1NP: torch.Tensor, patch_px: int) -> Picture:
    image = unpatchify(patches_1NP, patch_px)[0].permute(1, 2, 0)
    return image.round().clamp(0, 255).to(torch.uint8).numpy()


def _header(columns: int) -> Picture:
    width_px = LABEL_PX + columns * (TILE_PX + MARGIN_PX)
    header = np.full((HEADER_PX, width_px, 3), 255, np.uint8)
    for column, text in enumerate(COLUMNS):
        x_px = LABEL_PX + column * (TILE_PX + MARGIN_PX)
        cv2.putText(header, text, (x_px, 15), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(header, NOTE, (LABEL_PX, 33), FONT, 0.38, (90, 90, 90), 1, cv2.LINE_AA)
    return header


def _line(label: str, tiles: Sequence[Picture]) -> Picture:
    width_px = LABEL_PX + len(tiles) * (TILE_PX + MARGIN_PX)
    line = np.full((TILE_PX + MARGIN_PX, width_px, 3), 255, np.uint8)
    cv2.putText(line, label, (4, TILE_PX // 2), FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    for column, tile in enumerate(tiles):
        x_px = LABEL_PX + column * (TILE_PX + MARGIN_PX)
        grow = tile.shape[0] < TILE_PX
        how = cv2.INTER_NEAREST if grow else cv2.INTER_AREA
        line[:TILE_PX, x_px : x_px + TILE_PX] = cv2.resize(
            tile, (TILE_PX, TILE_PX), interpolation=how
        )
    return line
