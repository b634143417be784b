"""CMU Panoptic Studio: people in a dome of calibrated HD cameras, in centimetres.

    calibration_{sequence}.json    cameras[]: name, type, resolution, K, distCoef, R, t
    hdVideos/hd_{camera}.mp4       or hdImgs/{camera}/{camera}_{frame:08d}.jpg
    hdPose3d_stage1_coco19/body3DScene_{frame:08d}.json   bodies[]: id, joints19
    hdHand3d/handRecon3D_hd{frame:08d}.json               people[]: id, left_hand, right_hand

all of them in a folder named like the sequence.

Joints are projected into every camera; the dataset does not tell in which one they are hidden.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.base import Detection, Part, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import PANOPTIC19, reorder
from mining.sources.datasets.parsing import array, file_name, kept, read_json, reading
from mining.sources.datasets.people import projected_person
from mining.sources.datasets.source import LeftOut, Recording
from mining.sources.datasets.view import (
    READER,
    AnnotatedView,
    Tile,
    fingerprint_of,
    have_files,
    view_uri,
)

POSES, HANDS = "hdPose3d_stage1_coco19", "hdHand3d"
SIDES: tuple[Part, ...] = ("left_hand", "right_hand")
FPS = 29.97
MIN_SCORE = 0.1  # a mean over cameras, most of which see a joint badly: 0.2 is a good one
CM = 0.01


class Panoptic:
    """Implements `Adapter`."""

    licence = "CMU Panoptic: non-commercial research only"
    known_by = "SEQUENCE/calibration_SEQUENCE.json"
    options: Mapping[str, Any] = {"hands": True}  # false: hands are looked for, as elsewhere

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. Bodies have names within a sequence only, so it is its own subject."""
        for folder in storage.list_folders(root):
            sequence = file_name(folder)
            if storage.exists(f"{folder}/calibration_{sequence}.json"):
                hands = options["hands"] and storage.exists(f"{folder}/{HANDS}")
                yield Recording(
                    name=sequence,
                    uri=folder,
                    views=partial(_views, root, sequence, hands),
                    annotated=("body", "hands") if hands else ("body",),
                    excluded=evaluation.of_panoptic(sequence),
                )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter. Frames are counted from 0, those without a file of poses are not given."""
        sequence, name, hands = place["sequence"], place["camera"], place["hands"] == "True"
        folder = f"{root}/{sequence}"
        camera = _cameras(root, sequence)[name]
        frames = _numbers(f"{folder}/{POSES}")
        video, _ = _footage(folder, name)
        tiles: list[tuple[Tile, ...]] = []
        indices = np.array(frames, dtype=np.int64)
        if video is None and frames:
            files = [f"{folder}/hdImgs/{name}/{name}_{frame:08d}.jpg" for frame in frames]
            with reading(f"{sequence}/hdImgs/{name}"):
                indices, tiles = have_files(frames, files)

        def people(at: int) -> tuple[Detection, ...]:
            return tuple(_people(folder, int(indices[at]), camera, hands))

        return AnnotatedView(
            indices=indices,
            people=people,
            video=video,
            tiles=tiles,
            fps=FPS,
            num_frames=max(frames, default=0) + 1,
        )


def _views(root: str, sequence: str, hands: bool) -> Iterable[View | LeftOut]:
    folder = f"{root}/{sequence}"
    cameras = _cameras(root, sequence)
    poses = storage.list_files(f"{folder}/{POSES}", ".json")
    if not poses:
        raise ValueError(f"{POSES} of {sequence} holds no poses")
    marks = [
        storage.fingerprint(f"{folder}/calibration_{sequence}.json"),
        fingerprint_of([], poses),
        fingerprint_of([], storage.list_files(f"{folder}/{HANDS}", ".json") if hands else []),
    ]
    found = False
    for name, camera in cameras.items():
        video, images = _footage(folder, name)
        if video is None and not images:
            yield f"{sequence}/{name}", "no_footage", "neither its video nor its images are there"
            continue
        found = True
        place = {"sequence": sequence, "camera": name, "hands": hands}
        yield View(
            name=name,
            uri=view_uri("panoptic", root, place),
            reader=READER,
            fingerprint=fingerprint_of(marks, images if video is None else [video]),
            camera=camera,
        )
    if not found:
        raise ValueError(f"{sequence} has neither hdVideos nor hdImgs of a calibrated HD camera")


def _footage(folder: str, name: str) -> tuple[str | None, list[str]]:
    """The video of a camera, or where there is none its images."""
    video = f"{folder}/hdVideos/hd_{name}.mp4"
    if storage.exists(video):
        return video, []
    return None, storage.list_files(f"{folder}/hdImgs/{name}", ".jpg")


def _numbers(folder: str) -> list[int]:
    """The frames for which there is a file, ascending."""
    found = (re.search(r"(\d{8})\.json$", file) for file in storage.list_files(folder, ".json"))
    return sorted(int(number.group(1)) for number in found if number)


@kept(4)
def _cameras(root: str, sequence: str) -> dict[str, Camera]:
    """The HD cameras by name: x = K (R X + t), t in centimetres."""
    name = f"calibration_{sequence}.json"
    with reading(name):
        cameras = {}
        for entry in read_json(f"{root}/{sequence}/{name}")["cameras"]:
            if entry["type"] != "hd":
                continue
            rotation = array(entry["R"], (3, 3), "R")
            world_from_cam = np.eye(4)
            world_from_cam[:3, :3] = rotation.T
            world_from_cam[:3, 3] = -rotation.T @ array(entry["t"], (3, 1), "t")[:, 0] * CM
            width, height = entry["resolution"]
            cameras[entry["name"]] = Camera(
                intrinsics=array(entry["K"], (3, 3), "K"),
                world_from_cam=world_from_cam,
                distortion=array(entry["distCoef"], (5,), "distCoef"),
                size_px=(int(width), int(height)),
            )
        return cameras


def _people(folder: str, frame: int, camera: Camera, hands: bool) -> Iterator[Detection]:
    """The bodies that the camera sees, then their hands."""
    name = f"body3DScene_{frame:08d}.json"
    places: dict[int, int] = {}
    with reading(name):
        for entry in read_json(f"{folder}/{POSES}/{name}")["bodies"]:
            joints = array(entry["joints19"], (76,), "joints19").reshape(19, 4)
            body = _project(camera, reorder(joints, PANOPTIC19), entry["id"], "body", None)
            if body is not None:
                places[entry["id"]] = len(places)
                yield body
    name = f"handRecon3D_hd{frame:08d}.json"
    if not hands or not storage.exists(f"{folder}/{HANDS}/{name}"):
        return
    with reading(name):
        for person in read_json(f"{folder}/{HANDS}/{name}")["people"]:
            for part in SIDES:
                if not person.get(part):
                    continue
                points = array(person[part]["landmarks"], (63,), "landmarks").reshape(21, 3)
                scores = array(person[part]["averageScore"], (21,), "averageScore")
                joints = np.column_stack([points, scores])
                hand = _project(camera, joints, person["id"], part, places.get(person["id"]))
                if hand is not None:
                    yield hand


def _project(
    camera: Camera, joints: Any, identity: int, part: Part, body: int | None
) -> Detection | None:
    """A body or hand from joints (K, 4) as x, y, z, score."""
    confidence = np.where(np.nan_to_num(joints[:, 3]) > MIN_SCORE, 1.0, 0.0)
    world = np.where(confidence[:, None] > 0, joints[:, :3] * CM, np.nan)
    return projected_person(
        camera, world, confidence, part=part, body=body, identity=f"body {identity}",
        size_px=camera.size_px,
    )  # fmt: skip
