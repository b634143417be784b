"""The arrays of a batch, in memory of their own or shared by the loader processes and the trainer.

New memory is slow to touch for the first time, and sending arrays from process to process copies
them. So loader processes fill a few sets of shared arrays in turn, and hand on which one.
"""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from shards.format import FOREGROUND_GRID
from training.keypoints import NUM_KEYPOINTS
from training.loading.augment import NUM_LOOK

Array = npt.NDArray[Any]
Arrays = dict[str, Array]  # by the names of PairBatch


def allocate(size: int, pixels_px: int, num_patches: int, num_masked: int) -> dict[str, Tensor]:
    """Return the empty tensors of `size` samples, whose images have `pixels_px` on each side."""
    of_image: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "images": ((pixels_px, pixels_px, 3), torch.uint8),
        "looks": ((NUM_LOOK,), torch.float32),
        "cells": ((FOREGROUND_GRID, FOREGROUND_GRID), torch.uint8),
        "keypoints": ((NUM_KEYPOINTS, 3), torch.float32),
    }
    tensors = {
        f"{name}_{side}": torch.empty((size, *shape), dtype=dtype)
        for name, (shape, dtype) in of_image.items()
        for side in "ab"
    }
    tensors["foreground"] = torch.empty((size, num_patches))
    tensors["visible"] = torch.empty((size, num_patches - num_masked), dtype=torch.int64)
    tensors["masked"] = torch.empty((size, num_masked), dtype=torch.int64)
    return tensors


class SharedArrays:
    """Several sets of a batch's arrays that are filled in turn; made before the processes start."""

    def __init__(self, sets: list[dict[str, Tensor]], pin_memory: bool) -> None:
        """Share the sets; with `pin_memory` a GPU copies from them without anybody waiting."""
        self._sets = sets
        for tensors in sets:
            for tensor in tensors.values():
                tensor.share_memory_()
                if pin_memory:
                    size_bytes = tensor.numel() * tensor.element_size()
                    error = torch.cuda.cudart().cudaHostRegister(tensor.data_ptr(), size_bytes, 0)
                    assert int(error) == 0, f"cudaHostRegister failed: {error}"

    def close(self) -> None:
        """Let the GPU's driver forget the memory."""
        for tensors in self._sets:
            for tensor in tensors.values():
                if torch.cuda.is_available() and tensor.is_pinned():
                    torch.cuda.cudart().cudaHostUnregister(tensor.data_ptr())

    def __len__(self) -> int:
        return len(self._sets)

    def tensors(self, number: int) -> dict[str, Tensor]:
        """One of the sets."""
        return self._sets[number]


def as_arrays(tensors: dict[str, Tensor]) -> Arrays:
    """The same memory as NumPy's arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}
