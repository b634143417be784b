"""Small videos with known content, written by the tests: frame k has a grey of its own."""

from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)  # width, height


def grey_of(index: int) -> int:
    return 20 + index * 5 % 220


def write_video(path: Path, num_frames: int = 40, fps: int = 20, codec: str = "libx264") -> Path:
    """Write `num_frames` frames; frame k has its grey, the right upper quarter is red."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            image = np.full((SIZE[1], SIZE[0], 3), grey_of(index), np.uint8)
            image[:32, 48:] = (250, 0, 0)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
