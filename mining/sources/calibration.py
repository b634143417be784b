"""Camera calibration files: ours in TOML, and those of other programs by suffix.

Ours (`calibration.toml`) has one table per camera, named like its video or folder:

    [cameras.cam01]
    intrinsics = [[1200.0, 0.0, 640.0], [0.0, 1200.0, 360.0], [0.0, 0.0, 1.0]]   # pixels
    world_from_cam = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -3], [0, 0, 0, 1]]   # metres
    distortion = [0.0, 0.0, 0.0, 0.0, 0.0]   # OpenCV's k1, k2, p1, p2, k3; optional
    size_px = [1280, 720]   # of the images it was calibrated with; optional

The camera's axes are OpenCV's: x to the right, y down, z ahead.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.qualisys import read_qca

OUR_NAME = "calibration.toml"


def read_toml(text: str) -> dict[str, Camera]:
    """Parse our calibration file: camera by name.

    Raises ValueError naming the camera and the entry that is wrong.
    """
    try:
        tables = tomllib.loads(text).get("cameras")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    if not isinstance(tables, dict) or not tables:
        raise ValueError("there is no table [cameras.NAME]")
    return {name: _camera(name, table) for name, table in tables.items()}


# Suffix of a calibration file to the function that reads its text; a new format is one line here.
FORMATS: Mapping[str, Callable[[str], dict[str, Camera]]] = {
    OUR_NAME: read_toml,
    ".qca.txt": read_qca,
}

# Names that calibrations have in formats that are not read here; lists of times and notes, as
# camera1.csv or camera.txt, are not among them.
OTHER_NAMES = re.compile(
    r"(calib|intrinsic|extrinsic)[^/]*\.(csv|json|mat|npy|npz|pickle|pkl|toml|txt|xml|ya?ml)$"
    r"|camera(s|[-_ ]?param[^/]*|[-_ ]?matri[^/]*)?\.(json|mat|npy|npz|pickle|pkl|toml|xml|ya?ml)$"
)


def is_calibration(name: str) -> bool:
    """Tell by its name whether a file is a calibration."""
    return any(name.lower().endswith(suffix) for suffix in FORMATS)


def looks_like_calibration(name: str) -> bool:
    """Tell by its name whether a file may well be a calibration in a format that is not read."""
    return not is_calibration(name) and OTHER_NAMES.search(name.lower()) is not None


def read_calibration(url: str) -> dict[str, Camera]:
    """Read a calibration file: cameras by name, in the file's order.

    Raises ValueError, in one sentence with the file's name, when it is not what its suffix says.
    """
    name = url.rsplit("/", 1)[-1]
    read = next((FORMATS[suffix] for suffix in FORMATS if name.lower().endswith(suffix)), None)
    if read is None:
        raise ValueError(f"{name} is no calibration: its name must end in {' or '.join(FORMATS)}")
    try:
        return read(storage.read_text(url))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"calibration {name}: {error}") from None


def _camera(name: str, table: Any) -> Camera:
    if not isinstance(table, dict):
        raise ValueError(f"cameras.{name} is not a table")
    world_from_cam = _matrix(name, table, "world_from_cam", (4, 4))
    rotation = world_from_cam[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError(f"cameras.{name}.world_from_cam holds no rotation")
    distortion = np.zeros(5)
    if "distortion" in table:
        try:
            distortion = np.asarray(table["distortion"], dtype=np.float64).ravel()
        except (TypeError, ValueError):
            distortion = np.zeros(0)
        if len(distortion) not in (4, 5, 8, 12, 14) or not np.isfinite(distortion).all():
            raise ValueError(f"cameras.{name}.distortion must be 4, 5, 8, 12 or 14 numbers")
    size_px = table.get("size_px")
    if size_px is not None and not (
        isinstance(size_px, list)
        and len(size_px) == 2
        and all(isinstance(side, int) and side > 0 for side in size_px)
    ):
        raise ValueError(f"cameras.{name}.size_px must be [width, height]")
    return Camera(
        intrinsics=_matrix(name, table, "intrinsics", (3, 3)),
        world_from_cam=world_from_cam,
        distortion=distortion,
        size_px=tuple(size_px) if size_px else None,
    )


def _matrix(
    name: str, table: dict[str, Any], key: str, shape: tuple[int, int]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    if key not in table:
        raise ValueError(f"cameras.{name} has no {key}")
    try:
        matrix = np.asarray(table[key], dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"cameras.{name}.{key} must be {shape[0]} rows of {shape[1]} numbers")
    return matrix
