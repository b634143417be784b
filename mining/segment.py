"""Stage segment: decode a time window of all views of a capture, detect people in it, and cut them
out.

Pixels are touched here and nowhere later: everything that later stages need of them is measured
now.
"""

import io
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from catalog.ids import content_id
from catalog.parts import Row, crops_file
from mining.cropping.crop import Crop, CropConfig, cut, reject_person
from mining.decoding.readers import Readers
from mining.detecting.look import Found, Looker
from mining.sources.base import BrokenOffError, Detection, Frame, PartGroup, Reader
from mining.stage import Outcome, Tally, WorkUnit
from mining.sync import first_s, own_times

VERSION = 3  # raise it when the rows or bytes of this stage change for the same input


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Which moments of a capture are looked at."""

    fps: float = 10.0  # moments per second, the same moments in all views
    segment_s: float = 20.0  # length of the time window that one worker mines at once

    def __post_init__(self) -> None:
        """Raise ValueError for a rate or length that holds no moment."""
        if self.fps <= 0 or self.segment_s <= 0:
            raise ValueError(
                f"rates and lengths must be above 0, got {self.fps} fps, {self.segment_s} s"
            )


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A time window of a capture: its index, the moments to look at, the rows of its views, and
    what every frame comes `annotated` with.

    `previous_s` is the last moment of the segment before: where a video has fewer frames than there
    are moments, the frame of that moment may be nearest to the first ones here too.
    """

    index: int
    times_s: tuple[float, ...]
    previous_s: float | None
    views: tuple[Row, ...]
    annotated: tuple[PartGroup, ...] = ()


def plan_segments(
    duration_s: float,
    views: Sequence[Row],
    config: SampleConfig,
    annotated: tuple[PartGroup, ...] = (),
) -> list[Segment]:
    """Divide a capture into segments.

    Moments are multiples of 1 / fps, so they do not depend on `segment_s`.
    """
    num_moments = max(1, int(duration_s * config.fps + 1e-6))
    per_segment = max(1, round(config.segment_s * config.fps))
    return [
        Segment(
            index=index,
            views=tuple(views),
            annotated=annotated,
            previous_s=(first - 1) / config.fps if first else None,
            times_s=tuple(
                k / config.fps for k in range(first, min(first + per_segment, num_moments))
            ),
        )
        for index, first in enumerate(range(0, num_moments, per_segment))
    ]


def mine_segment(unit: WorkUnit, readers: Readers, looker: Looker, config: CropConfig) -> Outcome:
    """Look at one Segment (`payload`); gives rows of `detections` and a tar of their crops."""
    segment: Segment = unit.payload
    outcome = Outcome(seconds={"decode": 0.0, "detect": 0.0, "crop": 0.0})
    frames = Tally(outcome, unit, "decode", "frames")
    people = Tally(outcome, unit, "detect", "people")
    tar = CropTar()
    for view in segment.views:
        size_px = (view["width_px"], view["height_px"])
        for frame in _decode(view, segment, readers, frames, outcome.seconds):
            started = time.perf_counter()
            judge = partial(reject_person, width_px=size_px[0], height_px=size_px[1], config=config)
            found = looker.look(frame, segment.annotated, judge)
            detected = time.perf_counter()
            place = {
                "capture_id": unit.name.scope,
                "view_id": view["view_id"],
                "segment": segment.index,
                "frame_index": frame.index,
                "time_s": frame.time_s,
                "num_people": len(found.bodies),
            }
            for entry in _entries(found, place, size_px, config, people):
                others = [  # that may hide it; a hand's own body is not one of them
                    body
                    for place_of_body, body in enumerate(found.bodies)
                    if body is not entry.person and place_of_body != entry.person.body
                ]
                crop = cut(frame.image, entry.person, others, config)
                outcome.rows["detections"].append(
                    {
                        **place,
                        "detection_id": entry.detection_id,
                        "body_detection_id": entry.body_detection_id,
                        "source": entry.source,
                        "file": crops_file(unit.name),
                        "offset": tar.add(f"{entry.detection_id}.jpg", crop.jpeg),
                        "length": len(crop.jpeg),
                        **_person_columns(entry.person),
                        **_crop_columns(crop),
                    }
                )
            outcome.seconds["detect"] += detected - started
            outcome.seconds["crop"] += time.perf_counter() - detected
    frames.close()
    people.close()
    outcome.crops_tar = tar.close() if outcome.rows["detections"] else None
    return outcome


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A body or hand good enough to crop."""

    person: Detection
    detection_id: str
    body_detection_id: str | None
    source: str


def _entries(
    found: Found, place: Row, size_px: tuple[int, int], config: CropConfig, tally: Tally
) -> list[_Entry]:
    """What of a frame is good enough to crop; the rest is counted and rejected with its reason."""
    view_id, index = place["view_id"], place["frame_index"]
    ids = [content_id(view_id, index, rank) for rank in range(len(found.bodies))]
    entries = []
    for group, detections in (("body", found.bodies), ("hands", found.hands)):
        source = "given" if group in found.given else "detected"
        tally.take(len(detections))
        for rank, person in enumerate(detections):
            if group == "body":
                detection_id, body_id = ids[rank], None
                problem = found.body_problems[rank]
            else:
                detection_id = content_id(view_id, index, "hand", rank)
                body_is_kept = person.body is not None and found.body_problems[person.body] is None
                body_id = ids[person.body] if body_is_kept and person.body is not None else None
                problem = reject_person(person, *size_px, config)
            if problem:
                tally.reject(detection_id, *problem)
                continue
            tally.keep()
            entries.append(
                _Entry(
                    person=person, detection_id=detection_id, body_detection_id=body_id,
                    source=source,
                )
            )  # fmt: skip
    tally.take(len(found.hand_rejects))
    for reject in found.hand_rejects:
        hand_id = content_id(view_id, index, reject.body, reject.part)
        tally.reject(hand_id, reject.reason, reject.detail)
    return entries


class CropTar:
    """A tar in memory that tells where each file's bytes begin.

    The same files give the same bytes.
    """

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, name: str, data: bytes) -> int:
        """Append a file; return the offset of its first byte."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))
        return (
            self._tar.offset
            - (len(data) + tarfile.BLOCKSIZE - 1) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        )

    def close(self) -> bytes:
        """Finish and return the tar."""
        self._tar.close()
        return self._buffer.getvalue()


def _decode(
    view: Row, segment: Segment, readers: Readers, frames: Tally, seconds: dict[str, float]
) -> Iterator[Frame]:
    """Yield a view's frames, with their times on the capture's clock; where they break off, the
    rest is one row of `failures`. At moments when the view was not filming, nothing is lost.

    A frame that is also nearest to `previous_s` is left to the segment before.
    """
    decoded = 0
    times_s = own_times(view, segment.times_s)
    if not times_s:
        return
    started = time.perf_counter()
    try:
        reader = readers[view["reader"]]
        taken = _taken_before(reader, view, segment.previous_s)
        for frame in reader.frames(view["uri"], times_s):
            if frame.index == taken:
                continue
            seconds["decode"] += time.perf_counter() - started
            decoded += 1
            frames.take(1)
            frames.keep()
            yield replace(frame, time_s=frame.time_s + first_s(view))
            started = time.perf_counter()
    except ValueError as error:
        left = max(1, len(times_s) - decoded)
        num_lost = min(error.num_lost, left) if isinstance(error, BrokenOffError) else left
        frames.take(num_lost)
        frames.fail(view["view_id"], f"view {view['name']}: {error}", count=num_lost)
    seconds["decode"] += time.perf_counter() - started


def _taken_before(reader: Reader, view: Row, previous_s: float | None) -> int | None:
    """The index of the frame that the segment before took last, None where it took none."""
    before = [] if previous_s is None else own_times(view, [previous_s])
    try:
        return next((frame.index for frame in reader.frames(view["uri"], before)), None)
    except ValueError:  # lost to the segment before, which counts it
        return None


def _person_columns(person: Detection) -> dict[str, Any]:
    joints = person.joints_world
    return {
        "part": person.part,
        "given_identity": person.identity,
        "person_box_px": person.box_px.tolist(),
        "keypoints_px": person.keypoints_px.ravel().tolist(),
        "joints_world": None if joints is None else joints.ravel().tolist(),
        "detector_score": person.score,
    }


def _crop_columns(crop: Crop) -> dict[str, Any]:
    return {
        "box_px": list(crop.box_px),
        "sharpness": crop.sharpness,
        "truncation": crop.truncation,
        "occlusion": crop.occlusion,
        "appearance": crop.appearance,
        "phash": crop.phash,
        "foreground": crop.foreground.tobytes(),
        "foreground_source": crop.foreground_source,
    }
