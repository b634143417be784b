"""AIST++: dancers filmed by nine calibrated cameras, with 2D and 3D keypoints for every frame.

cameras/mapping.txt      rows "sequence setting"
cameras/{setting}.json   nine cameras, from world to camera, centimetres
keypoints2d/{sequence}.pkl   keypoints2d (9, N, 17, 3) in COCO's order
keypoints3d/{sequence}.pkl   keypoints3d_optim (N, 17, 3) in centimetres
splits/*.txt, ignore_list.txt    names of sequences
videos/{sequence with c01 to c09 for cAll}.mp4   from the AIST Dance Video Database
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.base import Detection, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.parsing import (
    array,
    file_name,
    kept,
    read_json,
    read_lines,
    read_pickle,
    reading,
)
from mining.sources.datasets.people import given_person
from mining.sources.datasets.source import LeftOut, Recording
from mining.sources.datasets.view import READER, AnnotatedView, fingerprint_of, view_uri

CAMERAS = tuple(f"c{number:02d}" for number in range(1, 10))
CM = 0.01


class AistPlusPlus:
    """Implements `Adapter`."""

    licence = "AIST++ annotations: CC-BY-4.0; videos: AIST Dance Video DB, research use only"
    known_by = "cameras/mapping.txt"
    options: Mapping[str, Any] = {"videos": "videos"}  # below the root, or a path of its own

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. A sequence is a capture of up to nine views; its dancer is the subject."""
        mapping = f"{root}/cameras/mapping.txt"
        if not storage.exists(mapping):
            return
        with reading("cameras/mapping.txt"):
            settings = {
                sequence: setting for sequence, setting in map(str.split, read_lines(mapping))
            }
        if not storage.exists(f"{root}/ignore_list.txt"):
            raise ValueError(
                f"{root} lacks ignore_list.txt of AIST++, so sequences with bad annotations cannot "
                "be told: download it with the annotations"
            )
        ignored = set(read_lines(f"{root}/ignore_list.txt"))
        lists = {
            name: set(read_lines(f"{root}/splits/{name}"))
            for name in evaluation.AISTPP_LISTS
            if storage.exists(f"{root}/splits/{name}")
        }
        missing = sorted(set(evaluation.AISTPP_LISTS) - set(lists))
        if missing and not options["include_evaluation"]:
            raise ValueError(
                f"{root}/splits of AIST++ lacks {', '.join(missing)}, so evaluation sequences "
                "cannot be told: download the splits, or set include_evaluation = true"
            )
        for sequence, setting in settings.items():
            dancer = re.search(r"_(d\d+)_", sequence)
            yield Recording(
                name=sequence,
                uri=f"{root}/keypoints2d/{sequence}.pkl",
                views=partial(_views, root, sequence, setting, options["videos"]),
                excluded=("ignored", "in the dataset's ignore_list.txt")
                if sequence in ignored
                else evaluation.of_list(sequence, lists),
                subject=dancer.group(1) if dancer else None,
            )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter."""
        sequence, camera = place["sequence"], CAMERAS.index(place["camera"])
        keypoints, joints_world = _annotations(root, sequence)
        dancer = re.search(r"_(d\d+)_", sequence)
        identity = dancer.group(1) if dancer else sequence
        seen = np.isfinite(keypoints[camera]).all(axis=2) & (keypoints[camera, :, :, 2] > 0)
        indices = np.flatnonzero(seen.any(axis=1))

        def people(at: int) -> tuple[Detection, ...]:
            index = indices[at]
            person = given_person(
                keypoints[camera, index],
                joints_world=None if joints_world is None else joints_world[index],
                identity=identity,
            )
            return () if person is None else (person,)

        return AnnotatedView(
            indices=indices,
            people=people,
            video=_video(root, sequence, CAMERAS[camera], place["videos"]),
        )


def _views(root: str, sequence: str, setting: str, videos: str) -> Iterable[View | LeftOut]:
    cameras = _cameras(f"{root}/cameras/{setting}.json")
    _annotations(root, sequence)
    marks = [
        storage.fingerprint(path)
        for path in (
            f"{root}/keypoints2d/{sequence}.pkl",
            f"{root}/keypoints3d/{sequence}.pkl",
            f"{root}/cameras/{setting}.json",
        )
        if storage.exists(path)
    ]
    paths = {camera: _video(root, sequence, camera, videos) for camera in CAMERAS}
    there = {camera: path for camera, path in paths.items() if storage.exists(path)}
    if not there:
        raise ValueError(f"none of its videos is there, as {file_name(paths['c01'])}")
    for camera in CAMERAS:
        if camera not in there:
            yield f"{sequence}/{camera}", "no_footage", f"{file_name(paths[camera])} is not there"
            continue
        place = {"sequence": sequence, "camera": camera, "videos": videos}
        yield View(
            name=camera,
            uri=view_uri("aistpp", root, place),
            reader=READER,
            fingerprint=fingerprint_of(marks, [there[camera]]),
            camera=cameras.get(camera),
        )


def _video(root: str, sequence: str, camera: str, videos: str) -> str:
    return storage.join(root, videos, f"{sequence.replace('cAll', camera)}.mp4")


def _cameras(url: str) -> dict[str, Camera]:
    with reading(file_name(url)):
        cameras = {}
        for entry in read_json(url):
            rotation, _ = cv2.Rodrigues(array(entry["rotation"], (3,), "rotation"))
            world_from_cam = np.eye(4)
            world_from_cam[:3, :3] = rotation.T
            translation = array(entry["translation"], (3,), "translation")
            world_from_cam[:3, 3] = -rotation.T @ translation * CM
            width, height = entry["size"]
            cameras[entry["name"]] = Camera(
                intrinsics=array(entry["matrix"], (3, 3), "matrix"),
                world_from_cam=world_from_cam,
                distortion=array(entry["distortions"], (5,), "distortions"),
                size_px=(int(width), int(height)),
            )
        return cameras


@kept(2)
def _annotations(
    root: str, sequence: str
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Keypoints of all cameras (9, N, 17, 3), joints in metres (N, 17, 3) or None without any."""
    name = f"keypoints2d/{sequence}.pkl"
    with reading(name):
        keypoints = array(
            read_pickle(f"{root}/{name}")["keypoints2d"], (9, -1, 17, 3), "keypoints2d"
        )
    name = f"keypoints3d/{sequence}.pkl"
    if not storage.exists(f"{root}/{name}"):
        return keypoints, None
    with reading(name):
        joints = read_pickle(f"{root}/{name}")["keypoints3d_optim"]
        return keypoints, array(joints, (keypoints.shape[1], 17, 3), "keypoints3d_optim") * CM
