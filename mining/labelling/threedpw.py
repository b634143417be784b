"""3DPW with labels: SMPL's parameters of one or two people outdoors, one moving camera.

The files are those that `mining/sources/datasets/threedpw.py` reads; of each pickle, moreover:

    poses [P x (N, 72)]         axis times angle in world axes, the root first
    betas [P x (10 or more,)]   the first ten count
    genders [P]                 m or f
    cam_poses (N, 4, 4)         world to camera
    cam_intrinsics (3, 3)

A person is taken where the camera is known against them (`campose_valid`) and keypoints were found.
The keypoints are the dataset's 2D ones, and may lie off the projected joints, which are SMPL's.
SMPL's root lies where `jointPositions` has it. Written from the dataset's readme: no pickle of the
dataset was opened.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from catalog import storage
from mining.geometry.cameras import Camera
from mining.labelling.body_frames import turned
from mining.labelling.dataset import LabelledDataset, Make, Piece, given_image, image_of
from mining.labelling.source import LabelledSample, LabelledUnit
from mining.sources.base import SourceProblem
from mining.sources.datasets.joints import SMPL24, reorder
from mining.sources.datasets.parsing import array, file_name
from mining.sources.datasets.people import given_person
from mining.sources.datasets.threedpw import SPLITS, Sequence, read_sequence
from mining.sources.datasets.view import fingerprint_of
from shards.labels import Body

NUM_SHAPES = 10
GENDERS = {"m": "male", "male": "male", "f": "female", "female": "female"}


class LabelledThreeDPW(LabelledDataset):
    """Implements `LabelledSource`: a unit is a sequence, of the split that its folder says."""

    licence = "3DPW: non-commercial scientific research only"
    known_by = "sequenceFiles/train/*.pkl"
    options: ClassVar[Mapping[str, Any]] = {"every": 1}  # each that many frames

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset."""
        for folder in SPLITS:
            for path in storage.list_files(f"{root}/sequenceFiles/{folder}", ".pkl"):
                name = file_name(path).removesuffix(".pkl")
                place = {"root": root, "folder": folder, "name": name, "every": options["every"]}
                images = storage.list_files(f"{root}/imageFiles/{name}", ".jpg")
                try:
                    if not images:
                        raise ValueError(f"imageFiles/{name} holds no images")
                    yield LabelledUnit(
                        name=name,
                        payload=place,
                        fingerprint=fingerprint_of([storage.fingerprint(path)], images),
                        num_samples=len(_shown(read_sequence(path), options["every"])),
                    )
                except ValueError as error:
                    yield SourceProblem(unit=name, error=str(error))

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        root, folder, name = payload["root"], payload["folder"], payload["name"]
        sequence = read_sequence(f"{root}/sequenceFiles/{folder}/{name}.pkl")
        for frame, person in _shown(sequence, payload["every"]):
            file = f"{root}/imageFiles/{name}/image_{frame:05d}.jpg"
            yield (
                f"{frame:05d} person {person}",
                partial(_sample, sequence, file, frame, person, SPLITS[folder]),
            )


def _shown(sequence: Sequence, every: int) -> list[tuple[int, int]]:
    """The frames and people that have keypoints and a camera, in each `every`-th frame."""
    found = (sequence.keypoints_px[..., 2] > 0).any(axis=2)
    shown = (found & sequence.placed).T
    shown[np.arange(len(shown)) % every > 0] = False
    return [(int(frame), int(person)) for frame, person in np.argwhere(shown)]


def _sample(sequence: Sequence, file: str, frame: int, person: int, split: str) -> LabelledSample:
    table = sequence.table
    cam_from_world = array(table["cam_poses"][frame], (4, 4), "cam_poses")
    camera = Camera(
        intrinsics=array(table["cam_intrinsics"], (3, 3), "cam_intrinsics"),
        world_from_cam=np.asarray(np.linalg.inv(cam_from_world), np.float64),
    )
    joints_world = sequence.joints_world[person, frame]
    given = given_person(
        sequence.keypoints_px[person, frame], joints_world=reorder(joints_world, SMPL24)
    )
    assert given is not None  # it has keypoints
    gender = str(table["genders"][person])
    if gender not in GENDERS:
        raise ValueError(f"the gender {gender!r} is not one of {', '.join(GENDERS)}")
    pose_rad = array(table["poses"][person][frame], (72,), "poses").reshape(24, 3)
    body = Body(
        model="smpl",
        gender=GENDERS[gender],
        pose_rad=turned(pose_rad, cam_from_world),
        shape=array(table["betas"][person], (-1,), "betas")[:NUM_SHAPES],
        translation_m=camera.to_camera(joints_world[:1])[0],
    )
    image = given_image(given, camera, source=file, image=image_of(file), body=body, frame=frame)
    return LabelledSample(
        name=f"{frame:05d} person {person}", part="body", images=(image,), split=split
    )
