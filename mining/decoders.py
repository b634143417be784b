"""Video decoders behind one small interface: decord first, PyAV for what decord cannot read (AV1,
damaged files).

They run inside the child process of `mining/video.py`, because decord can hang or exhaust memory.
Both open a file, read what was asked and close it again: a decord reader held open buffers without
bound (dmlc/decord#157).
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


class Decoder(Protocol):
    """Decodes chosen moments of one video file."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield, for each ascending time, the frame that starts nearest to it.

        Raises when the file breaks.
        """


class DecordDecoder:
    """The default: fast random access, FFmpeg inside its own wheel."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. A file that declares more frames than it holds raises where they end."""
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        starts_s = np.asarray(video.get_frame_timestamp(range(len(video))))[:, 0]
        starts_s = starts_s - starts_s[0]
        indices = nearest(starts_s, times_s)
        for first in range(0, len(indices), BATCH_FRAMES):
            batch = indices[first : first + BATCH_FRAMES]
            for index, image in zip(batch, video.get_batch(batch).asnumpy(), strict=True):
                yield Frame(index=int(index), time_s=float(starts_s[index]), image=image)


class PyAVDecoder:
    """The fallback: decodes in order from the start, reads AV1, goes on past damaged packets."""

    def frames(self, path: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. Raises ValueError when the video ends before the last time."""
        import av

        wanted = list(times_s)
        previous: Frame | None = None
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.skip_frame = "DEFAULT"
            start_s: float | None = None
            for index, frame in enumerate(_decode_past_damage(container, stream)):
                start_s = frame.time if start_s is None else start_s
                time_s = float(frame.time - start_s)
                current = Frame(index=index, time_s=time_s, image=np.empty((0, 0, 3), np.uint8))
                while wanted and previous is not None and time_s >= wanted[0]:
                    earlier = wanted[0] - previous.time_s <= time_s - wanted[0]
                    yield previous if earlier else _with_image(current, frame)
                    wanted.pop(0)
                if not wanted:
                    return
                half_frame_s = 0.5 / float(stream.average_rate or 30)
                near = wanted[0] - time_s <= 2 * half_frame_s
                previous = _with_image(current, frame) if near else current
        if len(wanted) == 1 and previous is not None and previous.image.size:
            yield previous
        elif wanted:
            end_s = previous.time_s if previous else 0.0
            raise ValueError(
                f"the video ends at {end_s:.2f} s, {len(wanted)} wanted frames come later"
            )


DECODERS: dict[str, type[Decoder]] = {"decord": DecordDecoder, "pyav": PyAVDecoder}


def probe_video(path: str) -> ViewInfo:
    """Read a video's size (as shown, rotation applied), rate and length from its container.

    Raises ValueError, in one sentence, for what is not a readable video.
    """
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise ValueError(f"{Path(path).name} has no video stream")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            frame = next(container.decode(stream), None)
            if frame is None or fps <= 0:
                raise ValueError(f"{Path(path).name} has no frame that can be decoded")
            duration_s = (
                float(stream.duration * stream.time_base)
                if stream.duration and stream.time_base
                else (container.duration / av.time_base if container.duration else 0.0)
            )
            turned = frame.rotation % 180 != 0
            return ViewInfo(
                width_px=frame.height if turned else frame.width,
                height_px=frame.width if turned else frame.height,
                fps=fps,
                num_frames=stream.frames or max(1, round(duration_s * fps)),
            )
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(
            f"{Path(path).name} is not a video that can be read: {error.strerror}"
        ) from None


def nearest(starts_s: NDArray[np.float64], times_s: Sequence[float]) -> NDArray[np.int64]:
    """Indices of the ascending `starts_s` nearest to each time; the earlier one when two are as
    near.
    """
    after = np.clip(np.searchsorted(starts_s, times_s), 1, max(1, len(starts_s) - 1))
    after = np.minimum(after, len(starts_s) - 1)
    before = np.maximum(after - 1, 0)
    times = np.asarray(times_s)
    return np.where(times - starts_s[before] <= starts_s[after] - times, before, after)


def _decode_past_damage(
    container: "av.container.InputContainer", stream: "av.VideoStream"
) -> Iterator["av.VideoFrame"]:
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _with_image(frame: Frame, decoded: "av.VideoFrame") -> Frame:
    pixels = np.asarray(decoded.to_ndarray(format="rgb24"), dtype=np.uint8)
    image = np.ascontiguousarray(np.rot90(pixels, k=(decoded.rotation // 90) % 4))
    return Frame(index=frame.index, time_s=frame.time_s, image=image)
