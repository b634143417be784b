"""Ask a fine-tuned model about people in images, in a few lines:

    predictor = Predictor("data/finetuning/body_mesh-tiny")
    people = predictor(image_HW3, boxes_px)
    people[0].answer["vertices_m"], people[0].draw(image_HW3)

It knows images and boxes only: who is where, a detector or the caller says.

Shapes: B people, V images of one, H = W = image_px.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.distributed import choose_device
from training.finetuning.model import load_finetuned
from training.loading.colour import finish_images
from training.loading.label_augment import look
from training.loading.placed import Bytes, Floats
from training.prediction.answers import answer_in_image
from training.prediction.crops import MARGINS, PersonCrop, make_crop, usual_camera
from training.prediction.overlay import COLOURS, draw_answers
from training.tasks.task import default_part

BATCH_SIZE = 32  # people at once

Boxes = npt.ArrayLike  # (B, 4): x0, y0, x1, y1 in pixels of the image


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a model says of one person or hand in an image."""

    box_px: Floats  # (4,), as it was given
    square_px: tuple[float, float, float, float]  # what the model was shown
    part: str  # `body`, `left_hand` or `right_hand`
    answer: dict[str, Any]  # by name; see `answers.py`
    pixels_from_cam: Floats  # (3, 3): the image's camera, in whose frame `*_cam_m` are

    def draw(self, image: Bytes, colour: tuple[int, int, int] = COLOURS[0]) -> Bytes:
        """The RGB image with this person's answer on it, (H, W, 3)."""
        return draw_answers(image, [self], [colour])


class Predictor:
    """A fine-tuned model that is ready to be asked."""

    def __init__(
        self,
        checkpoint: str,
        average: bool = False,
        device: str = "auto",
        margin: float | None = None,
    ) -> None:
        """Load a run's newest checkpoint, or one checkpoint; `margin` is the square's side over
        the box's, where it is not that of labelled images.

        Raises ValueError when there is none, or it is damaged or of pre-training.
        """
        self._device = choose_device(device)
        self.model, self.task, self.config = load_finetuned(checkpoint, self._device, average)
        self._margin = margin

    def __call__(
        self,
        image: Bytes,
        boxes_px: Boxes,
        parts: Sequence[str] | None = None,
        pixels_from_cam: Floats | None = None,
        second: tuple[Bytes, Boxes] | None = None,
        second_pixels_from_cam: Floats | None = None,
    ) -> list[Person]:
        """What the model says of each box of an RGB image (H, W, 3) uint8, in their order.

        `parts` says which hand each box shows (default: what the task is about, of hands right
        ones), `pixels_from_cam` the image's camera (default: `usual_camera`). A task of two views
        needs the `second` image of the instant and the same people's boxes in it; its answers are
        in the first one's camera. Raises ValueError for what does not fit.
        """
        boxes = np.asarray(boxes_px, np.float64).reshape(-1, 4)
        parts = self._parts(parts, len(boxes))
        views = [(image, boxes, pixels_from_cam)]
        if (second is not None) != (self.task.num_images == 2):
            wanted = "needs a second image" if second is None else "takes one image, not two"
            raise ValueError(f"{self.task.name} {wanted}")
        if second is not None:
            others = np.asarray(second[1], np.float64).reshape(-1, 4)
            if len(others) != len(boxes):
                raise ValueError(
                    f"the first image has {len(boxes)} boxes and the second {len(others)}: give "
                    "the same people's, in the same order"
                )
            views.append((second[0], others, second_pixels_from_cam))
        crops_VB = [self._crops(*view, parts) for view in views]
        answers = self._ask(crops_VB)
        height_px, width_px = image.shape[:2]
        return [
            Person(
                box_px=boxes[row],
                square_px=crop.square_px,
                part=parts[row],
                answer=answer_in_image(answers[row], crop, height_px, width_px),
                pixels_from_cam=_camera(image, pixels_from_cam),
            )
            for row, crop in enumerate(crops_VB[0])
        ]

    def _parts(self, parts: Sequence[str] | None, num: int) -> Sequence[str]:
        known = self.task.parts
        if parts is None:
            parts = [default_part(known)] * num
        if len(parts) != num:
            raise ValueError(f"{num} boxes need as many parts, got {len(parts)}")
        if strange := set(parts) - set(known):
            raise ValueError(
                f"{self.task.name} is about {', '.join(known)}, not {', '.join(sorted(strange))}"
            )
        return parts

    def _crops(
        self, image: Bytes, boxes: Floats, pixels_from_cam: Floats | None, parts: Sequence[str]
    ) -> list[PersonCrop]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image is RGB uint8 (H, W, 3), got {image.dtype} {image.shape}")
        return [
            make_crop(
                image,
                box_px,
                _camera(image, pixels_from_cam),
                self._margin or MARGINS[part],
                self.config.encoder.model.image_px,
                self.config.augment,
                mirrored=self.task.mirror_left and part == "left_hand",
            )
            for box_px, part in zip(boxes, parts, strict=True)
        ]

    @torch.no_grad()
    def _ask(self, crops_VB: Sequence[Sequence[PersonCrop]]) -> list[dict[str, Any]]:
        """The task's answers about crops, in their order."""
        answers = []
        pairs = list(zip(*crops_VB, strict=True))
        for start in range(0, len(pairs), BATCH_SIZE):
            batch = pairs[start : start + BATCH_SIZE]
            pixels = np.stack([[crop.pixels_HW3 for crop in crops] for crops in batch])
            images = self._finish(torch.from_numpy(pixels).to(self._device))
            outputs = {name: x.float().cpu() for name, x in self.model(images).items()}
            answers += [self.task.answer(outputs, row) for row in range(len(batch))]
        return answers

    def _finish(self, pixels_BVHW3: Tensor) -> Tensor:
        """The images as encoders take them, (B, V, 3, H, W)."""
        images = pixels_BVHW3.flatten(0, 1)
        looks = images.new_tensor(look(self.config.augment, None), dtype=torch.float32)
        cells = images.new_empty((len(images), 0, 0))  # backgrounds are kept
        finished = finish_images(
            images, looks.expand(len(images), -1), cells, images.shape[1], "keep"
        )
        return finished.unflatten(0, pixels_BVHW3.shape[:2])


def _camera(image: Bytes, pixels_from_cam: Floats | None) -> Floats:
    if pixels_from_cam is not None:
        return np.asarray(pixels_from_cam, np.float64)
    return usual_camera(image.shape[1], image.shape[0])
