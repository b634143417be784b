"""Stage probe: what a capture's views hold, read from their containers, and the cameras and clocks
that nobody gave, found from the people in them (mining/calibration/complete.py).

A view that cannot be read costs only itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from catalog.ids import content_id, seed_of
from mining.calibration.complete import CompletedView, complete_capture
from mining.config import MiningConfig, SplitConfig
from mining.decoding.readers import Readers
from mining.detecting.look import Looker
from mining.geometry.cameras import Camera
from mining.notices import Say, silent
from mining.sources.base import Capture, View, ViewInfo
from mining.stage import Outcome, Tally, WorkUnit
from mining.sync import set_clock

VERSION = 3  # raise it when the rows of this stage change for the same input
MAX_APART_M = 1000.0  # of two cameras of a capture; more is another unit, as millimetres


def capture_id_of(dataset: str, capture: Capture) -> str:
    """The id of a capture: it changes with the footage, not with the calibration."""
    return content_id(
        dataset, capture.name, [[view.name, view.fingerprint] for view in capture.views]
    )


def view_id_of(capture_id: str, view: View) -> str:
    """The id of a view within its capture."""
    return content_id(capture_id, view.name)


def split_of(dataset: str, capture: Capture, config: SplitConfig) -> str:
    """`train` or `val`: as given, else by hash of the subject, else of the capture's name; so
    nobody is in both.
    """
    return capture.split or split_by_hash(dataset, capture.subject or capture.name, config)


def split_by_hash(dataset: str, name: str, config: SplitConfig) -> str:
    """The split of everything that goes by one name in a dataset."""
    return "val" if seed_of("split", dataset, name) / 2**63 < config.val_share else "train"


def probe_capture(
    unit: WorkUnit, readers: Readers, looker: Looker, config: MiningConfig, say: Say = silent
) -> Outcome:
    """Read every view's size, rate and length, and find the cameras and clocks that are missing;
    `payload` is the Capture.

    Gives rows of `captures` and `views`.
    """
    capture: Capture = unit.payload
    capture_id = unit.name.scope
    outcome = Outcome()
    tally = Tally(outcome, unit, "probe", "views")
    tallies = {stage: Tally(outcome, unit, stage, "views") for stage in ("calibrate", "sync")}
    tally.take(len(capture.views))
    readable: list[View] = []
    infos: list[ViewInfo] = []
    for view in capture.views:
        try:
            infos.append(readers[view.reader].probe(view.uri))
        except ValueError as error:
            tally.fail(view.name, str(error))
            continue
        tally.keep()
        readable.append(view)
    apart_m = _apart_m(readable)
    cameras = [
        _fitted_camera(view, info, apart_m, tallies["calibrate"])
        if config.calibrate.use_given
        else None
        for view, info in zip(readable, infos, strict=True)
    ]
    completed = complete_capture(
        replace(capture, views=tuple(readable)), infos, cameras, readers, looker,
        config.track, config.sync, config.calibrate, say,
    )  # fmt: skip
    for view, info, found in zip(readable, infos, completed, strict=True):
        view_id = view_id_of(capture_id, view)
        _count_found(view_id, capture, found, tallies)
        outcome.rows["views"].append(
            {
                "view_id": view_id,
                "capture_id": capture_id,
                "name": view.name,
                "uri": view.uri,
                "reader": view.reader,
                "width_px": info.width_px,
                "height_px": info.height_px,
                "fps": info.fps,
                "num_frames": info.num_frames,
                "offset_s": found.offset_s,
                "offset_error_s": found.offset_error_s,
                **_camera_columns(found),
            }
        )
    if infos:
        num_clocks = sum(found.offset_s is not None for found in completed)
        outcome.rows["captures"].append(
            {
                "capture_id": capture_id,
                "dataset": unit.dataset,
                "name": capture.name,
                "uri": capture.uri,
                "num_views": len(infos),
                "duration_s": set_clock(outcome.rows["views"]),
                "sync": capture.sync if num_clocks > 1 or capture.sync == "given" else "none",
                "subject": capture.subject,
                "split": split_of(unit.dataset, capture, config.split),
                "licence": capture.licence,
            }
        )
    for each in (tally, *tallies.values()):
        each.close()
    return outcome


def _count_found(
    view_id: str, capture: Capture, found: CompletedView, tallies: dict[str, Tally]
) -> None:
    """Count what was sought for a view, and why it was not found where it was not."""
    for stage, was_found in (
        ("calibrate", found.calibration == "estimated"),
        ("sync", capture.sync == "estimated" and found.offset_s is not None),
    ):
        problems = [(reason, detail) for name, reason, detail in found.problems if name == stage]
        if was_found or problems:
            tallies[stage].take(1)
        if was_found:
            tallies[stage].keep()
        elif problems:
            reason, detail = problems[-1]
            tallies[stage].reject(view_id, reason, detail)


def _apart_m(views: Sequence[View]) -> float:
    """The largest distance between two given cameras, 0 where there are no two."""
    centres = [view.camera.centre_world for view in views if view.camera is not None]
    return max((float(np.linalg.norm(a - b)) for a, b in combinations(centres, 2)), default=0.0)


def _fitted_camera(view: View, info: ViewInfo, apart_m: float, tally: Tally) -> Camera | None:
    """The view's camera for images of their size; None without one, where the two do not fit, or
    where `apart_m`, the largest distance between the capture's cameras, is beyond `MAX_APART_M`.
    """
    if view.camera is None:
        return None
    tally.take(1)
    try:
        if apart_m > MAX_APART_M:
            raise ValueError(
                f"the capture's cameras are up to {apart_m:,.0f} m apart: give their places in "
                "metres"
            )
        camera = view.camera.for_images(info.width_px, info.height_px)
    except ValueError as error:
        tally.fail(view.name, f"the calibration of {view.name} is left out: {error}")
        return None
    tally.keep()
    return camera


def _camera_columns(found: CompletedView) -> dict[str, object]:
    camera = found.camera
    if camera is None:
        names = ("intrinsics", "distortion", "world_from_cam", "calibration_error_px")
        return {**dict.fromkeys(names), "calibration": "none"}
    return {
        "intrinsics": camera.intrinsics.ravel().tolist(),
        "distortion": camera.distortion.ravel().tolist(),
        "world_from_cam": camera.world_from_cam.ravel().tolist(),
        "calibration": found.calibration,
        "calibration_error_px": found.calibration_error_px,
    }
