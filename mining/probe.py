"""Stage probe: what a capture's views hold, read from their containers.

A view that cannot be read costs only itself.
"""

from dataclasses import dataclass

from catalog.ids import content_id, seed_of
from mining.decoding.readers import Readers
from mining.geometry.cameras import Camera
from mining.sources.base import Capture, View, ViewInfo
from mining.stage import Outcome, Tally, WorkUnit

VERSION = 1  # raise it when the rows of this stage change for the same input


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How captures without a given split are divided."""

    val_share: float = 0.1  # of subjects (or captures, where no subject is named), by hash


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
    if capture.split is not None:
        return capture.split
    draw = seed_of("split", dataset, capture.subject or capture.name) / 2**63
    return "val" if draw < config.val_share else "train"


def probe_capture(unit: WorkUnit, readers: Readers, config: SplitConfig) -> Outcome:
    """Read every view's size, rate and length; `payload` is the Capture.

    Gives rows of `captures` and `views`.
    """
    capture: Capture = unit.payload
    capture_id = unit.name.scope
    outcome = Outcome()
    tally = Tally(outcome, unit, "probe", "views")
    calibration = Tally(outcome, unit, "calibrate", "views")
    tally.take(len(capture.views))
    infos: list[ViewInfo] = []
    for view in capture.views:
        try:
            info = readers[view.reader].probe(view.uri)
        except ValueError as error:
            tally.fail(view.name, str(error))
            continue
        tally.keep()
        infos.append(info)
        camera = _fitted_camera(view, info, calibration)
        outcome.rows["views"].append(
            {
                "view_id": view_id_of(capture_id, view),
                "capture_id": capture_id,
                "name": view.name,
                "uri": view.uri,
                "reader": view.reader,
                "width_px": info.width_px,
                "height_px": info.height_px,
                "fps": info.fps,
                "num_frames": info.num_frames,
                **_camera_columns(camera),
            }
        )
    if infos:
        outcome.rows["captures"].append(
            {
                "capture_id": capture_id,
                "dataset": unit.dataset,
                "name": capture.name,
                "uri": capture.uri,
                "num_views": len(infos),
                "duration_s": min(info.duration_s for info in infos),
                "sync": capture.sync,
                "subject": capture.subject,
                "split": split_of(unit.dataset, capture, config),
                "licence": capture.licence,
            }
        )
    tally.close()
    calibration.close()
    return outcome


def _fitted_camera(view: View, info: ViewInfo, tally: Tally) -> Camera | None:
    """The view's camera for images of their size; None without one, or where the two do not fit."""
    if view.camera is None:
        return None
    tally.take(1)
    try:
        camera = view.camera.for_images(info.width_px, info.height_px)
    except ValueError as error:
        tally.fail(view.name, f"the calibration of {view.name} is left out: {error}")
        return None
    tally.keep()
    return camera


def _camera_columns(camera: Camera | None) -> dict[str, object]:
    if camera is None:
        return {
            "intrinsics": None,
            "distortion": None,
            "world_from_cam": None,
            "calibration": "none",
        }
    return {
        "intrinsics": camera.intrinsics.ravel().tolist(),
        "distortion": camera.distortion.ravel().tolist(),
        "world_from_cam": camera.world_from_cam.ravel().tolist(),
        "calibration": "given",
    }
