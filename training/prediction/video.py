"""The frames of a video, one after the other: no video is held in memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from catalog import storage
from training.loading.placed import Bytes

USUAL_FPS = 30.0  # of files that do not say
MISCOUNTED = 2  # frames that a container may promise too much


@dataclass(frozen=True, kw_only=True)
class VideoFrames:
    """The frames of a video that are looked at."""

    path: str
    fps: float
    num_frames: int  # that the container promises, all of them
    every: int

    @property
    def num_wanted(self) -> int:
        """How many frames are looked at, by what the container promises."""
        return -(-self.num_frames // self.every)

    def __iter__(self) -> Iterator[tuple[int, Bytes]]:
        """Yield each wanted frame's number and RGB pixels (H, W, 3), upright.

        Raises ValueError, after what could be read, for a video that breaks off.
        """
        capture = cv2.VideoCapture(self.path)
        number = 0
        try:
            while capture.grab():
                if number % self.every == 0:
                    done, frame = capture.retrieve()
                    if not done:
                        break
                    yield number, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
                number += 1
        finally:
            capture.release()
        if number == 0:
            raise ValueError(f"{Path(self.path).name} is not a video that can be read")
        if number < self.num_frames - MISCOUNTED:
            raise ValueError(
                f"{Path(self.path).name} breaks off after {number} of {self.num_frames} frames; "
                "those are done"
            )


def open_video(path: str, every: int | None, fps: float | None) -> VideoFrames:
    """Look at every so many frames, or about `fps` a second; at all where neither is given.

    Raises ValueError for what is no video on a local disk.
    """
    local = storage.local_path(path)
    if local is None:
        raise ValueError(f"{path} is a video in an object store: copy it to a local disk first")
    if not os.path.isfile(local):
        raise ValueError(f"there is no file {path}")
    capture = cv2.VideoCapture(local)
    try:
        found_fps = float(capture.get(cv2.CAP_PROP_FPS))
        num_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not capture.isOpened() or not capture.grab():
            raise ValueError(f"{Path(local).name} is not a video that can be read")
    finally:
        capture.release()
    native = found_fps if np.isfinite(found_fps) and found_fps > 0 else USUAL_FPS
    step = every or (max(1, round(native / fps)) if fps else 1)
    return VideoFrames(path=local, fps=native, num_frames=max(1, num_frames), every=step)
