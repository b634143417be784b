"""Video decoders behind one small interface: decord first, PyAV for what decord cannot read (AV1,
damaged files), or would read wrongly.

They run inside the child process of `mining/decoding/video.py`, because decord can hang or exhaust
memory. Both open a file, read what was asked and close it again: a decord reader held open buffers
without bound (dmlc/decord#157). Times and numbers of frames come from `timeline.py`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mining.decoding.timeline import Timeline
from mining.sources.base import Frame, ViewInfo

if TYPE_CHECKING:
    import av

BATCH_FRAMES = 8  # decoded at a time: 8 frames of 4K are 200 MB
END_TOLERANCE_S = 0.1  # the last frame still stands for what is asked so much later
DECORD_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


class Decoder(Protocol):
    """Decodes chosen moments of one video file."""

    def frames(self, path: str, timeline: Timeline, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield, for each ascending time, the frame shown nearest to it.

        Raises when the file breaks.
        """


class DecordDecoder:
    """The default: fast random access, FFmpeg inside its own wheel.

    It gives frames by number only, and numbers them wrongly, without a word, in files cut by an
    edit list, in groups of pictures that are not closed (many HEVC files), and in other containers
    than MP4 and Matroska (seen with 0.6.0): it refuses those.
    """

    def frames(self, path: str, timeline: Timeline, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. Raises ValueError when the video ends before the last time."""
        import decord

        if timeline.container not in DECORD_CONTAINERS:
            raise ValueError(f"it numbers frames of {timeline.container} wrongly")
        if timeline.num_discarded or not timeline.is_closed:
            what = "an edit list" if timeline.num_discarded else "open groups of pictures"
            raise ValueError(f"it numbers frames wrongly in a file with {what}")
        decord.logging.set_level(decord.logging.QUIET)
        video = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        if len(video) != len(timeline.pts):
            raise ValueError(f"it counts {len(video)} frames where {len(timeline.pts)} are stored")
        starts_s = timeline.starts_s
        there = [t for t in times_s if t - timeline.end_s <= END_TOLERANCE_S]
        indices = nearest(starts_s, there)
        for first in range(0, len(indices), BATCH_FRAMES):
            batch = indices[first : first + BATCH_FRAMES]
            for index, image in zip(batch, video.get_batch(batch).asnumpy(), strict=True):
                yield Frame(index=int(index), time_s=float(starts_s[index]), image=image)
        if len(there) < len(times_s):
            raise ValueError(_ends_early(timeline.end_s, len(times_s) - len(there)))


class PyAVDecoder:
    """The fallback: reads AV1, goes on past damaged packets, knows the time of what it decoded.

    It begins at the last keyframe before the first time asked.
    """

    def frames(self, path: str, timeline: Timeline, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Decoder. Raises ValueError when the video ends before the last time."""
        wanted = list(times_s)
        previous: tuple[int, float, av.VideoFrame] | None = None
        first = int(nearest(timeline.starts_s, wanted[:1])[0]) if wanted else 0
        for index, decoded in _decode_from(path, timeline, first):
            current = (index, float(timeline.starts_s[index]), decoded)
            while wanted and previous is not None and current[1] >= wanted[0]:
                earlier = wanted[0] - previous[1] <= current[1] - wanted[0]
                yield _to_frame(*(previous if earlier else current))
                wanted.pop(0)
            if not wanted:
                return
            previous = current
        end_s = previous[1] + timeline.last_s if previous else 0.0
        while previous and wanted and wanted[0] - end_s <= END_TOLERANCE_S:
            yield _to_frame(*previous)
            wanted.pop(0)
        if wanted:
            raise ValueError(_ends_early(end_s, len(wanted)))


DECODERS: dict[str, type[Decoder]] = {"decord": DecordDecoder, "pyav": PyAVDecoder}


def probe_video(path: str, timeline: Timeline) -> ViewInfo:
    """Read a video's size (as shown, rotation applied), rate and length.

    `fps` is the mean rate; `num_frames` counts what a damaged file lost at its end too. Raises
    ValueError, in one sentence, for what cannot be decoded.
    """
    import av

    name = Path(path).name
    try:
        with av.open(path) as container:
            frame = next(_decode_past_damage(container), None)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{name} is not a video that can be read: {error.strerror}") from None
    if frame is None or timeline.fps <= 0:
        raise ValueError(f"{name} has no frame that can be decoded")
    turned = frame.rotation % 180 != 0
    return ViewInfo(
        width_px=frame.height if turned else frame.width,
        height_px=frame.width if turned else frame.height,
        fps=timeline.fps,
        num_frames=timeline.num_declared,
    )


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


def _decode_from(
    path: str, timeline: Timeline, first: int
) -> Iterator[tuple[int, "av.VideoFrame"]]:
    """Yield the frames and their indices from the keyframe at or before frame `first`; from the
    start where no keyframe can be found by seeking.
    """
    import av

    keys = np.flatnonzero(timeline.is_key[: first + 1])
    start = int(keys[-1]) if len(keys) and timeline.has_true_pts else 0
    if start > 0:
        with av.open(path) as container:
            stream = container.streams.video[0]
            container.seek(int(timeline.dts[start]), stream=stream)
            begun = False
            for index, decoded in _numbered(container, timeline):
                if not begun and index > start:
                    break  # the container's index leads elsewhere
                begun = begun or index == start
                if (
                    begun and index >= start
                ):  # what is shown before its keyframe lacks its beginning
                    yield index, decoded
            if begun:
                return
    with av.open(path) as container:
        yield from _numbered(container, timeline)


def _numbered(
    container: "av.container.InputContainer", timeline: Timeline
) -> Iterator[tuple[int, "av.VideoFrame"]]:
    """Number decoded frames by their ticks, or by counting where those are not true."""
    index = -1
    for decoded in _decode_past_damage(container):
        index += 1
        if decoded.pts is not None and timeline.has_true_pts:
            index = int(np.searchsorted(timeline.pts, decoded.pts))
        if index < len(timeline.pts):
            yield index, decoded


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
