"""Loads ultralytics networks: the only module that imports that package, which is AGPL-3.0."""

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ultralytics


def load_yolo(weights: str, task: Literal["pose", "segment"]) -> "ultralytics.YOLO":
    """Load a network from a weights file, never from elsewhere, for one CPU thread.

    Raises ValueError when the file holds no network of that task.
    """
    os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0", YOLO_VERBOSE="false")
    import torch
    from ultralytics import YOLO

    torch.set_num_threads(1)
    network = YOLO(weights, task=task)
    if network.task != task:
        raise ValueError(f"{weights} holds a network for {network.task}, not for {task}")
    return network
