"""Plain COCO keypoints, and COCO-WholeBody's hands: JSON files and folders of images.

    annotations/*.json    images[], annotations[], categories[]
    train2017/...         the images: of a folder named like the end of the JSON's name, else in
                          images/, else below the root

An image is a frame of a sequence where `images[]` has `video_id` (or `vid_id`), by its `frame_id`
(or `frame_index`, else by name), or with the option `sequences = "folder"`, which takes each folder
of images as one, by name. Any other image stands for itself: it gives crops, and no pairs. A person
has a name where `annotations[]` has `track_id`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from catalog import storage
from catalog.ids import content_id
from mining.sources.base import Detection, Part, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import COCO17, order_by_name, reorder
from mining.sources.datasets.parsing import array, file_name, kept, read_json, reading
from mining.sources.datasets.people import corners_of, given_person
from mining.sources.datasets.source import Recording
from mining.sources.datasets.view import (
    READER,
    AnnotatedView,
    Tile,
    fingerprint_of,
    have_files,
    view_uri,
)

HANDS: tuple[tuple[Part, str], ...] = (("left_hand", "lefthand"), ("right_hand", "righthand"))


class Coco:
    """Implements `Adapter`."""

    licence = "as of its images and annotations"
    known_by = "annotations/*.json"
    options: Mapping[str, Any] = {
        "annotations": "",  # a JSON file below the root; "": all of annotations/
        "images": "",  # a folder below the root; "": see above
        "sequences": "video",  # or "folder"
        "fps": 30.0,
    }

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. A file whose name says val or test is left out as a whole."""
        if options["sequences"] not in ("video", "folder"):
            raise ValueError(f"sequences must be video or folder, got {options['sequences']!r}")
        paths = [storage.join(root, options["annotations"])] if options["annotations"] else []
        for path in paths or storage.list_files(f"{root}/annotations", ".json"):
            stem = file_name(path).removesuffix(".json")
            excluded = evaluation.of_file(stem)
            if excluded and not options["include_evaluation"]:
                yield Recording(name=stem, uri=path, views=tuple, excluded=excluded)
                continue
            place = {
                "annotations": path.removeprefix(f"{root}/"),
                "images": options["images"] or _images_folder(root, stem),
                "sequences": options["sequences"],
                "fps": options["fps"],
            }
            try:
                table = _table(path, options["sequences"])
            except ValueError as error:
                yield Recording(name=stem, uri=path, views=partial(_fail, str(error)))
                continue
            for sequence in table.sequences:
                yield Recording(
                    name=f"{stem}/{sequence}",
                    uri=path,
                    views=partial(_views, root, {**place, "sequence": sequence}),
                    annotated=("body", "hands") if table.has_hands else ("body",),
                    sync="given",
                    split="val" if excluded else None,
                )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter. Time 0 is the sequence's first frame."""
        name = place["annotations"]
        table = _table(f"{root}/{name}", place["sequences"])
        images = table.sequences[place["sequence"]]
        files = [
            storage.join(root, place["images"], image["file_name"]) for image in images.values()
        ]
        with reading(name):
            indices, tiles = have_files(list(images), files)

        def people(at: int) -> tuple[Detection, ...]:
            with reading(name):
                return _people(table.people_of[images[int(indices[at])]["id"]], table.order)

        return AnnotatedView(
            indices=indices,
            people=people,
            tiles=tiles,
            fps=float(place["fps"]),
            first=min(images),
            num_frames=max(images) - min(images) + 1,
        )


class _Table:
    """A parsed file: images of each sequence by frame number, and annotations by image."""

    def __init__(self, parsed: Mapping[str, Any], grouping: str) -> None:
        self.people_of: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.has_hands = False
        for entry in parsed["annotations"]:
            if not entry.get("iscrowd") and "keypoints" in entry:
                self.people_of[entry["image_id"]].append(entry)
                self.has_hands |= "lefthand_kpts" in entry
        names: Any = next(
            (c["keypoints"] for c in parsed.get("categories", []) if "keypoints" in c), None
        )
        order = COCO17 if names is None else order_by_name(names)
        if order is None:
            raise ValueError(f"its keypoints are not COCO's but {', '.join(map(str, names))[:80]}")
        self.order = order
        self.sequences: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for image in sorted(parsed["images"], key=lambda image: _natural(image["file_name"])):
            if image["id"] in self.people_of:
                frames = self.sequences[_sequence(image, grouping)]
                frames[_number(image, len(frames))] = image


def _sequence(image: Mapping[str, Any], grouping: str) -> str:
    """What sequence an image is of: its video, its folder, or itself."""
    if grouping == "folder":
        return str(image["file_name"]).rpartition("/")[0] or "images"
    video = image.get("video_id", image.get("vid_id"))
    return str(image["file_name"]).rpartition(".")[0] if video is None else f"video {video}"


def _number(image: Mapping[str, Any], otherwise: int) -> int:
    return int(image.get("frame_id", image.get("frame_index", otherwise)))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts frame2 before frame10."""
    return [
        (int(text or 0), "") if k % 2 else (0, text)
        for k, text in enumerate(re.split(r"(\d+)", name))
    ]


@kept(2)
def _table(path: str, grouping: str) -> _Table:
    with reading(file_name(path)):
        return _Table(read_json(path), grouping)


def _images_folder(root: str, stem: str) -> str:
    """The folder of a file's images, below the root."""
    folders = {file_name(folder) for folder in storage.list_folders(root)}
    return next((name for name in (stem.rpartition("_")[2], "images") if name in folders), ".")


def _fail(error: str) -> Iterable[View]:
    raise ValueError(error)


def _views(root: str, place: Mapping[str, Any]) -> Iterable[View]:
    table = _table(f"{root}/{place['annotations']}", place["sequences"])
    images = table.sequences[place["sequence"]]
    files = [storage.join(root, place["images"], image["file_name"]) for image in images.values()]
    _, tiles = have_files(list(images), files)
    there: list[Tile] = [tile for group in tiles for tile in group]
    # the file changes when any of its sequences does: take what is of this one
    entries = [table.people_of[image["id"]] for image in images.values()]
    yield View(
        name="camera",
        uri=view_uri("coco", root, place),
        reader=READER,
        fingerprint=fingerprint_of([content_id(entries)], [tile.file for tile in there]),
    )


def _people(entries: Iterable[Mapping[str, Any]], order: tuple[int, ...]) -> tuple[Detection, ...]:
    """The bodies of an image, then their hands where they are annotated."""
    bodies: list[Detection] = []
    hands: list[Detection] = []
    for entry in entries:
        keypoints = array(entry["keypoints"], (-1,), "keypoints").reshape(-1, 3)
        keypoints[:, 2] = np.where(keypoints[:, 2] > 0, 1.0, 0.0)  # 1 hidden, 2 visible
        identity = f"track {entry['track_id']}" if "track_id" in entry else None
        box_px = corners_of(entry["bbox"]) if entry.get("bbox") else None
        body = given_person(reorder(keypoints, order), box_px=box_px, identity=identity)
        if body is None:
            continue
        for part, key in HANDS:
            if entry.get(f"{key}_valid"):
                points = array(entry[f"{key}_kpts"], (63,), f"{key}_kpts").reshape(21, 3)
                box_px = corners_of(entry[f"{key}_box"])
                hand = given_person(
                    points, box_px=box_px, identity=identity, part=part, body=len(bodies)
                )
                hands += [hand] if hand is not None else []
        bodies.append(body)
    return (*bodies, *hands)
