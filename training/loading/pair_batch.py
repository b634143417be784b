"""A batch of pairs: the arrays that the model eats, and what is known of each sample.

Shapes: B samples, H = W = image_px, L values of a `Look`, G cells along a foreground map's side,
K keypoints, N patches of an image, V visible and M masked ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from training.loading.colour import Background, finish_images


@dataclass(kw_only=True)
class PairBatch:
    """One batch. A training batch is always full: good samples stand in for damaged ones."""

    images_a: Tensor  # (B, H, W, 3) uint8 RGB, colours as recorded; whole, or already cut
    images_b: Tensor
    looks_a: Tensor  # (B, L) float32: what was drawn for each image
    looks_b: Tensor
    cells_a: Tensor  # (B, G, G) uint8: share of each cell of the uncut image that is the person
    cells_b: Tensor
    keypoints_a: Tensor  # (B, K, 3) float32: x, y as shares of the side; confidence, 0: not there
    keypoints_b: Tensor
    foreground: Tensor  # (B, N) float32: share of each patch of image a that is the person
    visible: Tensor  # (B, V) int64, patch indices of image a
    masked: Tensor  # (B, M) int64
    image_px: int  # side of the model's images: of the windows that are cut, or were
    background: Background  # what becomes of what is not the person
    metas: list[dict[str, Any]]  # each sample's JSON
    places: list[str]  # shard and position of each sample, for messages
    swapped: list[bool]  # whether image a is the sample's `b.jpg`
    damaged: dict[tuple[int, ...], str]  # slot -> what was wrong, of the samples left out

    def __len__(self) -> int:
        return len(self.metas)

    @property
    def sample_ids(self) -> list[str]:
        """The ids of the pairs, in order: of its samples."""
        return [meta["pair_id"] for meta in self.metas]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the pairs, in order."""
        return [meta["kind"] for meta in self.metas]

    def inputs(self, compiled: bool = False) -> tuple[Tensor, Tensor]:
        """Both images as the model takes them, (B, 3, H, W) float32, on the batch's device."""
        how = (self.image_px, self.background, compiled)
        image_a_B3HW = finish_images(self.images_a, self.looks_a, self.cells_a, *how)
        image_b_B3HW = finish_images(self.images_b, self.looks_b, self.cells_b, *how)
        return image_a_B3HW, image_b_B3HW

    def to(self, device: torch.device) -> "PairBatch":
        """Copy the tensors to a device."""
        return self._with({n: x.to(device, non_blocking=True) for n, x in self._tensors().items()})

    def chunks(self, size: int) -> Iterator["PairBatch"]:
        """Yield the batch in parts of `size` samples, the last one with what is left; `damaged`
        stays with the whole.
        """
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            lists = {name: getattr(self, name)[rows] for name in ("metas", "places", "swapped")}
            tensors = {name: tensor[rows] for name, tensor in self._tensors().items()}
            yield self._with({**tensors, **lists, "damaged": {}})

    def choose(self, rows: list[int]) -> "PairBatch":
        """The batch of some of its samples, in a given order."""
        lists = {
            name: [getattr(self, name)[row] for row in rows]
            for name in ("metas", "places", "swapped")
        }
        tensors = {name: tensor[rows] for name, tensor in self._tensors().items()}
        return self._with({**tensors, **lists, "damaged": {}})

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _with(self, changed: dict[str, Any]) -> "PairBatch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return PairBatch(**{**values, **changed})


def person_of(meta: dict[str, Any]) -> str:
    """Who a pair shows, by its JSON. Sets built before `person_id` was written tell people apart by
    identity, which is of one capture: somebody who is in two captures then counts as two.
    """
    person: str = meta.get("person_id", meta["identity_id"])
    return person
