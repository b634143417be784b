"""Human3.6M as mmpose's preprocess_h36m.py leaves it:

    annotation_body3d/cameras.pkl    {(subject, camera): R, T, f, c, k, p}, camera to world, metres
    annotation_body3d/{fps50,fps10}/h36m_{train,test}.npz    imgname, center, scale, part, S
    images/{imgname}                 S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg

The arrays hold all frames of all subjects: every process reads them once.
"""

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.datasets.joints import HUMAN36M_17, reorder
from mining.sources.datasets.parsing import array, file_name, kept, read_pickle, reading
from mining.sources.datasets.poses36m import Poses36M, make_camera
from mining.sources.datasets.view import have_files

SPLITS = ("train", "test")
BOX_SCALE = 200 / 1.2  # `scale` is 1.2 sides of the box over 200
IMAGE_NAME = re.compile(r"(S\d+)/\1_(.+)\.(\d+)/.+_(\d+)\.jpg")
Key = tuple[str, str, str]  # subject, action, camera


def sequences(root: str, rate: str) -> dict[tuple[str, str], list[str]]:
    """The cameras with annotations, by subject and action. Raises ValueError where there are no
    arrays.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for split in SPLITS:
        path = _path(root, rate, split)
        if storage.exists(path):
            for subject, action, camera_id in _arrays(path)[1]:
                found.setdefault((subject, action), []).append(camera_id)
    if not found:
        raise ValueError(f"annotation_body3d/{rate} holds neither h36m_train.npz nor h36m_test.npz")
    return found


def poses(root: str, rate: str, subject: str, action: str, camera_id: str) -> Poses36M:
    """Read a camera's poses; its frames are counted from 1."""
    key = subject, action, camera_id
    path = next(p for split in SPLITS if key in _rows(p := _path(root, rate, split)))
    arrays, rows_of = _arrays(path)
    rows = rows_of[key]
    numbers = [int(_match(name).group(4)) for name in arrays["imgname"][rows]]
    files = [f"{root}/images/{name}" for name in arrays["imgname"][rows]]
    with reading(f"{subject}_{action}.{camera_id}"):
        indices, tiles = have_files(numbers, files)
    row_of = dict(zip(numbers, rows, strict=True))
    rows = np.array([row_of[int(index)] for index in indices])
    half = arrays["scale"][rows, None] * BOX_SCALE / 2
    centres = arrays["center"][rows]
    keypoints = np.where(arrays["part"][rows, :, 2:] > 0, arrays["part"][rows], np.nan)
    return Poses36M(
        indices=indices,
        keypoints_px=reorder(keypoints[..., :2], HUMAN36M_17),
        joints_cam=reorder(arrays["S"][rows, :, :3], HUMAN36M_17),
        boxes_px=np.concatenate([centres - half, centres + half], axis=1),
        marks=(path, f"{root}/annotation_body3d/cameras.pkl"),
        tiles=tiles,
        first=1,
    )


def camera(root: str, subject: str, camera_id: str) -> Camera:
    """The camera of a subject's recordings: X_cam = R^T (X - T)."""
    with reading("cameras.pkl"):
        entry = _cameras(f"{root}/annotation_body3d/cameras.pkl")[subject, camera_id]
        flat = {key: np.ravel(entry[key]).astype(np.float64) for key in "Tfckp"}
        rotation = array(entry["R"], (3, 3), "R").T
        return make_camera(
            camera_id, rotation, flat["T"], flat["f"], flat["c"], flat["k"], flat["p"]
        )


def _path(root: str, rate: str, split: str) -> str:
    return f"{root}/annotation_body3d/{rate}/h36m_{split}.npz"


@kept(1)
def _cameras(path: str) -> Any:
    return read_pickle(path)


def _rows(path: str) -> dict[Key, NDArray[np.int64]]:
    return _arrays(path)[1] if storage.exists(path) else {}


@kept(2)
def _arrays(path: str) -> tuple[dict[str, NDArray[Any]], dict[Key, NDArray[np.int64]]]:
    """The arrays of a file, and the rows of each camera."""
    name = file_name(path)
    with reading(name):
        try:
            loaded = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
            names = loaded["imgname"].astype(str)
            shapes = {"center": (2,), "scale": (), "part": (17, 3), "S": (17, 4)}
            arrays: dict[str, NDArray[Any]] = {
                key: array(loaded[key], (len(names), *shape), key) for key, shape in shapes.items()
            }
        except (OSError, EOFError) as error:
            raise ValueError(f"{name} is not an npz file that can be read ({error})") from None
        rows: dict[Key, list[int]] = {}
        for row, image in enumerate(names):
            subject, action, camera_id, _ = _match(image).groups()
            rows.setdefault((subject, action, camera_id), []).append(row)
        return {**arrays, "imgname": names}, {key: np.array(kept) for key, kept in rows.items()}


def _match(image: str) -> re.Match[str]:
    found = IMAGE_NAME.fullmatch(image)
    if found is None:
        raise ValueError(f"an image is called {image!r}, not as S1/S1_Action.camera/..._000001.jpg")
    return found
