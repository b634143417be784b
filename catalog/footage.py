"""Footage as all packages take it: which files are videos, and images as RGB pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog import storage

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv",
)  # fmt: skip


def is_video(url: str) -> bool:
    """Tell by its name whether a file is a video."""
    return url.lower().endswith(VIDEO_SUFFIXES)


def read_rgb(url: str) -> NDArray[np.uint8]:
    """Read an image as RGB uint8 (H, W, 3), upright as its camera was held.

    Raises ValueError, with the file's own name, for one that is missing, cannot be read or is
    damaged.
    """
    name = url.rsplit("/", 1)[-1]
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise ValueError(f"{name} is not there") from None
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror or error}") from None
    return decode_rgb(data, name)


def decode_rgb(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image file's bytes to RGB uint8 (H, W, 3), upright as its camera was held.

    Raises ValueError, naming it, for what is no image or damaged.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError(f"{name} is not an image that can be read")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
