"""Batches on their way to the device, while it still computes the step before."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

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
        for tensor in _tensors(copied):
            tensor.record_stream(computing)  # its memory is in use until that is done with it
        return copied


def _tensors(batch: Batch) -> Iterator[Tensor]:
    for value in vars(batch).values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from (each for each in value.values() if isinstance(each, Tensor))
