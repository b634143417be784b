"""PoseTrack18: crowds in videos of one camera, with boxes, keypoints and track ids.

    annotations/{train,val,test}/{video}.json   images[], annotations[] in COCO's way
    images/...   as `file_name` of images[] says

Only labelled frames are given; the others say nothing of who is in them. The dataset does not state
a frame rate: `fps` of the options is taken, and time gaps are as right as it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.sources.base import Detection, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import POSETRACK17, reorder
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


class PoseTrack18:
    """Implements `Adapter`."""

    licence = "PoseTrack: non-commercial research only"
    known_by = "annotations/train/*.json"
    options: Mapping[str, Any] = {"fps": 25.0}

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. People have names within a video only, so a video is its own subject."""
        for split in ("train", "val", "test"):
            for path in storage.list_files(f"{root}/annotations/{split}", ".json"):
                video = file_name(path).removesuffix(".json")
                place = {"split": split, "video": video, "fps": options["fps"]}
                yield Recording(
                    name=video,
                    uri=path,
                    views=partial(_views, root, path, place),
                    excluded=evaluation.of_split("posetrack18", split),
                    split=None if split == "train" else "val",
                )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter."""
        name = f"{place['video']}.json"
        with reading(name):
            indices, tiles, people_of = _annotations(root, f"annotations/{place['split']}/{name}")

        def people(at: int) -> tuple[Detection, ...]:
            with reading(name):
                given = [_person(entry) for entry in people_of[int(indices[at])]]
            return tuple(person for person in given if person is not None)

        return AnnotatedView(
            indices=indices,
            people=people,
            tiles=tiles,
            fps=float(place["fps"]),
            num_frames=int(indices[-1]) + 1,
        )


def _views(root: str, path: str, place: Mapping[str, object]) -> Iterable[View]:
    _, tiles, _ = _annotations(root, f"annotations/{place['split']}/{file_name(path)}")
    yield View(
        name="camera",
        uri=view_uri("posetrack18", root, place),
        reader=READER,
        fingerprint=fingerprint_of(
            [storage.fingerprint(path)], [tile.file for group in tiles for tile in group]
        ),
    )


@kept(4)
def _annotations(
    root: str, name: str
) -> tuple[NDArray[np.int64], list[tuple[Tile, ...]], dict[int, list[dict[str, Any]]]]:
    """The labelled frames, their images, and each one's entries of annotations[], by frame."""
    with reading(file_name(name)):
        table = read_json(f"{root}/{name}")
        entries: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for entry in table["annotations"]:
            entries[entry["image_id"]].append(entry)
        labelled = {
            int(file_name(image["file_name"]).split(".")[0]): image
            for image in table["images"]
            if image.get("is_labeled", image["id"] in entries)
        }
        if not labelled:
            raise ValueError("no frame is labelled")
        files = [f"{root}/{image['file_name']}" for image in labelled.values()]
        indices, tiles = have_files(list(labelled), files)
        return indices, tiles, {index: entries[image["id"]] for index, image in labelled.items()}


def _person(entry: Mapping[str, Any]) -> Detection | None:
    keypoints = array(entry["keypoints"], (51,), "keypoints").reshape(17, 3)
    return given_person(
        reorder(keypoints, POSETRACK17),
        box_px=corners_of(entry["bbox"]) if entry.get("bbox") else None,
        identity=f"track {entry['track_id']}",
    )
