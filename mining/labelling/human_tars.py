"""The training tars of 4D-Humans and HaMeR: images with SMPL's or MANO's parameters.

    {set}/000000.tar    of `<key>.jpg` (or jpeg, png) and `<key>.data.pyd`, for each image; a
        `<key>.detection.npz` of masks may be there and is not read

`data.pyd` is a pickle of a list, one table for each person or hand of the image:

    keypoints_2d    (44, 3) or (21, 3): x_px, y_px, confidence, in the image
    keypoints_3d    (44, 4) or (21, 4): metres in the camera's axes, confidence
    center, scale   the box: its middle in pixels, and its sides over 200
    body_pose [72] or hand_pose [48]    axis times angle, the root first; betas [10]
    has_body_pose or has_hand_pose, has_betas    above 0: the parameters mean something
    right           of a hand: 0 for a left one

The 44 are OpenPose's 25, then 19 of other datasets; the 21 are in our order. There is no camera:
the root of a body, or wrist of a hand, is put at the origin, and the joints around it. A left
hand's parameters are mirrored. A tar has one split, as neighbours may be of one video; a set whose
name says val or test is of the split `val`.

Fields, shapes, the factor 200 and the side of a hand were read in HaMeR's published reader and in
others' of the same tars. Assumed, without a tar: that the names of the 19 are in the order of
SPIN's, that keypoints_3d is in metres, that finger rotations are whole, as HaMeR's model takes them
(not against MANO's mean pose), and that a left hand's are MANO's left hand's.
"""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from catalog.footage import decode_rgb
from catalog.safe_pickle import load_pickle
from mining.labelling.body_frames import mirrored
from mining.labelling.dataset import LabelledDataset, Make, Piece, broken, given_image
from mining.labelling.source import LabelledSample, LabelledUnit
from mining.sources.base import Part
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import BODY25, HAND21
from mining.sources.datasets.parsing import array, file_name
from mining.sources.datasets.people import given_person
from shards.labels import Body

Array = NDArray[np.float64]

IMAGE_SUFFIXES = ("jpg", "jpeg", "png")
ANNOTATION = "data.pyd"
SCALE_PX = 200.0
MIN_SEEN = 6  # keypoints that tell where a person is better than the given box, which may be wide
NUM_BODY, NUM_HAND = 44, 21
# of the 19: ankles, knees, hips, wrists, elbows, shoulders (SPIN's order), then what COCO lacks
EXTRA19 = (-1, -1, -1, -1, -1, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0)
PELVIS = (25 + 14, 8)  # of the 44, where there is one, else OpenPose's


class HumanTars(LabelledDataset):
    """Implements `LabelledSource`: a unit is a tar."""

    licence = "as of the images and annotations in the tars"
    known_by = "*/000000.tar"

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset. The root is one set, or holds sets."""
        for folder in (root, *storage.list_folders(root)):
            for path in storage.list_files(folder, ".tar"):
                name = path.removeprefix(f"{root}/").removesuffix(".tar")
                yield LabelledUnit(
                    name=name,
                    payload={"root": root, "tar": f"{name}.tar"},
                    fingerprint=storage.fingerprint(path),
                    num_samples=1,  # how many it holds is known when it is read
                )

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        path = storage.join(payload["root"], payload["tar"])
        split = "val" if evaluation.of_file(file_name(path.rpartition("/")[0])) else None
        try:
            for key, files in _grouped(path):
                if ANNOTATION in files:
                    yield from _people(key, files, path, split)
        except ValueError as error:
            yield broken(file_name(path), error)


def _people(
    key: str, files: Mapping[str, bytes], path: str, split: str | None
) -> Iterator[tuple[str, Make]]:
    try:
        image = next((files[end] for end in IMAGE_SUFFIXES if end in files), None)
        if image is None:
            raise ValueError(f"{key} has annotations and no image")
        people = load_pickle(files[ANNOTATION])
        if not isinstance(people, list) or not all(isinstance(p, dict) for p in people):
            raise ValueError(f"{key}.{ANNOTATION} is not a list of tables")
    except ValueError as error:
        yield broken(key, error)
        return
    for number, person in enumerate(people):
        name = f"{key} {number}"
        yield name, partial(_sample, name, f"{path}#{key}", image, person, split)


def _grouped(path: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A tar's files by key, in order: the suffix is what follows the first dot of a file's name.

    Raises ValueError where the tar breaks off.
    """
    key, files = "", dict[str, bytes]()
    try:
        with storage.open_read(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                if files and folder + slash + stem != key:
                    yield key, files
                    files = {}
                key = folder + slash + stem
                files[suffix.lower()] = content.read()
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{file_name(path)} breaks off: {error}") from None
    if files:
        yield key, files


def _sample(
    name: str, source: str, image: bytes, person: Mapping[str, Any], split: str | None
) -> LabelledSample:
    is_hand = "hand_pose" in person or "has_hand_pose" in person
    part: Part = "body"
    if is_hand:
        part = "right_hand" if _told(person.get("right", 1)) else "left_hand"
    num = NUM_HAND if is_hand else NUM_BODY
    keypoints = array(person["keypoints_2d"], (num, 3), "keypoints_2d")
    joints = array(person["keypoints_3d"], (num, 4), "keypoints_3d")
    ours = _ours(keypoints)
    seen = int((ours[:, 2] > 0).sum())
    given = given_person(ours, box_px=None if seen >= MIN_SEEN else _box(person), part=part)
    assert given is not None  # it has a box or keypoints
    labelled = given_image(
        given,
        source=source,
        image=partial(decode_rgb, image, name),
        body=_body(person, part),
    )
    joints_cam = _around_root(joints)
    return LabelledSample(
        name=name,
        part=part,
        images=(replace(labelled, joints_cam_m=joints_cam),),
        split=split,
    )


def _told(value: Any) -> bool:
    """Whether a flag, a number or an array of one, is set."""
    return bool(float(np.ravel(value)[0]) > 0)


def _ours(points: Array) -> Array:
    """Points (44 or 21, C) in our order: OpenPose's, else the other datasets' where it has none."""
    if len(points) == NUM_HAND:
        return points[list(HAND21)]
    ours, extra = points[list(BODY25)], points[[25 + max(place, 0) for place in EXTRA19]]
    lacks = (ours[:, -1] <= 0) & (np.array(EXTRA19) >= 0)
    return np.where(lacks[:, None], extra, ours)


def _around_root(joints: Array) -> Array | None:
    """Joints (K, 4) in our order around the root; None where it is not known, or none is."""
    roots = PELVIS if len(joints) == NUM_BODY else (0,)
    root = next((joints[place, :3] for place in roots if joints[place, 3] > 0), None)
    ours = _ours(joints)
    if root is None or not (ours[:, 3] > 0).any():
        return None
    ours[:, :3] -= root
    ours[ours[:, 3] <= 0] = 0
    return ours


def _box(person: Mapping[str, Any]) -> tuple[float, float, float, float]:
    center = array(np.ravel(person["center"]), (2,), "center")
    sides = np.broadcast_to(np.ravel(person["scale"]).astype(np.float64), 2) * SCALE_PX
    x0, y0, x1, y1 = np.concatenate([center - sides / 2, center + sides / 2]).tolist()
    return x0, y0, x1, y1


def _body(person: Mapping[str, Any], part: Part) -> Body | None:
    """SMPL or MANO around its root; None where pose or shape is not known."""
    kind, model, num = ("body", "smpl", 24) if part == "body" else ("hand", "mano", 16)
    if not (_told(person[f"has_{kind}_pose"]) and _told(person["has_betas"])):
        return None
    pose = array(np.ravel(person[f"{kind}_pose"]), (num * 3,), f"{kind}_pose")
    body = Body(
        model=model,
        pose_rad=pose.reshape(num, 3),
        shape=array(np.ravel(person["betas"]), (10,), "betas"),
        translation_m=np.zeros(3),
    )
    return mirrored(body) if part == "left_hand" else body
