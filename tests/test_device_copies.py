"""Batches on their way to the device."""

import pytest
import torch

from tests.pair_batches import random_batch
from training.device_copies import DeviceCopies
from training.loading.label_batch import LabelBatch


def label_batch() -> LabelBatch:
    return LabelBatch(
        images=torch.randint(0, 256, (2, 1, 8, 8, 3), dtype=torch.uint8),
        looks=torch.rand(2, 1, 7), targets={"points": torch.rand(2, 3)}, metas=[{}, {}],
        places=["made"] * 2,
    )  # fmt: skip


@pytest.mark.parametrize("make", [random_batch, label_batch])
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def test_a_copy_holds_what_the_batch_does(make, device):
    batch, copies = make(), DeviceCopies(torch.device(device))
    for _ in range(3):  # memory of earlier copies is used again
        copied = copies.copy(batch)
        for found, expected in zip(tensors(copied), tensors(batch), strict=True):
            assert found.device.type == device
            torch.testing.assert_close(found.cpu(), expected)


def tensors(batch) -> list[torch.Tensor]:
    values = [*vars(batch).values(), *getattr(batch, "targets", {}).values()]
    return [value for value in values if isinstance(value, torch.Tensor)]
