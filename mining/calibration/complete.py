"""What a capture lacks, found from the people in it: the clocks of its views, then their cameras.

A bounded sample of every view is decoded and looked at, people are tracked in it, and the tracks go
to `estimate_offsets.py` and `estimate_cameras.py` beside this file. What is given is kept. Where
the evidence is too little, the view stays without, with a reason.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mining.calibration.estimate_cameras import estimate_cameras
from mining.calibration.estimate_config import EstimateConfig
from mining.calibration.estimate_offsets import estimate_offsets
from mining.decoding.readers import Readers
from mining.detecting.look import Looker
from mining.geometry.cameras import Camera
from mining.identity.fits import Track
from mining.identity.track import TrackConfig, link_tracks
from mining.notices import Say, silent
from mining.sources.base import Capture, Detection, Frame, PartGroup, View, ViewInfo
from mining.sync import SyncConfig

Calibration = Literal["given", "estimated", "none"]
Problem = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(EstimateConfig):
    """Whether and from how much footage missing clocks and cameras are estimated; and what is
    enough.
    """

    use_given: bool = True  # False: given cameras are ignored, to check the estimate against them
    estimate: bool = True  # False: what is not given stays unknown
    fps: float = 10.0  # moments looked at in a second, for cameras
    num_windows: int = 3  # evenly spread over the capture, for cameras
    window_s: float = 8.0  # length of each
    offset_fps: float = 25.0  # moments looked at in a second, for clocks and cameras ...
    offset_window_s: float = 24.0  # ... in one window from each view's beginning

    def __post_init__(self) -> None:
        """Raise ValueError for a sample of the footage that holds nothing."""
        super().__post_init__()
        sample = (self.fps, self.num_windows, self.window_s, self.offset_fps, self.offset_window_s)
        if min(sample) <= 0:
            raise ValueError(
                "calibrate: fps, num_windows, window_s, offset_fps and offset_window_s must be "
                f"above 0, got {', '.join(map(str, sample))}"
            )


@dataclass(frozen=True, kw_only=True)
class CompletedView:
    """A view's clock and camera, given or found.

    `offset_s` is None where the clock was sought and not found; `offset_error_s` and
    `calibration_error_px` (median reprojection error) are None for what was given. `problems` are
    (`sync` or `calibrate`, reason, detail) of what was sought and not found.
    """

    offset_s: float | None
    offset_error_s: float | None = None
    camera: Camera | None = None
    calibration: Calibration = "none"
    calibration_error_px: float | None = None
    problems: tuple[Problem, ...] = ()


def complete_capture(
    capture: Capture,
    infos: Sequence[ViewInfo],
    cameras: Sequence[Camera | None],
    readers: Readers,
    looker: Looker,
    track_config: TrackConfig,
    sync_config: SyncConfig,
    config: CalibrateConfig,
    say: Say = silent,
) -> tuple[CompletedView, ...]:
    """Find the clocks and cameras that a capture lacks; one answer for each of its views, in order.

    `infos` are those of `capture.views`, `cameras` the given ones that fit the images. Nothing is
    decoded for a single view, for views that do not belong together in time (`sync` is `none`), and
    where nothing is missing.
    """
    if not config.use_given:
        cameras = [None] * len(cameras)
    needs_clock = capture.sync == "estimated" and len(capture.views) > 1
    completed = [
        CompletedView(
            offset_s=None if needs_clock else view.offset_s,
            camera=camera,
            calibration="none" if camera is None else "given",
        )
        for view, camera in zip(capture.views, cameras, strict=True)
    ]
    needs_camera = any(camera is None for camera in cameras)
    together = len(capture.views) > 1 and capture.sync != "none"
    if not config.estimate or not together or not (needs_clock or needs_camera):
        not_sought = (("sync", "not_sought", "calibrate.estimate is false"),)
        return tuple(
            replace(view, problems=not_sought) if needs_clock else view for view in completed
        )
    times_s = sample_times_s(capture.views, infos, config, own_clocks=needs_clock)
    tracks, problems = sample_people(
        capture.views, times_s, capture.annotated, readers, looker, track_config, say
    )
    for place, problem in problems.items():
        completed[place] = replace(completed[place], problems=(problem,))
    if needs_clock:
        _find_clocks(completed, tracks, cameras, sync_config, say)
    if needs_camera:
        sizes_px = [(info.width_px, info.height_px) for info in infos]
        _find_cameras(completed, tracks, sizes_px, cameras, sync_config, config, say)
    return tuple(completed)


def sample_times_s(
    views: Sequence[View], infos: Sequence[ViewInfo], config: CalibrateConfig, *, own_clocks: bool
) -> list[list[float]]:
    """The moments to look at in each view, ascending, counted from its own first frame, in seconds.

    With `own_clocks`, where offsets are not known: one window from each view's beginning. Else the
    same moments of the capture's clock in all views, in windows spread over what they share.
    """
    ends_s = [info.duration_s for info in infos]
    if own_clocks:
        return [_moments(0.0, min(end_s, config.offset_window_s), config.offset_fps)
                for end_s in ends_s]  # fmt: skip
    first_s = max(view.offset_s for view in views)
    last_s = min(view.offset_s + end_s for view, end_s in zip(views, ends_s, strict=True))
    span_s = max(last_s - first_s, 0.0)
    if span_s <= config.num_windows * config.window_s:
        moments = _moments(first_s, last_s, config.fps)
        if len(moments) * 2 < config.max_moments:  # short footage: look at more of it
            moments = _moments(first_s, last_s, config.offset_fps)
    else:
        starts = first_s + np.linspace(0, span_s - config.window_s, config.num_windows)
        moments = [
            time_s for start in starts
            for time_s in _moments(float(start), float(start) + config.window_s, config.fps)
        ]  # fmt: skip
    return [[time_s - view.offset_s for time_s in moments] for view in views]


def sample_people(
    views: Sequence[View],
    times_s: Sequence[Sequence[float]],
    annotated: Sequence[PartGroup],
    readers: Readers,
    looker: Looker,
    track_config: TrackConfig,
    say: Say = silent,
) -> tuple[list[Track], dict[int, Problem]]:
    """Track the people (hands where only these are looked for) of each view at its `times_s`.

    Times, of the tracks too, are counted from each view's own first frame. People whom annotations
    name are tracked by name. Also gives the problem of each view that broke off; what was read
    before counts.
    """
    tracks: list[Track] = []
    problems: dict[int, Problem] = {}
    for place, (view, wanted) in enumerate(zip(views, times_s, strict=True)):
        found: list[tuple[float, Detection]] = []
        try:
            for frame in readers[view.reader].frames(view.uri, wanted):
                seen = bisect_right(wanted, frame.time_s)
                say(
                    f"looking for people in view {place + 1} of {len(views)}, at moment {seen} of "
                    f"{len(wanted)}"
                )
                found += [(frame.time_s, one) for one in _people_in(frame, annotated, looker)]
        except ValueError as error:
            problems[place] = ("calibrate", "broke_off", str(error))
        tracks += _tracks(place, found, track_config)
    return tracks, problems


def _find_clocks(
    completed: list[CompletedView],
    tracks: Sequence[Track],
    cameras: Sequence[Camera | None],
    config: SyncConfig,
    say: Say,
) -> None:
    """Put offsets into `completed`, None and a problem where the motion does not tell."""
    bodies = [track for track in tracks if len(track.times_s) > 1]
    found = estimate_offsets(bodies, len(completed), config, cameras, say)
    for place, view in enumerate(completed):
        offset_s, error_s = float(found.offsets_s[place]), float(found.errors_s[place])
        reason = found.reasons[place]
        if reason is None and np.isfinite(offset_s):
            completed[place] = replace(view, offset_s=offset_s, offset_error_s=error_s)
        else:
            problem = ("sync", "no_offset", reason or "the motion does not tell")
            completed[place] = replace(view, offset_s=None, problems=(*view.problems, problem))


def _find_cameras(
    completed: list[CompletedView],
    tracks: Sequence[Track],
    sizes_px: Sequence[tuple[int, int]],
    given: Sequence[Camera | None],
    sync_config: SyncConfig,
    config: CalibrateConfig,
    say: Say,
) -> None:
    """Put cameras into `completed`, a problem where the evidence is too little; views without a
    clock have none.
    """
    offsets_s = [view.offset_s for view in completed]
    on_one_clock = [
        replace(track, times_s=track.times_s + offset_s)
        for track in tracks
        if (offset_s := offsets_s[track.view]) is not None
    ]
    estimates = estimate_cameras(
        on_one_clock,
        sizes_px,
        given,
        config,
        max_sync_error_s=sync_config.max_sync_error_s,
        say=say,
    )
    for place, (view, estimate) in enumerate(zip(completed, estimates, strict=True)):
        if given[place] is not None:
            continue
        if estimate.camera is not None:
            completed[place] = replace(
                view, camera=estimate.camera, calibration="estimated",
                calibration_error_px=estimate.error_px,
            )  # fmt: skip
        elif estimate.problem is not None:
            problem = ("calibrate", *estimate.problem)
            completed[place] = replace(view, problems=(*view.problems, problem))


def _people_in(frame: Frame, annotated: Sequence[PartGroup], looker: Looker) -> Sequence[Detection]:
    if "body" in looker.parts:
        if "body" in annotated and frame.people is not None:
            return [person for person in frame.people if person.part == "body"]
        return looker.detector.detect(frame.image)
    if "hands" in annotated and frame.people is not None:
        return [person for person in frame.people if person.part != "body"]
    return looker.hand_finder.everywhere(frame.image)


def _tracks(
    place: int, found: Sequence[tuple[float, Detection]], config: TrackConfig
) -> list[Track]:
    """The tracks of one view's detections, in order of time: by name where one is given, else
    linked.
    """
    groups: list[list[tuple[float, Detection]]] = []
    named: dict[tuple[str, str], list[tuple[float, Detection]]] = defaultdict(list)
    unnamed: dict[str, list[tuple[float, Detection]]] = defaultdict(list)
    for time_s, one in found:
        if one.identity is None:
            unnamed[one.part].append((time_s, one))
        else:
            named[one.identity, one.part].append((time_s, one))
    for group in unnamed.values():
        numbers = link_tracks(
            np.array([time_s for time_s, _ in group]),
            np.array([one.box_px for _, one in group], dtype=np.float64),
            np.array([one.keypoints_px for _, one in group], dtype=np.float64),
            config,
        )
        groups += [
            [group[k] for k in np.flatnonzero(numbers == n)] for n in range(numbers.max() + 1)
        ]
    groups += list(named.values())
    return [
        Track(
            view=place,
            times_s=np.array([time_s for time_s, _ in group]),
            keypoints_px=np.array([one.keypoints_px for _, one in group], dtype=np.float64),
        )
        for group in groups
    ]


def _moments(start_s: float, end_s: float, fps: float) -> list[float]:
    """Moments from start to before end, in seconds, `fps` of them in a second."""
    count = max(1, int((end_s - start_s) * fps + 1e-6))
    return [start_s + k / fps for k in range(count)]
