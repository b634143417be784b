"""Batches made by hand, for tests that need no shards."""

import torch
from torch import Tensor

from training.keypoints import NUM_KEYPOINTS
from training.loading.pair_batch import PairBatch

KINDS = ("cross_view", "cross_pose")


def make_batch(
    images_a: Tensor,
    images_b: Tensor,
    visible: Tensor,
    masked: Tensor,
    foreground: Tensor | None = None,
    keypoints_a: Tensor | None = None,
    keypoints_b: Tensor | None = None,
) -> PairBatch:
    """Pairs of uint8 images that nothing was changed in; kinds alternate."""
    size = len(images_a)
    looks = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.5]]).repeat(size, 1)
    nowhere = torch.zeros(size, NUM_KEYPOINTS, 3)
    cells = torch.full((size, 32, 32), 255, dtype=torch.uint8)
    return PairBatch(
        images_a=images_a, images_b=images_b, looks_a=looks, looks_b=looks, cells_a=cells,
        cells_b=cells, image_px=images_a.shape[1], background="keep",
        visible=visible, masked=masked,
        keypoints_a=nowhere if keypoints_a is None else keypoints_a,
        keypoints_b=nowhere if keypoints_b is None else keypoints_b,
        foreground=torch.ones(size, visible.shape[1] + masked.shape[1])
        if foreground is None else foreground,
        metas=[
            {"pair_id": str(i), "kind": KINDS[i % 2], "identity_id": str(i), "dataset": "made"}
            for i in range(size)
        ],
        places=["made"] * size, swapped=[False] * size, damaged={},
    )  # fmt: skip


def random_batch(
    size: int = 4, num_visible: int = 5, image_px: int = 32, patch_px: int = 8, seed: int = 1
) -> PairBatch:
    """Noise, with random masks, foregrounds and keypoints of a body, a third of them unseen."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, size, image_px, image_px, 3)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    num_patches = (image_px // patch_px) ** 2
    order = torch.rand(size, num_patches, generator=generator).argsort(1)
    keypoints = torch.rand(2, size, NUM_KEYPOINTS, 3, generator=generator)
    keypoints[..., 2] *= keypoints[..., 2] > 1 / 3
    keypoints[:, :, 17:] = 0
    return make_batch(
        images[0], images[1], order[:, :num_visible], order[:, num_visible:],
        foreground=torch.rand(size, num_patches, generator=generator),
        keypoints_a=keypoints[0], keypoints_b=keypoints[1],
    )  # fmt: skip
