"""Writes an overlay video frame by frame.

PyAV writes H.264, which plays everywhere; where it is not installed OpenCV writes MPEG-4, which
players have but browsers do not.
"""

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from catalog import storage
from training.loading.placed import Bytes


class OverlayVideo:
    """Writes an MP4 file that appears whole or not at all, once it is left without an error."""

    def __init__(self, path: str, fps: float) -> None:
        self._path, self._fps = path, fps
        folder, name = os.path.split(path)
        self._temporary = os.path.join(folder, storage.TEMPORARY_PREFIX + name)
        self._writer: Any = None

    def __enter__(self) -> "OverlayVideo":
        return self

    def add(self, picture: Bytes) -> None:
        """Add an RGB frame (H, W, 3); all have one size."""
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2  # H.264 wants it so
        if self._writer is None:
            Path(self._temporary).parent.mkdir(parents=True, exist_ok=True)
            self._writer = _make_writer(self._temporary, self._fps, width, height)
        self._writer.add(np.ascontiguousarray(picture[:height, :width]))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            if kind is None:
                os.replace(self._temporary, self._path)
            else:
                os.unlink(self._temporary)


def _make_writer(path: str, fps: float, width: int, height: int) -> Any:
    try:
        return _H264(path, fps, width, height)
    except (ImportError, ValueError):  # not installed, or built without the encoder
        return _Mpeg4(path, fps, width, height)


class _H264:
    def __init__(self, path: str, fps: float, width: int, height: int) -> None:
        import av
        from av.codec import Codec

        Codec("libx264", "w")
        self._av: Any = av
        self._container: Any = av.open(path, "w", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)  # 29.97 is 30000 / 1001
        self._stream: Any = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"  # what browsers play

    def add(self, picture: Bytes) -> None:
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _Mpeg4:
    def __init__(self, path: str, fps: float, width: int, height: int) -> None:
        kind = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(path, kind, fps, (width, height))

    def add(self, picture: Bytes) -> None:
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
