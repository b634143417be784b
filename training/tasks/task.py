"""What a task is: which samples it can use, its targets, head, losses, metrics and picture.

Targets are made by loader processes, one sample at a time; everything else sees whole batches on
the training device. A loss is a value for each sample and a weight for each sample: the step adds
both up over parts of a batch and over ranks, so that neither changes a gradient.

Shapes: B samples, V images of a sample, H = W = image_px.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from shards.labels import Label
from training.loading.placed import Placed

Targets = Mapping[str, Tensor]  # by name, (B, ...) each
Outputs = dict[str, Tensor]


class Features(NamedTuple):
    """What an encoder makes of images; N tokens of C channels, row by row of a square grid."""

    tokens_BNC: Tensor  # after the last norm
    stages: tuple[Tensor, ...]  # four (B, N, C), from early to late blocks, not normed


class EncoderSize(NamedTuple):
    """What a head must know of its encoder."""

    width: int  # C
    grid: int  # tokens along a side; N = grid x grid
    image_px: int


def default_part(parts: Sequence[str]) -> str:
    """Which of a task's parts is meant where none is named; of two hands the right one."""
    return next((part for part in parts if part != "left_hand"), parts[0])


class Task(Protocol):
    """One task; made by its config."""

    name: str
    num_images: int  # of a sample: 1, or 2 views of an instant
    parts: tuple[str, ...]  # `body`, `left_hand`, `right_hand`: samples of others are not read
    mirror_left: bool  # left hands are mirrored to be right ones
    reads_maps: bool  # of parts, u and v, where samples have them: others need not decode them
    headline: str  # the metric that a study compares
    larger_is_better: bool  # of the headline
    factors: Mapping[str, float]  # of each term in the sum of losses

    def target(self, label: Label, images: Sequence[Placed]) -> dict[str, npt.NDArray[np.generic]]:
        """A sample's targets: arrays of the same names, shapes and dtypes for every sample.

        Raises ValueError when the label lacks what the task needs.
        """

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head: called with `Features` of the (first) image, it returns `Outputs`."""

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """The weight of each sample in each term of the loss, (B,): 0 where it has no label."""

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """The terms of the loss, (B,) float32, one for each of `factors`; finite also where the
        weight is 0.
        """

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Figures of each sample, (B,), units in their names; NaN: nothing to be judged by."""

    def summarize(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """The figures of a set of samples from all of their `metrics`; means, where no more is
        asked for.
        """

    def draw(
        self, image_HW3: npt.NDArray[np.uint8], outputs: Outputs, targets: Targets, row: int
    ) -> npt.NDArray[np.uint8]:
        """A picture of one sample's output (and truth), (H, any width, 3) RGB; its values are on
        the CPU.
        """

    def answer(self, outputs: Outputs, row: int) -> dict[str, Any]:
        """One sample's output for users: arrays and plain values by name."""
