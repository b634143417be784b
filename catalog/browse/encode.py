"""The page's data file: columns as compact text that a script tag can load from disk.

A page opened from disk may not fetch files, but may load scripts; so the data is a script that
sets one variable. Numbers are little-endian arrays in base64, texts that repeat are a list of
distinct values and a code for each row. All text is data: characters that could end a script or
begin a tag are escaped, and the page only ever sets text, never HTML.
"""

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.browse.entries import Entries
from catalog.browse.sheets import Sheets
from catalog.schemas import INT, PAIRS, REAL

TERMS = tuple(column for column in PAIRS.columns if column.type in (REAL, INT))
FACETS = ("status", "reason", "kind", "part", "dataset", "split")
TEXTS = ("stage", "detail", "identity_id", "capture")
CROP_TEXTS = ("capture", "view", "part")
CROP_NUMBERS = (
    "frame_index", "time_s", "detector_score", "sharpness", "truncation", "occlusion",
)  # fmt: skip
UNITS = {"deg": "°", "s": "s", "px": "px"}  # by the last word of a column's name

Json = dict[str, Any]


def to_script(about: Json, entries: Entries, sheets: Sheets) -> str:
    """The data file: `window.crosspairsData = {...}`, with `about` (plain JSON values) in it."""
    data = {
        **about,
        "totals": entries.totals,
        "stages": entries.stages,
        "dropped": entries.dropped,
        "entries": encode_entries(entries.rows, entries.crops["id"].to_pylist()),
        "crops": encode_crops(entries.crops),
        "sheets": {
            "prefix": sheets.prefix,
            "columns": sheets.columns,
            "cell_px": sheets.cell_px,
            "unreadable": {str(crop): reason for crop, reason in sheets.unreadable.items()},
        },
    }
    return f"window.crosspairsData = {to_json(data)};\n"


def to_json(value: Any) -> str:
    """Plain values as JSON that is safe within a script: nothing in it ends the script or a line.

    NaN and infinity become null.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def encode_entries(rows: pa.Table, crop_ids: list[str]) -> Json:
    """Entries by column. A crop is its place in `crop_ids`, -1 where there is none."""
    place = {crop_id: i for i, crop_id in enumerate(crop_ids)}
    return {
        "count": rows.num_rows,
        "ids": rows["entry_id"].to_pylist(),
        "facets": [{"name": name, **_encode_texts(rows[name])} for name in FACETS],
        "texts": {name: _encode_texts(rows[name]) for name in TEXTS},
        "terms": [
            {
                "name": term.name,
                "label": label(term.name),
                "unit": UNITS.get(term.name.rsplit("_", 1)[-1], ""),
                "meaning": term.meaning,
                "values": _encode_numbers(rows[term.name]),
            }
            for term in TERMS
        ],
        **{
            side: _to_base64(
                np.array([place.get(crop, -1) for crop in rows[side].to_pylist()], dtype="<i4")
            )
            for side in ("crop_a", "crop_b")
        },
    }


def encode_crops(crops: pa.Table) -> Json:
    """Crops by column; keypoints as shares of the crop's side (`decode_share` of the page)."""
    boxes = np.array(crops["box_px"].to_pylist(), dtype=np.float32).reshape(-1, 4)
    counts, shares, confidences = keypoint_shares(crops["keypoints_px"].to_pylist(), boxes)
    fixed = np.clip((shares + 1) / 3, 0, 1) * 65535  # shares from -1 to 2 in 16 bits
    return {
        "count": crops.num_rows,
        "ids": crops["id"].to_pylist(),
        "detection_ids": crops["detection_id"].to_pylist(),
        "texts": {name: _encode_texts(crops[name]) for name in CROP_TEXTS},
        "numbers": {name: _encode_numbers(crops[name]) for name in CROP_NUMBERS},
        "boxes_px": _to_base64(boxes.astype("<f4")),
        "num_keypoints": _to_base64(counts),
        "keypoints": _to_base64(np.round(fixed).astype("<u2")),
        "confidences": _to_base64(np.round(np.clip(confidences, 0, 1) * 255).astype(np.uint8)),
    }


def keypoint_shares(
    keypoints_px: list[list[float] | None], boxes_px: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Keypoints (x, y, confidence in frame pixels, flat, any number for each crop) as shares of the
    crop's side: how many each crop has (N), x and y of all (M, 2), confidences of all (M).
    """
    counts = np.array([len(points or ()) // 3 for points in keypoints_px], dtype=np.uint8)
    flat = [value for points in keypoints_px for value in points or ()]
    points = np.array(flat, dtype=np.float64).reshape(-1, 3)
    boxes = np.repeat(boxes_px.astype(np.float64), counts, axis=0)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    shares = (points[:, :2] - boxes[:, :2]) / sides
    seen = np.isfinite(shares).all(axis=1) & np.isfinite(points[:, 2])
    return counts, np.where(seen[:, None], shares, 0), np.where(seen, points[:, 2], 0)


def label(name: str) -> str:
    """A column's name for people: words, without its unit."""
    words = name.split("_")
    return " ".join(words[:-1] if words[-1] in UNITS and len(words) > 1 else words)


def _encode_texts(column: pa.ChunkedArray) -> Json:
    """Distinct values, null as "", and each row's code."""
    values = [value or "" for value in column.to_pylist()]
    distinct = sorted(set(values))
    codes = {value: code for code, value in enumerate(distinct)}
    return {
        "values": distinct,
        "codes": _to_base64(np.array([codes[value] for value in values], dtype="<u4")),
    }


def _encode_numbers(column: pa.ChunkedArray) -> str:
    """32-bit floats; NaN stands for null."""
    values = [np.nan if value is None else value for value in column.to_pylist()]
    return _to_base64(np.array(values, dtype="<f4"))


def _to_base64(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
