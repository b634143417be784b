"""Batches on their way to the device, while it still computes the step before."""

from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from training.step import Batch

AnyBatch = TypeVar("AnyBatch", bound=Batch)


class DeviceCopies:
    """Copies batches to a device; to a GPU beside what it is computing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def copy(self, batch: AnyBatch) -> AnyBatch:
        """Copy a batch; what is computed from now on waits for it."""
        if self._stream is None:
            return batch.to(self._device)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = batch.to(self._device)
        computing.wait_stream(self._stream)
        # Lists hold what is known of each sample, and no tensors.
        for value in tree_leaves([v for v in vars(copied).values() if not isinstance(v, list)]):
            if isinstance(value, Tensor):
                value.record_stream(computing)  # not free before what is computed now is done
        return copied
