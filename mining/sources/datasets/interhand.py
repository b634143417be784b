"""InterHand2.6M: one or two hands of a person, filmed by many calibrated cameras.

    annotations/[all/|human_annot/|machine_annot/|{split}/]InterHand2.6M_{split}_{data,camera,joint_3d}.json
    images/{split}/Capture{n}/{sequence}/cam{camera}/image{frame}.jpg

`data` is COCO-like, a row for each image; `camera` and `joint_3d` are in millimetres, with text as
keys. Joints 0 to 20 are of the right hand, 21 to 41 of the left, each finger from its tip to its
base, the wrist last. The JSON files of the train split are large: every process parses them once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.base import Detection, Part, SourceProblem, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import INTERHAND21, reorder
from mining.sources.datasets.parsing import array, kept, read_json, reading
from mining.sources.datasets.people import corners_of, projected_person
from mining.sources.datasets.source import Recording
from mining.sources.datasets.view import (
    READER,
    AnnotatedView,
    fingerprint_of,
    have_files,
    view_uri,
)

SPLITS = ("train", "val", "test")
NUM_JOINTS = 21
HANDS: tuple[tuple[Part, int], ...] = (("right_hand", 0), ("left_hand", NUM_JOINTS))
MM = 0.001
Rows = dict[str, list[dict[str, Any]]]  # camera to images, in the order of their frames


class InterHand:
    """Implements `Adapter`."""

    licence = "CC-BY-NC-4.0"
    known_by = "annotations/all/InterHand2.6M_train_data.json"
    options: Mapping[str, Any] = {"subset": "all", "fps": 30.0}

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. A sequence of a capture is one of ours; the subject is the person."""
        for split in SPLITS:
            folder = annotation_folder(root, split, options["subset"])
            if folder is None:
                continue
            excluded = evaluation.of_split("interhand", split)
            if excluded and not options["include_evaluation"]:
                yield Recording(name=split, uri=folder, views=tuple, excluded=excluded)
                continue
            marks = []
            for kind in KINDS:
                with reading(annotation_file(folder, split, kind)):
                    marks.append(storage.fingerprint(annotation_file(folder, split, kind)))
            for (capture, sequence), (subject, rows) in read_index(folder, split).items():
                place = {
                    "split": split, "capture": capture, "sequence": sequence,
                    "annotations": folder.removeprefix(f"{root}/"), "fps": options["fps"],
                }  # fmt: skip
                yield Recording(
                    name=f"{split}/Capture{capture}/{sequence}",
                    uri=f"{root}/images/{split}/Capture{capture}/{sequence}",
                    views=partial(_views, root, folder, rows, place, marks),
                    annotated=("hands",),
                    subject=f"subject {subject}",
                    split=None if split == "train" else "val",
                )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter. Time 0 is the sequence's first frame in any camera."""
        split, folder = place["split"], f"{root}/{place['annotations']}"
        subject, rows = read_index(folder, split)[place["capture"], place["sequence"]]
        images = {row["frame_idx"]: row for row in rows[place["camera"]]}
        files = [f"{root}/images/{split}/{row['file_name']}" for row in images.values()]
        camera = read_camera(folder, split, place["capture"], place["camera"])
        joints = _joints(folder, split)[place["capture"]]
        with reading(place["sequence"]):
            indices, tiles = have_files(list(images), files)
        frames = [row["frame_idx"] for views in rows.values() for row in views]

        def people(at: int) -> tuple[Detection, ...]:
            with reading(f"InterHand2.6M_{split}_joint_3d.json"):
                index = int(indices[at])
                return _hands(images[index], joints[str(index)], camera, f"subject {subject}")

        return AnnotatedView(
            indices=indices,
            people=people,
            tiles=tiles,
            fps=float(place["fps"]),
            first=min(frames),
            num_frames=max(frames) - min(frames) + 1,
        )


KINDS = ("data", "camera", "joint_3d")


def annotation_folder(root: str, split: str, subset: str) -> str | None:
    """The folder with a split's annotation files: of the subset, else the split's own."""
    for folder in (f"{root}/annotations/{subset}", f"{root}/annotations/{split}"):
        if storage.exists(annotation_file(folder, split, "data")):
            return folder
    return None


def annotation_file(folder: str, split: str, kind: str) -> str:
    """The JSON file of a kind: data, camera, joint_3d or MANO."""
    return f"{folder}/InterHand2.6M_{split}_{kind}.json"


def _views(
    root: str, folder: str, rows: Rows, place: Mapping[str, object], marks: list[str]
) -> Iterable[View | SourceProblem]:
    split = str(place["split"])
    for name, images in rows.items():
        files = [f"{root}/images/{split}/{row['file_name']}" for row in images]
        try:
            _, tiles = have_files(range(len(files)), files)
            camera = read_camera(folder, split, str(place["capture"]), name)
        except ValueError as error:
            unit = f"{split}/Capture{place['capture']}/{place['sequence']}/cam{name}"
            yield SourceProblem(unit=unit, error=str(error))
            continue
        yield View(
            name=f"cam{name}",
            uri=view_uri("interhand", root, {**place, "camera": name}),
            reader=READER,
            fingerprint=fingerprint_of(marks, [tile.file for group in tiles for tile in group]),
            camera=camera,
        )


@kept(1)
def read_index(folder: str, split: str) -> dict[tuple[str, str], tuple[str, Rows]]:
    """By capture and sequence: the subject, and each camera's images with their annotation."""
    name = f"InterHand2.6M_{split}_data.json"
    with reading(name):
        table = read_json(annotation_file(folder, split, "data"))
        annotations = {entry["image_id"]: entry for entry in table["annotations"]}
        index: dict[tuple[str, str], tuple[str, Rows]] = {}
        for image in sorted(table["images"], key=lambda image: int(image["frame_idx"])):
            entry = annotations.get(image["id"])
            if entry is None:
                continue
            key = str(image["capture"]), str(image["seq_name"])
            _, rows = index.setdefault(key, (str(image["subject"]), defaultdict(list)))
            rows[str(image["camera"])].append(
                {
                    "frame_idx": int(image["frame_idx"]),
                    "file_name": image["file_name"],
                    "size_px": (int(image["width"]), int(image["height"])),
                    "box_px": corners_of(entry["bbox"]),
                    "joint_valid": array(np.ravel(entry["joint_valid"]), (42,), "joint_valid"),
                }
            )
        return index


@kept(1)
def _cameras(folder: str, split: str) -> dict[str, Any]:
    return read_json(annotation_file(folder, split, "camera"))


@kept(1)
def _joints(folder: str, split: str) -> dict[str, Any]:
    return read_json(annotation_file(folder, split, "joint_3d"))


def read_camera(folder: str, split: str, capture: str, name: str) -> Camera:
    """The camera: x = K R (X - centre), with R = camrot and the centre campos in millimetres."""
    with reading(f"InterHand2.6M_{split}_camera.json"):
        table = _cameras(folder, split)[capture]
        world_from_cam, intrinsics = np.eye(4), np.eye(3)
        world_from_cam[:3, :3] = array(table["camrot"][name], (3, 3), "camrot").T
        world_from_cam[:3, 3] = array(table["campos"][name], (3,), "campos") * MM
        intrinsics[[0, 1], [0, 1]] = array(table["focal"][name], (2,), "focal")
        intrinsics[:2, 2] = array(table["princpt"][name], (2,), "princpt")
        return Camera(intrinsics=intrinsics, world_from_cam=world_from_cam)


def _hands(
    image: Mapping[str, Any], entry: Mapping[str, Any], camera: Camera, identity: str
) -> tuple[Detection, ...]:
    """The hands of one image: where there is one, in its given box; of two, each in its joints'."""
    joints = array(entry["world_coord"], (42, 3), "world_coord") * MM
    valid = image["joint_valid"] * np.ravel(entry["joint_valid"]).astype(np.float64)
    there = {first: valid[first : first + NUM_JOINTS, None] > 0 for _, first in HANDS}
    alone = sum(joints_there.any() for joints_there in there.values()) == 1
    hands = []
    for part, first in HANDS:
        if not there[first].any():
            continue
        points = np.where(there[first], joints[first : first + NUM_JOINTS], np.nan)
        points = reorder(points, INTERHAND21)
        confidence = np.where(np.isfinite(points).all(axis=1), 1.0, 0.0)
        hand = projected_person(
            camera, points, confidence, part=part, identity=identity, size_px=image["size_px"],
            box_px=image["box_px"] if alone else None,
        )  # fmt: skip
        if hand is not None:
            hands.append(hand)
    return tuple(hands)
