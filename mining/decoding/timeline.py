"""When each frame of a video file is shown, read from the container's packets without decoding any.

One table for every decoder: a frame's index is its place in the order of showing, its time the
container's. So rates that vary and frames that were dropped are told as they are, and decoders
cannot disagree.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

TICK_PACKETS = 2000  # a few megabytes to a few hundred
MAX_KNOWN = 16  # timelines kept: 16 bytes a frame and more
DAMAGE_TOLERANCE_S = 0.1  # declared lengths are rounded


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The frames of a video in the order of showing.

    `pts` (N,) are the container's ticks of `tick_s` seconds, ascending; `dts` (N,) those of
    storing; `is_key` (N,) tells where decoding can begin; `last_s` is the last frame's length.
    `is_closed`: no frame is shown before a keyframe that it is stored after, so that none is lost
    by beginning at a keyframe. `has_true_pts` is False where ticks are right as a whole, but not
    for a single frame: frames are then to be counted from the first. `num_discarded` frames in
    front are cut off by an edit list. `declared_s` is what the container says of its length, 0
    where it says nothing.
    """

    container: str
    tick_s: float
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    last_s: float
    is_closed: bool
    has_true_pts: bool
    num_discarded: int
    declared_s: float

    @property
    def starts_s(self) -> NDArray[np.float64]:
        """When each frame is shown (N,), in seconds from the first."""
        return (self.pts - self.pts[0]) * self.tick_s

    @property
    def end_s(self) -> float:
        """When the last frame's own time is over, in seconds from the first."""
        return float(self.starts_s[-1]) + self.last_s

    @property
    def fps(self) -> float:
        """Frames per second on average; 0 for a single frame of unknown length."""
        if len(self.pts) > 1:
            return round((len(self.pts) - 1) / float(self.starts_s[-1]), 9)
        return 1 / self.last_s if self.last_s > 0 else 0.0

    @property
    def num_declared(self) -> int:
        """Frames that there should be: more than there are when the file ends before what it
        declares, at the rate of those there are.
        """
        missing_s = self.declared_s - self.end_s
        if missing_s <= max(DAMAGE_TOLERANCE_S, 2 * self.last_s):
            return len(self.pts)
        return len(self.pts) + round(missing_s * self.fps)


class Timelines:
    """The timelines of the files that were read last: each segment of a long video asks again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], Timeline] = {}

    def read(self, path: str, tick: Callable[[], None]) -> Timeline:
        """See `read_timeline`; a file that has changed is read again."""
        try:
            stat = os.stat(path)
        except OSError as error:
            raise ValueError(f"{Path(path).name}: {error.strerror}") from None
        key = (path, stat.st_size, stat.st_mtime_ns)
        timeline = self._known.pop(key, None) or read_timeline(path, tick)
        self._known[key] = timeline
        if len(self._known) > MAX_KNOWN:
            self._known.pop(next(iter(self._known)))
        return timeline


def read_timeline(path: str, tick: Callable[[], None] = lambda: None) -> Timeline:
    """Read through the packets of a video's first video stream.

    `tick` is called now and then: a large file takes long. Raises ValueError, in one sentence, for
    what is not a readable video.
    """
    import av

    name = Path(path).name
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise ValueError(f"{name} has no video stream")
            return _timeline(container, name, tick)
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{name} is not a video that can be read: {error.strerror}") from None


def _timeline(
    container: "av.container.InputContainer", name: str, tick: Callable[[], None]
) -> Timeline:
    stream = container.streams.video[0]
    tick_s = float(stream.time_base or 0)
    packets, num_discarded = _packets(container, tick)
    if not packets or tick_s <= 0:
        raise ValueError(f"{name} has no frame that can be decoded")
    pts, dts, durations, keys = np.array(packets, dtype=np.int64).T
    is_key = keys > 0
    earliest = np.minimum.accumulate(pts[::-1])[::-1]  # shown, of all that are stored from here on
    is_closed = bool((earliest[is_key] == pts[is_key]).all())
    order = np.argsort(pts, kind="stable")
    pts = pts[order]
    usual = (pts[-1] - pts[0]) / max(len(pts) - 1, 1)
    if not usual:
        usual = 1 / float(stream.average_rate or stream.guessed_rate or 25) / tick_s
    return Timeline(
        container=container.format.name,
        tick_s=tick_s,
        pts=pts,
        dts=dts[order],
        is_key=is_key[order],
        last_s=float(durations[order[-1]] or usual) * tick_s,
        is_closed=is_closed,
        has_true_pts=_has_true_pts(container.format.name, is_key),
        num_discarded=num_discarded,
        declared_s=_declared_s(container),
    )


def _has_true_pts(container: str, is_key: NDArray[np.bool_]) -> bool:
    """Whether a decoded frame's own ticks can be believed: an AVI has those of storing, and an MPEG
    program stream has some, and wrong ones after seeking.
    """
    return container != "mpeg" and (container != "avi" or bool(is_key.all()))


def _packets(
    container: "av.container.InputContainer", tick: Callable[[], None]
) -> tuple[list[tuple[int, int, int, int]], int]:
    """Time of showing and of storing, duration and whether it is a keyframe, of each packet in the
    order of storing, as far as the file can be read; and the number of packets that are not shown.
    """
    import av

    rows: list[tuple[int, int, int, int]] = []
    num_discarded = 0
    try:
        for count, packet in enumerate(container.demux(container.streams.video[0]), start=1):
            if count % TICK_PACKETS == 0:
                tick()
            pts = packet.dts if packet.pts is None else packet.pts
            if not packet.size or pts is None:
                continue
            if packet.is_discard:
                num_discarded += 1
                continue
            dts = pts if packet.dts is None else packet.dts
            rows.append((pts, dts, packet.duration or 0, packet.is_keyframe))
    except av.error.FFmpegError:
        if not rows:
            raise
    return rows, num_discarded


def _declared_s(container: "av.container.InputContainer") -> float:
    """Length of the video stream as the container says it, in seconds; 0 when it says nothing of
    it.
    """
    import av

    stream = container.streams.video[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION")  # Matroska, as FFmpeg writes it: 00:01:02.345000000
    start_s = max(0.0, float((stream.start_time or 0) * (stream.time_base or 0)))
    if tag:
        try:
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - start_s
        except ValueError:
            return 0.0
    if len(container.streams) == 1:  # else it may be the sound's
        return (container.duration or 0) / av.time_base - start_s
    return 0.0
