"""COCO-DensePose: people of COCO with some hundred points on their surface, by part, u and v.

    annotations/densepose_coco_2014_{train,valminusminival,minival,test}.json    COCO's, where an
        annotation also has dp_I (1 to 24), dp_U, dp_V (0 to 1), and dp_x, dp_y, which run from 0 to
        255 across its bbox
    train2014/COCO_train2014_000000000009.jpg    or in the folder that the option `images` names

`dp_masks`, parts without u and v, are not read: the points say the same. Files whose name says val
or test are of the split `val`. Written from the dataset's notes and notebooks; of the annotation
files themselves none was opened.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.labelling.dataset import (
    LabelledDataset,
    Make,
    Piece,
    absent,
    given_image,
    image_of,
    piece,
)
from mining.labelling.source import LabelledSample
from mining.sources.base import SourceProblem
from mining.sources.datasets import evaluation
from mining.sources.datasets.parsing import array, file_name, kept, read_json, reading
from mining.sources.datasets.people import corners_of, given_person
from mining.sources.datasets.view import files_in
from shards.labels import DENSE_PARTS

PIECE = 500  # images of a unit
SCALE = 255.0  # of dp_x and dp_y, as the dataset's notebook has it; its text says 256
FIELDS = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")


class CocoDensePose(LabelledDataset):
    """Implements `LabelledSource`: a unit is a run of images; a split follows from the image."""

    licence = "DensePose-COCO: non-commercial; images: their own terms"
    known_by = "annotations/densepose_coco_2014_*.json"
    options: ClassVar[Mapping[str, Any]] = {"images": ""}  # a folder below the root; "": see above

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset."""
        for path in storage.list_files(f"{root}/annotations", ".json"):
            stem = file_name(path).removesuffix(".json")
            if not stem.startswith("densepose_"):
                continue
            try:
                images = _images(path)
            except ValueError as error:
                yield SourceProblem(unit=stem, error=str(error))
                continue
            files = {key: _file(root, options["images"], image) for key, image in images.items()}
            yield from absent(stem, list(files.values()))
            keys = list(images)
            for start in range(0, len(keys), PIECE):
                mine = keys[start : start + PIECE]
                yield from piece(
                    f"{stem} {start} to {start + len(mine) - 1}",
                    {"root": root, "file": stem, "images": options["images"], "start": start},
                    [storage.fingerprint(path)],
                    [files[key] for key in mine],
                )

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        root, stem, start = payload["root"], payload["file"], payload["start"]
        images = _images(f"{root}/annotations/{stem}.json")
        split = "val" if evaluation.of_file(stem) else None
        for image in list(images.values())[start : start + PIECE]:
            file = _file(root, payload["images"], image)
            if file in files_in(file.rpartition("/")[0]):
                for entry in image["people"]:
                    name = f"{file_name(file)} {entry.get('id')}"
                    yield name, partial(_sample, name, file, entry, split)


@kept(2)
def _images(path: str) -> dict[Any, dict[str, Any]]:
    """The images with people that have points, each with these, by id in order."""
    with reading(file_name(path)):
        table = read_json(path)
        people = defaultdict(list)
        for entry in table["annotations"]:
            if "dp_x" in entry:
                people[entry["image_id"]].append(entry)
        return {
            image["id"]: {"file_name": image["file_name"], "people": people[image["id"]]}
            for image in sorted(table["images"], key=lambda image: str(image["file_name"]))
            if image["id"] in people
        }


def _file(root: str, folder: str, image: Mapping[str, Any]) -> str:
    """COCO_train2014_000000000009.jpg lies in train2014/."""
    name = str(image["file_name"])
    words = name.split("_")
    return storage.join(root, folder or (words[1] if len(words) > 2 else "images"), name)


def _sample(name: str, file: str, entry: Mapping[str, Any], split: str | None) -> LabelledSample:
    keypoints = array(entry.get("keypoints", np.zeros(51)), (51,), "keypoints").reshape(17, 3)
    keypoints[:, 2] = keypoints[:, 2] > 0  # 1 hidden, 2 visible
    box_px = corners_of(entry["bbox"])
    if box_px is None:
        raise ValueError(f"its bbox {entry['bbox']} has no area")
    given = given_person(keypoints, box_px=box_px)
    assert given is not None  # it has a box
    image = given_image(
        given,
        source=file,
        image=image_of(file),
        dense_points=_points(entry, box_px),
        dense_chart="densepose",
    )
    return LabelledSample(
        name=name, part="body", images=(image,), split=split, split_by=file_name(file)
    )


def _points(
    entry: Mapping[str, Any], box_px: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    """The points (P, 5) of an annotation: x_px, y_px, part, u, v."""
    x, y, part, u, v = (array(entry[field], (-1,), field) for field in FIELDS)
    if len({len(column) for column in (x, y, part, u, v)}) > 1:
        raise ValueError(f"{', '.join(FIELDS)} are of different lengths")
    known = set(range(1, DENSE_PARTS["densepose"] + 1))
    if not set(part.tolist()) <= known or min(u.min(), v.min()) < 0 or max(u.max(), v.max()) > 1:
        raise ValueError("dp_I must be from 1 to 24, and dp_U and dp_V from 0 to 1")
    x0, y0, x1, y1 = box_px
    columns = (x0 + x / SCALE * (x1 - x0), y0 + y / SCALE * (y1 - y0), part, u, v)
    return np.stack(columns, axis=1)
