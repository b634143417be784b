"""Labelled images made in code: a coloured figure whose place and colour decide all of its labels;
and a small encoder to learn them with.
"""

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from shards.labels import ImageLabel, Label
from training.loading.placed import Placed, Placement
from training.models.blocks import EncoderBlock
from training.tasks.task import EncoderSize, Features, Task

IMAGE_PX = 64
GESTURES = ("fist", "palm", "point")
COLOURS = ((220, 60, 60), (60, 220, 60), (60, 60, 220))
NUM_SEEDS = 4


def make_sample(seed: int, part: str = "body", chart: str = "anny") -> tuple[Label, Placed, Tensor]:
    """A label, its placed image with a dense map, and the pixels (H, W, 3) uint8.

    The figure is a square; its upper half is part 1, its lower half part 2, u and v run over it.
    """
    rng = np.random.default_rng(seed)
    side = int(rng.integers(28, 40))
    x, y = (int(value) for value in rng.integers(4, IMAGE_PX - side - 4, 2))
    gesture = seed % len(GESTURES)
    pixels = np.full((IMAGE_PX, IMAGE_PX, 3), 90, np.uint8)
    pixels[y : y + side, x : x + side] = COLOURS[gesture]
    cv2.circle(pixels, (x + side // 2, y + side // 4), side // 8, (255, 255, 255), -1)

    num = 17 if part == "body" else 21
    along = np.linspace(0.1, 0.9, num)
    keypoints = np.stack([x + side * along, y + side * (along * 7 % 1), np.ones(num)], axis=1)
    keypoints[3, 2] = 0
    iuv = np.zeros((IMAGE_PX, IMAGE_PX, 3), np.uint8)
    ramp = (255 * (np.arange(side) + 0.5) / side).round()
    square = iuv[y : y + side, x : x + side]
    square[: side // 2, :, 0], square[side // 2 :, :, 0] = 1, 2
    square[..., 1], square[..., 2] = ramp, ramp[:, None]
    image = ImageLabel(
        source="made",
        box_px=np.array([0.0, 0, IMAGE_PX, IMAGE_PX]),
        person_box_px=np.array([x, y, x + side, y + side], float),
        keypoints_px=keypoints,
        dense_chart=chart,
    )
    label = Label(
        label_id=f"sample{seed}",
        dataset="made",
        kind="single",
        part=part,
        split="train",
        images=(image,),
        gesture=GESTURES[gesture],
    )
    placed = Placed(
        label=image, placement=Placement(), stored_px=IMAGE_PX, image_px=IMAGE_PX, iuv=iuv
    )
    return label, placed, torch.from_numpy(pixels)


def marked(placed: Placed, num: int, seed: int = 0) -> Placed:
    """The same image with its labels as marked points at the centres of every fourth pixel."""
    assert placed.iuv is not None
    rows, columns = np.nonzero(placed.iuv[2::4, 2::4, 0])
    chosen = np.random.default_rng(seed).permutation(len(rows))[:num]
    x, y = 4 * columns[chosen] + 2, 4 * rows[chosen] + 2
    part, u, v = placed.iuv[y, x].T.astype(float)
    points = np.stack([x + 0.5, y + 0.5, part, u / 255, v / 255], axis=1)
    return replace(placed, iuv=None, label=replace(placed.label, dense_points=points))


def make_batch(task: Task, part: str = "body") -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """Normalized images (B, 3, H, W), the task's targets, and the pixels of each image."""
    samples = [make_sample(seed, part) for seed in range(NUM_SEEDS)]
    arrays = [task.target(label, [placed]) for label, placed, _ in samples]
    targets = {
        name: torch.from_numpy(np.stack([array[name] for array in arrays])) for name in arrays[0]
    }
    pixels = [pixels for _, _, pixels in samples]
    images = torch.stack(pixels).permute(0, 3, 1, 2).float() / 128 - 1
    return images, targets, pixels


class TinyEncoder(nn.Module):
    """Four blocks of 128 channels over 8 x 8 tokens, a stage after each."""

    def __init__(self, width: int = 128, grid: int = 8) -> None:
        super().__init__()
        self.size = EncoderSize(width=width, grid=grid, image_px=IMAGE_PX)
        patch_px = IMAGE_PX // grid
        self.patches = nn.Conv2d(3, width, patch_px, stride=patch_px)
        self.places = nn.Parameter(0.5 * torch.randn(grid * grid, width))
        self.blocks = nn.ModuleList(EncoderBlock(width, 4, 2.0) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(self, images_B3HW: Tensor) -> Features:
        x_BNC = self.patches(images_B3HW).flatten(2).transpose(1, 2) + self.places
        stages = []
        for block in self.blocks:
            x_BNC = block(x_BNC, None, [x_BNC.shape[1]])
            stages.append(x_BNC)
        return Features(self.norm(x_BNC), tuple(stages))


def overfit(task: Task, part: str = "body", steps: int = 70) -> tuple[dict[str, Tensor], ...]:
    """Fit one batch; return the outputs, the targets and the metrics."""
    torch.manual_seed(0)
    encoder = TinyEncoder()
    head = task.make_head(encoder.size)
    images, targets, _ = make_batch(task, part)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        losses = task.losses(head(encoder(images)), targets)
        weights = task.weights(targets)
        total = sum(
            task.factors[name] * (losses[name] * weights[name]).sum() / weights[name].sum()
            for name in task.factors
        )
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        outputs = head(encoder(images))
    return outputs, targets, task.metrics(outputs, targets)
