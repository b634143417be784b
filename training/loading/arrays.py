"""The arrays of a batch, in memory of their own or shared by the loader processes and the trainer.

New memory is slow to touch for the first time, and sending arrays from process to process copies
them. So loader processes fill a few sets of shared arrays in turn, and hand on which one.
"""

from itertools import accumulate
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from catalog.foreground import FOREGROUND_GRID
from training.keypoints import NUM_KEYPOINTS
from training.loading.augment import NUM_LOOK

ALIGNMENT = 64  # bytes; also a line of the processor's cache
# Where the first array starts. At a multiple of 32 bytes libjpeg-turbo writes past the cache, and
# decoding takes 3 % longer.
START = 16

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
    """Several sets of a batch's arrays that are filled in turn; made before the processes start.

    A set is one piece of memory, so that many processes with many sets need few open files.
    """

    def __init__(self, layout: dict[str, Tensor], count: int, pin_memory: bool) -> None:
        """Share `count` sets like `layout`, an unfilled one; with `pin_memory` a GPU copies from
        them without anybody waiting.
        """
        ends = list(
            accumulate((_padded_bytes(tensor) for tensor in layout.values()), initial=START)
        )[1:]
        self._pieces = [torch.empty(ends[-1], dtype=torch.uint8) for _ in range(count)]
        for piece in self._pieces:
            piece.share_memory_()
            if pin_memory:
                error = torch.cuda.cudart().cudaHostRegister(piece.data_ptr(), len(piece), 0)
                assert int(error) == 0, f"cudaHostRegister failed: {error}"
        self._sets = [
            {
                name: piece[end - _padded_bytes(like) : end][: like.numel() * like.element_size()]
                .view(like.dtype)
                .view(like.shape)
                for (name, like), end in zip(layout.items(), ends, strict=True)
            }
            for piece in self._pieces
        ]

    def close(self) -> None:
        """Let the GPU's driver forget the memory."""
        for piece in self._pieces:
            if torch.cuda.is_available() and piece.is_pinned():
                torch.cuda.cudart().cudaHostUnregister(piece.data_ptr())

    def __len__(self) -> int:
        return len(self._sets)

    def tensors(self, number: int) -> dict[str, Tensor]:
        """One of the sets."""
        return self._sets[number]


def _padded_bytes(tensor: Tensor) -> int:
    """The bytes of a tensor, and what keeps the next one where any number may start."""
    return -(-tensor.numel() * tensor.element_size() // ALIGNMENT) * ALIGNMENT


def as_arrays(tensors: dict[str, Tensor]) -> Arrays:
    """The same memory as NumPy's arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}
