"""A batch of labelled samples: images, a task's targets, and what is known of each sample.

Shapes: B samples, V images of a sample, H = W = image_px, L values of a `Look`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.loading.colour import finish_images

META = ("label_id", "dataset", "kind", "part", "subject", "gesture")  # of a label, in `metas`


@dataclass(kw_only=True)
class LabelBatch:
    """One batch. A training batch is always full: good samples stand in for damaged ones."""

    images: Tensor  # (B, V, H, W, 3) uint8 RGB, placed
    looks: Tensor  # (B, V, L) float32: what was drawn of their colours
    targets: Mapping[str, Tensor]  # the task's, (B, ...) each
    metas: list[dict[str, Any]]
    places: list[str]  # shard and position of each sample, for messages
    damaged: dict[tuple[int, ...], str] = field(default_factory=dict)  # slot -> what was wrong

    def __len__(self) -> int:
        return len(self.metas)

    @property
    def sample_ids(self) -> list[str]:
        """The ids of the samples, in order."""
        return [meta["label_id"] for meta in self.metas]

    def inputs(self) -> Tensor:
        """The images as encoders take them, (B, V, 3, H, W) float32, on the batch's device."""
        images, looks = self.images.flatten(0, 1), self.looks.flatten(0, 1)
        cells = images.new_empty((len(images), 0, 0))  # backgrounds are kept
        finished = finish_images(images, looks, cells, images.shape[1], "keep")
        return finished.unflatten(0, self.images.shape[:2])

    def to(self, device: torch.device) -> "LabelBatch":
        """Copy the tensors to a device."""
        return LabelBatch(
            images=self.images.to(device, non_blocking=True),
            looks=self.looks.to(device, non_blocking=True),
            targets={n: x.to(device, non_blocking=True) for n, x in self.targets.items()},
            metas=self.metas,
            places=self.places,
            damaged=self.damaged,
        )

    def chunks(self, size: int) -> Iterator["LabelBatch"]:
        """Yield the batch in parts of `size` samples, the last one with what is left; `damaged`
        stays with the whole.
        """
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield LabelBatch(
                images=self.images[rows],
                looks=self.looks[rows],
                targets={name: tensor[rows] for name, tensor in self.targets.items()},
                metas=self.metas[rows],
                places=self.places[rows],
            )

    def pin_memory(self) -> "LabelBatch":
        """The same batch in memory that a GPU copies from without anybody waiting."""
        return LabelBatch(
            images=self.images.pin_memory(),
            looks=self.looks.pin_memory(),
            targets={name: tensor.pin_memory() for name, tensor in self.targets.items()},
            metas=self.metas,
            places=self.places,
            damaged=self.damaged,
        )
