"""2D keypoints as a second task: what the head says of an image's patches, and its loss.

Bodies and hands have places of their own among the keypoints, so one head serves both. Mined
keypoints come from a detector: their confidence is their weight.

Shapes: B samples, N patches of a square image, K keypoints.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from catalog.keypoints import NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS

NUM_KEYPOINTS = NUM_BODY_KEYPOINTS + NUM_HAND_KEYPOINTS  # the body's come first


def keypoint_losses(keypoints_BNK3: Tensor, truth_BK3: Tensor) -> tuple[Tensor, Tensor]:
    """Return each keypoint's loss and weight, both (B, K).

    The head gives every patch a logit for each keypoint, and where in the patch it would lie. The
    loss is the cross-entropy of the right patch among all, as a share of that of guessing, plus the
    distance within it in patches. `truth_BK3` has x and y as shares of the image's side, and the
    confidence, which is the weight.
    """
    num_patches = keypoints_BNK3.shape[1]
    grid = int(num_patches**0.5)
    place_BK2 = (truth_BK3[:, :, :2] * grid).clamp(0, grid - 1e-3)
    column_BK, row_BK = place_BK2.floor().long().unbind(2)
    patch_BK = row_BK * grid + column_BK
    logits_BNK = keypoints_BNK3[..., 0]
    which_BK = F.cross_entropy(logits_BNK, patch_BK, reduction="none")
    which_BK = which_BK / math.log(num_patches)
    index_B1K2 = patch_BK[:, None, :, None].expand(-1, -1, -1, 2)
    within_BK2 = keypoints_BNK3[..., 1:].gather(1, index_B1K2)[:, 0]
    where_BK = (within_BK2 - place_BK2.frac()).abs().sum(2)
    return which_BK + where_BK, truth_BK3[:, :, 2]


def find_keypoints(keypoints_BNK3: Tensor) -> Tensor:
    """Return where the head sees each keypoint, (B, K, 2), as shares of the image's side."""
    grid = int(keypoints_BNK3.shape[1] ** 0.5)
    patch_BK = keypoints_BNK3[..., 0].argmax(dim=1)
    index_B1K2 = patch_BK[:, None, :, None].expand(-1, -1, -1, 2)
    within_BK2 = keypoints_BNK3[..., 1:].gather(1, index_B1K2)[:, 0]
    corner_BK2 = torch.stack([patch_BK % grid, patch_BK // grid], dim=2)
    return (corner_BK2 + within_BK2) / grid
