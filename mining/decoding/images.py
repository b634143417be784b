"""Reads a folder of still images as one view: names in natural order, at a fixed frame rate or at
times that a file tells.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlencode

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from catalog.footage import read_rgb
from mining.decoding.decoders import nearest
from mining.sources.base import Frame, ViewInfo

DEFAULT_FPS = 30.0  # of folders of images that say nothing
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def image_sequence_uri(folder: str, fps: float, times_file: str | None = None) -> str:
    """The uri of a folder of images taken at `fps` frames per second, or at the times of a file."""
    return f"{folder}?{urlencode({'fps': fps} if times_file is None else {'times': times_file})}"


def read_times(times_file: str, num_images: int) -> NDArray[np.float64]:
    """Read a file with the time of each image in seconds, one a line: times since the first (N,).

    Raises ValueError, in one sentence, for a line that is no number, for times that do not ascend,
    and where there are not as many as images.
    """
    name = times_file.rsplit("/", 1)[-1]
    try:
        lines = storage.read_text(times_file).split()
        times_s = np.array([float(line) for line in lines])
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{name}, the file of times, cannot be read") from None
    except ValueError as error:
        raise ValueError(f"{name} must hold one time in seconds a line: {error}") from None
    if len(times_s) != num_images:
        raise ValueError(f"{name} holds {len(times_s)} times for {num_images} images")
    if not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
        raise ValueError(f"the times of {name} do not ascend")
    return times_s - times_s[:1]


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
        files, starts_s = _open(uri)
        height, width = read_rgb(files[0]).shape[:2]
        fps = (len(files) - 1) / starts_s[-1] if len(files) > 1 else DEFAULT_FPS
        return ViewInfo(
            width_px=width, height_px=height, fps=round(float(fps), 9), num_frames=len(files)
        )

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield the image nearest to each time, each once.

        Raises ValueError for one that cannot be read.
        """
        files, starts_s = _open(uri)
        for index in dict.fromkeys(nearest(starts_s, times_s).tolist()):
            yield Frame(index=index, time_s=float(starts_s[index]), image=read_rgb(files[index]))


def _open(uri: str) -> tuple[list[str], NDArray[np.float64]]:
    """The images of a uri and the time of each (N,), in seconds since the first.

    Raises ValueError when there is none or they cannot be listed.
    """
    folder, _, query = uri.rpartition("?")
    options = parse_qs(query)
    try:
        files = list_images(folder)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror or error}") from None
    if not files:
        raise ValueError(f"{folder} holds no images")
    if "times" in options:
        return files, read_times(options["times"][0], len(files))
    return files, np.arange(len(files)) / float(options["fps"][0])
