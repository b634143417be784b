"""Batches on their way to the device."""

import pytest
import torch

from tests.pair_batches import random_batch
from training.device_copies import DeviceCopies
from training.loading.label_batch import LabelBatch
from training.loading.pair_batch import PairBatch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def label_batch() -> LabelBatch:
    return LabelBatch(
        images=torch.randint(0, 256, (2, 1, 8, 8, 3), dtype=torch.uint8),
        looks=torch.rand(2, 1, 7), targets={"points": torch.rand(2, 3)}, metas=[{}, {}],
        places=["made"] * 2,
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_copy_holds_what_the_batch_does(device):
    copies = DeviceCopies(torch.device(device))
    pairs, labels = random_batch(), label_batch()
    of_pairs, of_labels = copies.copy(pairs), copies.copy(labels)
    assert of_pairs.sample_ids == pairs.sample_ids
    for found, expected in (
        (of_pairs.images_b, pairs.images_b),
        (of_pairs.masked, pairs.masked),
        (of_labels.images, labels.images),
        (of_labels.targets["points"], labels.targets["points"]),
    ):
        assert found.device.type == device
        torch.testing.assert_close(found.cpu(), expected)


@needs_gpu
def test_a_copy_is_not_read_too_early_nor_overwritten_too_soon():
    copies, sums = DeviceCopies(torch.device("cuda")), []
    batches = [large_batch(value) for value in range(4)]
    for batch in batches:
        copied = copies.copy(batch)
        torch.cuda._sleep(100_000_000)  # computes, while the next ones are copied
        sums.append(copied.images_a.sum())
        del copied
    assert [int(total) for total in sums] == [int(batch.images_a.sum()) for batch in batches]


def large_batch(value: int) -> PairBatch:
    batch = random_batch(size=64, image_px=224, patch_px=16)
    batch.images_a = torch.full_like(batch.images_a, value).pin_memory()
    return batch
