"""FreiHAND: right hands with MANO's parameters and 21 joints, each in four versions of one image.

    training_K.json      list of 3 x 3, as many as there are hands (32,560)
    training_xyz.json    list of 21 x 3 in metres, in the camera's frame, in our order
    training_mano.json   list of [[61]]: 48 of pose (axis times angle, the root first, the fingers
                         against MANO's mean pose), 10 of shape, 2 and 1 of place
    training/rgb/00000000.jpg    hand + number of hands * version: gs, hom, sample, auto
    evaluation_*.json, evaluation/rgb/    the same, one version

The versions differ in background and colours alone, and neighbours are of one recording, so a unit
is a run of hands with all their versions, and a unit has one split. The wrist is MANO's root.
Without MANO's file (option `bodies`) the hands have joints and no body: see mano.py.
Written from readers of the dataset, the dataset's own among them; no file of it was opened.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from catalog import storage
from mining.geometry.cameras import Camera
from mining.labelling.dataset import (
    LabelledDataset,
    Make,
    Piece,
    absent,
    given_image,
    image_of,
    piece,
)
from mining.labelling.mano import OPTION, Mano, read_mano
from mining.labelling.source import LabelledSample
from mining.sources.base import SourceProblem
from mining.sources.datasets.parsing import array, file_name, kept, read_json, reading
from mining.sources.datasets.people import projected_person
from mining.sources.datasets.view import files_in
from shards.labels import Body

SPLITS: Mapping[str, str | None] = {"training": None, "evaluation": "val"}
VERSIONS = ("gs", "hom", "sample", "auto")
PIECE = 200  # hands of a unit


class FreiHand(LabelledDataset):
    """Implements `LabelledSource`: a unit is a run of hands."""

    licence = "FreiHAND: research only"
    known_by = "training_K.json"
    options: ClassVar[Mapping[str, Any]] = {"versions": list(VERSIONS), **OPTION}

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset."""
        unknown = [name for name in options["versions"] if name not in VERSIONS]
        if unknown or not options["versions"]:
            raise ValueError(f"versions must be some of {', '.join(VERSIONS)}, got {unknown}")
        bodies = storage.join(root, options["bodies"]) if options["bodies"] else ""
        if bodies:
            read_mano(bodies)
        for split in SPLITS:
            if not storage.exists(f"{root}/{split}_K.json"):
                continue
            try:
                tables = _tables(root, split)
            except ValueError as error:
                yield SourceProblem(unit=split, error=str(error))
                continue
            num = len(tables["K"])
            names = options["versions"] if split == "training" else VERSIONS[:1]
            versions = [VERSIONS.index(name) for name in names]
            files = [_file(root, split, hand + num * v) for hand in range(num) for v in versions]
            yield from absent(split, files)
            marks = [storage.fingerprint(f"{root}/{split}_{table}.json") for table in tables]
            for start in range(0, num, PIECE):
                stop = min(num, start + PIECE)
                yield from piece(
                    f"{split} {start:05d} to {stop - 1:05d}",
                    {
                        "root": root,
                        "split": split,
                        "hands": [start, stop],
                        "versions": versions,
                        "bodies": bodies,
                    },
                    marks,
                    files[start * len(versions) : stop * len(versions)],
                )

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        root, split = payload["root"], payload["split"]
        tables = _tables(root, split)
        mano = read_mano(payload["bodies"]) if payload["bodies"] else None
        for hand in range(*payload["hands"]):
            for version in payload["versions"]:
                number = hand + len(tables["K"]) * version
                file = _file(root, split, number)
                if file in files_in(f"{root}/{split}/rgb"):
                    yield (
                        f"{number:08d}",
                        partial(_sample, tables, hand, file, SPLITS[split], mano),
                    )


def _file(root: str, split: str, number: int) -> str:
    return f"{root}/{split}/rgb/{number:08d}.jpg"


@kept(2)
def _tables(root: str, split: str) -> dict[str, list[Any]]:
    """K, xyz and, where the file is there, mano. Raises ValueError where they do not agree."""
    tables = {table: read_json(f"{root}/{split}_{table}.json") for table in ("K", "xyz")}
    if storage.exists(f"{root}/{split}_mano.json"):
        tables["mano"] = read_json(f"{root}/{split}_mano.json")
    with reading(f"{split}_*.json"):
        lengths = {name: len(table) for name, table in tables.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the tables {split}_*.json are of different lengths: {lengths}")
    return tables


def _sample(
    tables: Mapping[str, list[Any]],
    hand: int,
    file: str,
    split: str | None,
    mano: Mano | None,
) -> LabelledSample:
    camera = Camera(intrinsics=array(tables["K"][hand], (3, 3), "K"), world_from_cam=np.eye(4))
    joints_cam = array(tables["xyz"][hand], (21, 3), "xyz")
    given = projected_person(camera, joints_cam, np.ones(21), part="right_hand")
    if given is None:
        raise ValueError("none of its joints lies before the camera")
    body = None
    if mano is not None and "mano" in tables:
        values = array(np.ravel(tables["mano"][hand]), (61,), "mano")
        body = Body(
            model="mano",
            pose_rad=mano.whole_pose(values[:48]),
            shape=values[48:58],
            translation_m=joints_cam[0],
        )
    image = given_image(given, camera, source=file, image=image_of(file), body=body)
    name = file_name(file).removesuffix(".jpg")
    return LabelledSample(name=name, part="right_hand", images=(image,), split=split)
