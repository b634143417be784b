"""What a pair's sample is: the files that lie in a tar for it.

`<pair_id>.a.jpg` and `<pair_id>.b.jpg` are the two images (which of them is masked is up to the
trainer), and of both, a's first,

    <pair_id>.json              the row of `pairs` at top level, with `person_id`: the same
                                in all captures where somebody whom the source names was found
                                alone, else `identity_id` (earlier sets lack it); under `a` and `b`
                                the crop, view, frame and time of each image and its box in the
                                frame
    <pair_id>.foreground.npy    (2, 32, 32) uint8: share (0-255) of each cell that is the person
    <pair_id>.keypoints.npy     (2, K, 3) float32: x, y in pixels of the crop, confidence (0: not
                                seen); K is 17 of a body, 21 of a hand, or 0

What a trainer reads of every sample is in arrays: it takes a sample apart in 16 us, where the same
numbers as JSON's text took 37. Nothing heavy is imported here, since `training` needs this module.
"""

import io
import json
import math
import tokenize
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.foreground import FOREGROUND_GRID, cells_of
from shards.labels import NUM_KEYPOINTS

IMAGES = ("a.jpg", "b.jpg")
EXTENSIONS = (*IMAGES, "json", "foreground.npy", "keypoints.npy")
CROP_COLUMNS = ("crop_id", "view_id", "frame_index", "time_s")  # of a crop's row, unchanged
KEYPOINT_COUNTS = {0, *NUM_KEYPOINTS.values()}  # of a crop
NPY_PREFIX = 10  # bytes of an array's file before its description: magic, version, its length

Buffer = bytes | memoryview
Row = Mapping[str, Any]


def encode_pair(pair: Row, crop_a: Row, crop_b: Row) -> dict[str, bytes]:
    """The files of a sample but its images, by extension, from what is to be said of the pair and
    from rows of the table `crops`.

    Numbers that JSON lacks (NaN, infinity) become null. Raises ValueError for a crop whose box,
    keypoints or foreground are damaged.
    """
    crops = (crop_a, crop_b)
    for crop in crops:
        missing = [name for name in ("box_px", "keypoints_px", "foreground") if crop[name] is None]
        if missing:
            raise ValueError(f"crop {crop['crop_id']} has no {', '.join(missing)}")
    columns = {name: _finite(value) for name, value in pair.items()}
    meta = {**columns, **{side: _image_json(crop) for side, crop in zip("ab", crops, strict=True)}}
    return {
        "json": json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(),
        "foreground.npy": _encode(np.stack([cells_of(crop["foreground"]) for crop in crops])),
        "keypoints.npy": _encode(_keypoints(crops)),
    }


def decode_foreground(data: Buffer) -> npt.NDArray[np.uint8]:
    """Both foregrounds, (2, 32, 32): the share (0-255) of each cell that is the person.

    Raises ValueError when the file holds something else.
    """
    return _decode(data, "foreground", np.uint8, (FOREGROUND_GRID, FOREGROUND_GRID))


def decode_keypoints(data: Buffer) -> npt.NDArray[np.float32]:
    """Both images' keypoints, (2, K, 3): x, y in pixels of the crop, confidence.

    Raises ValueError when the file holds something else, or another number of them than a body's, a
    hand's or none.
    """
    keypoints_px = _decode(data, "keypoints", np.float32, (-1, 3))
    if keypoints_px.shape[1] not in KEYPOINT_COUNTS:
        raise ValueError(f"its keypoints.npy has {keypoints_px.shape[1]} keypoints")
    return keypoints_px


def keypoints_in_crop(
    keypoints_px: Sequence[float], box_px: Sequence[float], size_px: int
) -> npt.NDArray[np.float32]:
    """Map flat (x, y, confidence) triples of the frame to the crop, (K, 3).

    `box_px` is the crop's x0, y0, x1, y1 in the frame, `size_px` its stored side. Keypoints that
    were not seen (confidence 0) become zeros. Raises ValueError when the values are not triples of
    finite numbers or the box is empty.
    """
    if len(keypoints_px) % 3 or len(box_px) != 4 or not box_px[2] > box_px[0]:
        raise ValueError(f"{len(keypoints_px)} keypoint values in box {list(box_px)}")
    scale = size_px / (box_px[2] - box_px[0])
    points_px = np.asarray(keypoints_px, np.float64).reshape(-1, 3)
    points_px[:, :2] = (points_px[:, :2] - np.asarray(box_px[:2])) * scale
    points_px[~(points_px[:, 2] > 0)] = 0
    stored_px = points_px.astype(np.float32)
    if not np.isfinite(stored_px).all():
        raise ValueError("keypoints that are not finite numbers")
    return stored_px


def _image_json(crop: Row) -> dict[str, Any]:
    return {
        **{name: _finite(crop[name]) for name in CROP_COLUMNS},
        "box_px": [round(float(value), 2) for value in crop["box_px"]],
    }


def _keypoints(crops: Sequence[Row]) -> npt.NDArray[np.float32]:
    """The keypoints of both images; of one that has none, as many that were not seen."""
    found = [
        keypoints_in_crop(crop["keypoints_px"], crop["box_px"], crop["size_px"]) for crop in crops
    ]
    counts = {len(points_px) for points_px in found} - {0}
    if len(counts) > 1:
        raise ValueError(f"the images have {len(found[0])} and {len(found[1])} keypoints")
    nowhere = np.zeros((max(counts, default=0), 3), np.float32)
    return np.stack([points_px if len(points_px) else nowhere for points_px in found])


def _encode(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _decode(
    data: Buffer, what: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """An array of two images as `_encode` writes it; -1 in the shape of one is any number.

    Parsed here for speed: np.load reads the header of every sample anew, in 65 us each, this in 5.
    """
    start = NPY_PREFIX + int.from_bytes(data[NPY_PREFIX - 2 : NPY_PREFIX], "little")
    try:
        found_dtype, found = _layout(bytes(data[:start]))
    except ValueError as error:
        raise ValueError(f"its {what}.npy is no array: {error}") from None
    fits = len(found) == 1 + len(shape) and all(
        size in (-1, number) for size, number in zip((2, *shape), found, strict=True)
    )
    if found_dtype != dtype or not fits:
        wanted = ", ".join("K" if size < 0 else str(size) for size in (2, *shape))
        raise ValueError(
            f"its {what}.npy holds {found} {found_dtype}, not ({wanted}) {np.dtype(dtype)}"
        )
    if len(data) != start + math.prod(found) * found_dtype.itemsize:
        raise ValueError(f"its {what}.npy has {len(data)} bytes, which is not what {found} takes")
    return np.frombuffer(data, dtype, offset=start).reshape(found)


@lru_cache
def _layout(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """What the start of an array's file says; of thousands of samples it is the same."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"its version is {version}, not (1, 0)")
    try:
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (SyntaxError, TypeError, tokenize.TokenError) as error:  # a header that is no literal
        raise ValueError(f"its header is damaged: {error}") from None
    if is_fortran:
        raise ValueError("it is in Fortran's order")
    return dtype, shape


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
