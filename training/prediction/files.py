"""What prediction leaves on disk: for each input a folder with a picture or video, meshes, maps,
and `predictions.json`, which says of each frame who is where and which files are theirs.

Frames, units and names are in docs/prediction.md.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from catalog import storage
from training.png import encode_png
from training.prediction.ply import encode_ply
from training.prediction.predictor import Person

MOST_NUMBERS = 1000  # of an array that is written into JSON; larger ones have files
DIGITS = 6


def write_person(
    folder: str, stem: str, person: Person, number: int, score: float | None, meshes: bool
) -> dict[str, Any]:
    """Write a person's files, named `stem.*`, and return what the JSON says of them; `number` is
    the person's, the same in all frames of a video.
    """
    answer, files = person.answer, dict[str, str]()
    if meshes and "vertices_m" in answer:
        files["ply"] = f"{stem}.ply"
        mesh = encode_ply(answer["vertices_m"], answer["faces"])
        storage.write_bytes(storage.join(folder, files["ply"]), mesh)
        files["npz"] = f"{stem}.npz"
        arrays = {name: value for name, value in answer.items() if isinstance(value, np.ndarray)}
        arrays |= {"pixels_from_cam": person.pixels_from_cam, "box_px": person.box_px}
        storage.write_bytes(storage.join(folder, files["npz"]), _pack(arrays))
    if "iuv" in answer:
        files["iuv"] = f"{stem}.iuv.png"
        storage.write_bytes(storage.join(folder, files["iuv"]), encode_png(answer["iuv"]))
    return {
        "person": number,
        "part": person.part,
        "score": score,
        "box_px": _plain(person.box_px),
        "square_px": list(person.square_px),
        **{name: _plain(value) for name, value in answer.items() if _is_short(value)},
        "files": files,
    }


def write_predictions(folder: str, about: Mapping[str, Any], frames: Sequence[Any]) -> str:
    """Write `predictions.json`, about the input and each frame of it; return its URL."""
    url = storage.join(folder, "predictions.json")
    text = json.dumps({**about, "frames": list(frames)}, indent=1, allow_nan=False)
    storage.write_text(url, text + "\n")
    return url


def _pack(arrays: Mapping[str, Any]) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def _is_short(value: Any) -> bool:
    return not isinstance(value, np.ndarray) or value.size <= MOST_NUMBERS


def _plain(value: Any) -> Any:
    """Arrays as lists of rounded numbers; what is plain already as it is."""
    if isinstance(value, np.ndarray | np.generic):
        rounded = value.round(DIGITS) if np.issubdtype(value.dtype, np.floating) else value
        return rounded.tolist()
    return list(value) if isinstance(value, tuple) else value
