"""HaGRID, and folders of gestures like it: a gesture for each box of a hand, and who makes it.

    {gesture}/{image}.jpg
    ann_train_val/{gesture}.json, ann_test/{gesture}.json    by image: bboxes [[x, y, w, h]] as
        shares of the image, from the top left; labels [gesture], one a box; user_id; leading_hand
        (left or right: which hand makes the gesture), landmarks [[21 x [x, y]] or []], one a box
        and as shares of the image, where they are told

`no_gesture` is a class like the others. It is the other hand where the image has a gesture too. A
hand whose side is not told is called a right one. Landmarks come from a detector. The files of
`ann_test` are of the split `val`; in the others a user has one split. Written from the dataset's
readme; neither images nor annotations were opened.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from catalog import storage
from catalog.footage import read_rgb
from mining.labelling.dataset import (
    LabelledDataset,
    Make,
    Piece,
    absent,
    broken,
    given_image,
    piece,
)
from mining.labelling.source import Image, LabelledSample
from mining.sources.base import Part, SourceProblem
from mining.sources.datasets.parsing import array, file_name, kept, read_json, reading
from mining.sources.datasets.people import corners_of, given_person
from mining.sources.datasets.view import files_in

PIECE = 200  # images of a unit
NONE = "no_gesture"
OTHER: Mapping[Part, Part] = {"left_hand": "right_hand", "right_hand": "left_hand"}


class Hagrid(LabelledDataset):
    """Implements `LabelledSource`: a unit is a run of images of one gesture's folder."""

    licence = "HaGRID: CC-BY-SA-4.0 with terms of its own"
    known_by = "ann_train_val/*.json"
    options: ClassVar[Mapping[str, Any]] = {
        "annotations": ["ann_train_val", "ann_test"],  # folders below the root
        "images": "",  # the folder that holds the gestures' folders, below the root; "": the root
    }

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset."""
        images = storage.join(root, options["images"]) if options["images"] else root
        for folder in options["annotations"]:
            for path in storage.list_files(f"{root}/{folder}", ".json"):
                gesture = file_name(path).removesuffix(".json")
                try:
                    names = _names(path)
                except ValueError as error:
                    yield SourceProblem(unit=f"{folder}/{gesture}", error=str(error))
                    continue
                files = [f"{images}/{gesture}/{name}.jpg" for name in names]
                yield from absent(f"{folder}/{gesture}", files)
                for start in range(0, len(files), PIECE):
                    mine = files[start : start + PIECE]
                    yield from piece(
                        f"{folder}/{gesture} {start} to {start + len(mine) - 1}",
                        {"images": f"{images}/{gesture}", "table": path, "start": start},
                        [storage.fingerprint(path)],
                        mine,
                    )

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        start, path = payload["start"], payload["table"]
        split = "val" if path.split("/")[-2].endswith("test") else None
        for name in _names(path)[start : start + PIECE]:
            file = f"{payload['images']}/{name}.jpg"
            if file not in files_in(payload["images"]):
                continue
            try:
                image = read_rgb(file)  # its size tells where the boxes are
                with reading(name):
                    entry = _table(path)[name]
                    boxes = range(len(entry["bboxes"]))
            except ValueError as error:
                yield broken(name, error)
                continue
            for box in boxes:
                yield f"{name} {box}", partial(_sample, name, file, image, entry, box, split)


@kept(2)
def _table(path: str) -> dict[str, Any]:
    table: dict[str, Any] = read_json(path)
    return table


@kept(2)
def _names(path: str) -> list[str]:
    with reading(file_name(path)):
        return sorted(_table(path))


def _sample(
    name: str, file: str, image: Image, entry: Mapping[str, Any], box: int, split: str | None
) -> LabelledSample:
    size_px = np.array([image.shape[1], image.shape[0]], np.float64)
    box_px = corners_of(array(entry["bboxes"][box], (4,), "bboxes") * np.tile(size_px, 2))
    if box_px is None:
        raise ValueError(f"the box {entry['bboxes'][box]} has no area")
    keypoints = np.zeros((21, 3))
    landmarks = entry["landmarks"][box] if entry.get("landmarks") else None
    if landmarks:
        keypoints[:, :2] = array(landmarks, (21, 2), "landmarks") * size_px
        keypoints[:, 2] = 1.0
    gesture = str(entry["labels"][box])
    part: Part = "left_hand" if entry.get("leading_hand") == "left" else "right_hand"
    if "leading_hand" in entry and gesture == NONE and set(entry["labels"]) != {NONE}:
        part = OTHER[part]
    given = given_person(keypoints, box_px=box_px, part=part)
    assert given is not None  # it has a box
    user = entry.get("user_id")
    return LabelledSample(
        name=f"{name} {box}",
        part=part,
        images=(given_image(given, source=file, image=image),),
        subject=None if user is None else str(user),
        split=split,
        gesture=gesture,
    )
