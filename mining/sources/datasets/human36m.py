"""Human3.6M: actors in a studio with four calibrated cameras, as released or as mmpose leaves it.

Both layouts hold, for each subject, action and camera, 32 or 17 of the same joints in pixels and in
the camera's frame; `human36m_raw.py` and `human36m_mmpose.py` read them. Which of the two lies
below a root is told by `annotation_body3d/`, mmpose's folder.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from catalog import storage
from mining.sources.base import Detection, SourceProblem, View
from mining.sources.datasets import evaluation, human36m_mmpose, human36m_raw
from mining.sources.datasets.people import given_person
from mining.sources.datasets.source import Recording
from mining.sources.datasets.view import READER, AnnotatedView, fingerprint_of, view_uri

FPS = 50.0


class Human36M:
    """Implements `Adapter`."""

    licence = "Human3.6M: academic use only, by agreement with its authors"
    known_by = "S1/Videos/*.mp4, or annotation_body3d/ as mmpose makes it"
    options: Mapping[str, Any] = {"rate": "fps50"}  # mmpose's folder of annotations: fps50 or fps10

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. An action of a subject is a capture of up to four views."""
        layout = _layout(root)
        for (subject, action), cameras in layout.sequences(root, options["rate"]).items():
            yield Recording(
                name=f"{subject}/{action.replace(' ', '_')}",
                uri=f"{root}/{subject}/{action}",
                views=partial(_views, root, subject, action, cameras, options["rate"]),
                excluded=evaluation.of_human36m(subject),
                subject=subject,
            )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter."""
        subject, camera_id = place["subject"], place["camera"]
        layout = _layout(root)
        camera = layout.camera(root, subject, camera_id)
        poses = layout.poses(root, place["rate"], subject, place["action"], camera_id)

        def people(at: int) -> tuple[Detection, ...]:
            keypoints = poses.keypoints_px[at]
            world = poses.joints_cam[at] @ camera.world_from_cam[:3, :3].T + camera.centre_world
            person = given_person(
                np.column_stack([keypoints, np.isfinite(keypoints).all(axis=1)]),
                box_px=None if poses.boxes_px is None else tuple(poses.boxes_px[at].tolist()),
                joints_world=world,
                identity=subject,
            )
            return () if person is None else (person,)

        return AnnotatedView(
            indices=poses.indices,
            people=people,
            video=poses.video,
            tiles=poses.tiles,
            fps=FPS,
            first=poses.first,
            num_frames=int(poses.indices[-1]) - poses.first + 1 if len(poses.indices) else 0,
        )


def _layout(root: str) -> ModuleType:
    return human36m_mmpose if storage.exists(f"{root}/annotation_body3d") else human36m_raw


def _views(
    root: str, subject: str, action: str, cameras: Iterable[str], rate: str
) -> Iterable[View | SourceProblem]:
    layout = _layout(root)
    for camera_id in cameras:
        try:
            poses = layout.poses(root, rate, subject, action, camera_id)
            camera = layout.camera(root, subject, camera_id)
        except ValueError as error:
            unit = f"{subject}/{action.replace(' ', '_')}/{camera_id}"
            yield SourceProblem(unit=unit, error=str(error))
            continue
        files = [poses.video] if poses.video else [tile.file for (tile,) in poses.tiles]
        place = {"subject": subject, "action": action, "camera": camera_id, "rate": rate}
        yield View(
            name=camera_id,
            uri=view_uri("human36m", root, place),
            reader=READER,
            fingerprint=fingerprint_of([storage.fingerprint(file) for file in poses.marks], files),
            camera=camera,
        )
