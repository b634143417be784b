"""Where a dataset's own joints stand in ours, which `catalog/keypoints.py` lists.

Each order lists, for each of our joints, the place of the dataset's; -1 where it has none. Nothing
is guessed: the top of a head is no nose, and a joint that is missing has confidence 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import COCO_KEYPOINTS, NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS

COCO17 = tuple(range(NUM_BODY_KEYPOINTS))
BODY25 = (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11)  # OpenPose; HUMBI
COCO18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)  # OpenPose; 3DPW
PANOPTIC19 = (1, 15, 17, 16, 18, 3, 9, 4, 10, 5, 11, 6, 12, 7, 13, 8, 14)
POSETRACK17 = (0, -1, -1, 3, 4, *range(5, 17))  # 1 and 2 are the head's bottom and top
PENN13 = (-1, -1, -1, -1, -1, *range(1, 13))  # 0 is the head
HUMAN36M_17 = (
    -1,
    -1,
    -1,
    -1,
    -1,
    11,
    14,
    12,
    15,
    13,
    16,
    4,
    1,
    5,
    2,
    6,
    3,
)  # as mmpose orders them
HUMAN36M_32 = (-1, -1, -1, -1, -1, 17, 25, 18, 26, 19, 27, 6, 1, 7, 2, 8, 3)
SMPL24 = (-1, -1, -1, -1, -1, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)

HAND21 = tuple(range(NUM_HAND_KEYPOINTS))
INTERHAND21 = (20, *(4 * finger + joint for finger in range(5) for joint in (3, 2, 1, 0)))


def reorder(values: NDArray[np.float64], order: Sequence[int]) -> NDArray[np.float64]:
    """Bring a dataset's joints (..., J, C) into our order (..., K, C), NaN where it has none."""
    padded = np.concatenate([values, np.full_like(values[..., :1, :], np.nan)], axis=-2)
    return padded[..., list(order), :]


def order_by_name(names: Sequence[str]) -> tuple[int, ...] | None:
    """Our order among joints with COCO's names; None where fewer than 8 of them are there."""
    order = tuple(names.index(name) if name in names else -1 for name in COCO_KEYPOINTS)
    return order if sum(place >= 0 for place in order) >= 8 else None
