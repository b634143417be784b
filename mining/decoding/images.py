"""Reads a folder of still images as one view: names in natural order, a fixed frame rate."""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlencode

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.decoding.decoders import nearest
from mining.sources.base import Frame, ViewInfo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def image_sequence_uri(folder: str, fps: float) -> str:
    """The uri of a folder of images shown at `fps` frames per second."""
    return f"{folder}?{urlencode({'fps': fps})}"


def list_images(folder: str) -> list[str]:
    """The images directly in a folder, in natural order: frame2 before frame10."""
    files = [file for file in storage.list_files(folder) if file.lower().endswith(IMAGE_SUFFIXES)]
    return sorted(
        files, key=lambda file: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", file)]
    )


class ImageSequenceReader:
    """The Reader for folders of images."""

    def probe(self, uri: str) -> ViewInfo:
        """Read the size from the first image.

        Raises ValueError when there is none or it cannot be read.
        """
        folder, fps = _parse(uri)
        files = list_images(folder)
        if not files:
            raise ValueError(f"{folder} holds no images")
        height, width = _read(files[0]).shape[:2]
        return ViewInfo(width_px=width, height_px=height, fps=fps, num_frames=len(files))

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield the image nearest to each time, each once.

        Raises ValueError for one that cannot be read.
        """
        folder, fps = _parse(uri)
        files = list_images(folder)
        starts_s = np.arange(len(files)) / fps
        for index in dict.fromkeys(nearest(starts_s, times_s).tolist()):
            yield Frame(index=index, time_s=float(starts_s[index]), image=_read(files[index]))


def _parse(uri: str) -> tuple[str, float]:
    folder, _, query = uri.rpartition("?")
    return folder, float(parse_qs(query)["fps"][0])


def _read(file: str) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(storage.read_bytes(file), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{file.rsplit('/', 1)[-1]} is not an image that can be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
