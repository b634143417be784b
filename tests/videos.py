"""Small videos with known content, written by the tests: every frame has a grey of its own, and its
number painted in black and white blocks.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (96, 64)  # width, height
CLOCK = Fraction(1, 90000)  # of videos with times of their own
BLOCK_PX = 12
NUM_BITS = 8


def grey_of(index: int) -> int:
    return 20 + index * 5 % 220


def paint(index: int) -> NDArray[np.uint8]:
    """The image of a frame: its grey, red on the upper right, its number on the lower right."""
    image = np.full((SIZE[1], SIZE[0], 3), grey_of(index), np.uint8)
    image[:32, 48:] = (250, 0, 0)
    for bit in range(NUM_BITS):
        image[_block(bit)] = 255 * (index >> bit & 1)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """The number painted into a frame, up to 255."""
    return sum(int(image[_block(bit)].mean() > 127) << bit for bit in range(NUM_BITS))


def write_video(
    path: Path,
    num_frames: int = 40,
    fps: int = 20,
    codec: str = "libx264",
    *,
    times_s: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    gop: int = 12,
) -> Path:
    """Write frames 0 to `num_frames` at a constant rate, or one for each of `times_s`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = gop
        if times_s is not None:
            stream.codec_context.time_base = stream.time_base = CLOCK
        for index in range(num_frames if times_s is None else len(times_s)):
            frame = av.VideoFrame.from_ndarray(paint(index), format="rgb24")
            if times_s is not None:
                frame.pts, frame.time_base = round(times_s[index] / CLOCK), CLOCK
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def cut_with_edit_list(source: Path, target: Path, cut_s: float) -> Path:
    """Copy an MP4 without its first `cut_s` as phones and editors do: the packets stay, and an edit
    list says that nothing before is shown.
    """
    with (
        av.open(str(source)) as whole,
        av.open(str(target), "w", options={"use_editlist": "1"}) as cut,
    ):
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                shift = round(cut_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                cut.mux(packet)
    return target


def _block(bit: int) -> tuple[slice, slice]:
    top, left = 40 + BLOCK_PX * (bit // 4), 48 + BLOCK_PX * (bit % 4)
    return slice(top + 2, top + BLOCK_PX - 2), slice(left + 2, left + BLOCK_PX - 2)
