"""Video decoders behind one small interface: decord first, PyAV for what decord cannot read (AV1,
damaged files).

They run inside the child process of `mining/decoding/video.py`, because decord can hang or exhaust
memory. Both open a file, read what was asked and close it again: a decord reader held open buffers
without bound (dmlc/decord#157).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mining.sources.base import Frame, ViewInfo

if TYPE_CHECKING:
    import av

BATCH_FRAMES = 8  # decoded at a time: 8 frames of 4K are 200 MB
END_TOLERANCE_S = 0.1  # the last frame still stands for what is asked so much later


class Decoder(Protocol):
    """Decodes chosen moments of one video file."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield, for each ascending time, the frame that starts nearest to it.

        Raises when the file breaks.
        """


class DecordDecoder:
    """The default: fast random access, FFmpeg inside its own wheel."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. Raises ValueError when the video ends before the last time."""
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        starts_s = np.asarray(video.get_frame_timestamp(range(len(video))))[:, 0]
        starts_s = starts_s - starts_s[0]
        end_s = float(starts_s[-1])
        there = [t for t in times_s if t - end_s <= END_TOLERANCE_S]
        indices = nearest(starts_s, there)
        for first in range(0, len(indices), BATCH_FRAMES):
            batch = indices[first : first + BATCH_FRAMES]
            for index, image in zip(batch, video.get_batch(batch).asnumpy(), strict=True):
                yield Frame(index=int(index), time_s=float(starts_s[index]), image=image)
        if len(there) < len(times_s):
            raise ValueError(_ends_early(end_s, len(times_s) - len(there)))


class PyAVDecoder:
    """The fallback: decodes in order from the start, reads AV1, goes on past damaged packets."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. Raises ValueError when the video ends before the last time."""
        import av

        wanted = list(times_s)
        previous: tuple[int, float, av.VideoFrame] | None = None
        with av.open(path) as container:
            start_s: float | None = None
            for index, decoded in enumerate(_decode_past_damage(container)):
                start_s = float(decoded.time or 0) if start_s is None else start_s
                current = (index, float(decoded.time or 0) - start_s, decoded)
                while wanted and previous is not None and current[1] >= wanted[0]:
                    earlier = wanted[0] - previous[1] <= current[1] - wanted[0]
                    yield _to_frame(*(previous if earlier else current))
                    wanted.pop(0)
                if not wanted:
                    return
                previous = current
        end_s = previous[1] if previous else 0.0
        while previous and wanted and wanted[0] - end_s <= END_TOLERANCE_S:
            yield _to_frame(*previous)
            wanted.pop(0)
        if wanted:
            raise ValueError(_ends_early(end_s, len(wanted)))


DECODERS: dict[str, type[Decoder]] = {"decord": DecordDecoder, "pyav": PyAVDecoder}


def probe_video(path: str) -> ViewInfo:
    """Read a video's size (as shown, rotation applied), rate and length from its container; frames
    are counted where the container tells no length.

    Raises ValueError, in one sentence, for what is not a readable video.
    """
    import av

    name = Path(path).name
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise ValueError(f"{name} has no video stream")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            frame = next(_decode_past_damage(container), None)
            if frame is None or fps <= 0:
                raise ValueError(f"{name} has no frame that can be decoded")
            turned = frame.rotation % 180 != 0
            return ViewInfo(
                width_px=frame.height if turned else frame.width,
                height_px=frame.width if turned else frame.height,
                fps=fps,
                num_frames=_declared_frames(container, fps) or _count_frames(path),
            )
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{name} is not a video that can be read: {error.strerror}") from None


def _declared_frames(container: "av.container.InputContainer", fps: float) -> int:
    """What the container says of its length, in frames; 0 when it says nothing."""
    import av

    stream = container.streams.video[0]
    if stream.frames:
        return int(stream.frames)
    if stream.duration and stream.time_base:
        return round(float(stream.duration * stream.time_base) * fps)
    return round((container.duration or 0) / av.time_base * fps)


def _count_frames(path: str) -> int:
    """Packets of the video stream: as many as frames in what cameras and browsers write."""
    import av

    with av.open(path) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def nearest(starts_s: NDArray[np.float64], times_s: Sequence[float]) -> NDArray[np.int64]:
    """Indices of the ascending `starts_s` nearest to each time; the earlier one when two are as
    near.
    """
    after = np.clip(np.searchsorted(starts_s, times_s), 1, max(1, len(starts_s) - 1))
    after = np.minimum(after, len(starts_s) - 1)
    before = np.maximum(after - 1, 0)
    times = np.asarray(times_s)
    return np.where(times - starts_s[before] <= starts_s[after] - times, before, after)


def _ends_early(end_s: float, num_missing: int) -> str:
    return f"the video ends at {end_s:.2f} s, {num_missing} wanted frames come later"


def _decode_past_damage(container: "av.container.InputContainer") -> Iterator["av.VideoFrame"]:
    import av

    for packet in container.demux(container.streams.video[0]):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _to_frame(index: int, time_s: float, decoded: "av.VideoFrame") -> Frame:
    pixels = np.asarray(decoded.to_ndarray(format="rgb24"), dtype=np.uint8)
    upright = np.ascontiguousarray(np.rot90(pixels, k=(decoded.rotation // 90) % 4))
    return Frame(index=index, time_s=time_s, image=upright)
