"""Pictures of a task's outputs: one tile for each sample, beside or below each other."""

import numpy as np
import numpy.typing as npt
import torch

from training.finetuning.model import FinetunedModel
from training.loading.colour import to_pixels
from training.loading.label_batch import LabelBatch
from training.png import encode_png
from training.tasks.task import Task

COLUMNS = 2  # tiles side by side
TILE_PX = 192  # height of a tile, at least
MARGIN_PX = 6

Picture = npt.NDArray[np.uint8]


@torch.no_grad()
def draw_samples(model: FinetunedModel, task: Task, batch: LabelBatch, count: int) -> bytes:
    """Draw the first samples of a batch, of different people first; return the PNG's bytes."""
    device = next(model.parameters()).device
    first = {meta["subject"]: row for row, meta in reversed(list(enumerate(batch.metas)))}
    fresh = sorted(first.values())
    rows = (fresh + [row for row in range(len(batch)) if row not in fresh])[:count]
    on_device = batch.to(device)
    inputs = on_device.inputs()
    outputs = {name: x.float().cpu() for name, x in model(inputs).items()}
    targets = {name: x.cpu() for name, x in on_device.targets.items()}
    images = to_pixels(inputs[:, 0]).cpu().numpy()
    tiles = [_grow(task.draw(images[row], outputs, targets, row)) for row in rows]
    height, width = (max(tile.shape[axis] for tile in tiles) + MARGIN_PX for axis in (0, 1))
    lines = -(-len(tiles) // COLUMNS)
    sheet = np.full((lines * height, COLUMNS * width, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        y_px, x_px = place // COLUMNS * height, place % COLUMNS * width
        sheet[y_px : y_px + tile.shape[0], x_px : x_px + tile.shape[1]] = tile
    return encode_png(sheet)


def _grow(tile: Picture) -> Picture:
    """Small tiles are shown larger, pixel by pixel."""
    times = -(-TILE_PX // tile.shape[0])
    grown = np.repeat(np.repeat(tile, times, axis=0), times, axis=1)
    return np.ascontiguousarray(grown)
