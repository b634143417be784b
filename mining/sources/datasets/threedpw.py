"""3DPW: one or two people outdoors, one moving camera, 3D from body sensors.

    imageFiles/{sequence}/image_00000.jpg
    sequenceFiles/{train,validation,test}/{sequence}.pkl   of Python 2: `poses2d` [P x (N, 3, 18)],
        `jointPositions` [P x (N, 72)] in metres, `campose_valid` [P x N] and more

The camera moves, so a view has none. A person is given in the frames in which the dataset found
keypoints (six or more); the joints in space are SMPL's, whose hips and shoulders lie deeper than
COCO's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.sources.base import Detection, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import COCO18, SMPL24, reorder
from mining.sources.datasets.parsing import array, file_name, kept, read_pickle, reading
from mining.sources.datasets.people import given_person
from mining.sources.datasets.source import Recording
from mining.sources.datasets.view import (
    READER,
    AnnotatedView,
    fingerprint_of,
    have_files,
    view_uri,
)

SPLITS = {"train": "train", "validation": "val", "test": "val"}
FPS = 30.0


class ThreeDPW:
    """Implements `Adapter`."""

    licence = "3DPW: non-commercial scientific research only"
    known_by = "sequenceFiles/train/*.pkl"
    options: Mapping[str, Any] = {}

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. Actors have no names in the dataset: its own split is kept."""
        for folder, split in SPLITS.items():
            for path in storage.list_files(f"{root}/sequenceFiles/{folder}", ".pkl"):
                sequence = file_name(path).removesuffix(".pkl")
                yield Recording(
                    name=sequence,
                    uri=path,
                    views=partial(_views, root, folder, sequence),
                    excluded=evaluation.of_split("3dpw", folder),
                    split=split,
                )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter."""
        sequence = place["sequence"]
        read = read_sequence(f"{root}/sequenceFiles/{place['split']}/{sequence}.pkl")
        keypoints = read.keypoints_px
        joints_world = np.where(
            read.placed[..., None, None], reorder(read.joints_world, SMPL24), np.nan
        )
        num_frames = keypoints.shape[1]
        frames = np.flatnonzero((keypoints[..., 2] > 0).any(axis=(0, 2)))
        files = [f"{root}/imageFiles/{sequence}/image_{index:05d}.jpg" for index in frames]
        with reading(sequence):
            indices, tiles = have_files(frames.tolist(), files)

        def people(at: int) -> tuple[Detection, ...]:
            index = indices[at]
            given = [
                given_person(
                    keypoints[person, index],
                    joints_world=joints_world[person, index],
                    identity=f"person {person}",
                )
                for person in range(len(keypoints))
            ]
            return tuple(person for person in given if person is not None)

        return AnnotatedView(
            indices=indices, people=people, tiles=tiles, fps=FPS, num_frames=num_frames
        )


def _views(root: str, folder: str, sequence: str) -> Iterable[View]:
    path = f"{root}/sequenceFiles/{folder}/{sequence}.pkl"
    read_sequence(path)
    images = storage.list_files(f"{root}/imageFiles/{sequence}", ".jpg")
    if not images:
        raise ValueError(f"imageFiles/{sequence} holds no images")
    yield View(
        name="camera",
        uri=view_uri("3dpw", root, {"split": folder, "sequence": sequence}),
        reader=READER,
        fingerprint=fingerprint_of([storage.fingerprint(path)], images),
    )


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence's pickle: P people in N frames."""

    keypoints_px: NDArray[np.float64]  # (P, N, 17, 3), COCO's, of confidence 0 where not found
    joints_world: NDArray[np.float64]  # (P, N, 24, 3), SMPL's, in metres
    placed: NDArray[np.bool_]  # (P, N): whether the camera is known against the person
    table: Mapping[str, Any]  # everything, as parsed


@kept(2)
def read_sequence(path: str) -> Sequence:
    """Read a sequence. Raises ValueError naming it when it is missing or broken."""
    with reading(file_name(path)):
        table = read_pickle(path)
        poses = table["poses2d"] if "poses2d" in table else table["poses2D"]
        keypoints = [array(pose, (-1, 3, 18), "poses2d").transpose(0, 2, 1) for pose in poses]
        joints = [
            array(position, (len(keypoints[0]), 72), "jointPositions").reshape(-1, 24, 3)
            for position in table["jointPositions"]
        ]
        return Sequence(
            keypoints_px=reorder(np.array(keypoints), COCO18),
            joints_world=np.array(joints),
            placed=np.array(table["campose_valid"], dtype=bool),
            table=table,
        )
