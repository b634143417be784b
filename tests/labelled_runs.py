"""Small runs over labelled synthetic captures."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from catalog import query
from catalog.config import override
from mining.config import MiningConfig
from mining.executor import Done
from mining.labelling.run import label
from mining.run import RunOptions, RunReport
from mining.sources.base import DatasetSpec
from shards.labels import Label, decode_label

OPTIONS = {
    "num_captures": 3,
    "num_hand_captures": 2,
    "num_frames": 1,
    "num_views": 2,
    "image_px": 256,
    "hand_image_px": 160,
}
SETTINGS = [
    "label.size_px=96",
    "label.min_person_px=40",
    "label.min_hand_px=40",
    "split.val_share=0.75",
]
DATASET = "people"


def unwatched(done: Iterable[Done], total: int, stage: str) -> Iterable[Done]:
    return done


def mine_labels(root: Path, settings: Iterable[str] = (), **options: object) -> RunReport:
    spec = DatasetSpec(
        name=DATASET, adapter="synthetic-labelled", root="", options={**OPTIONS, **options}
    )
    config = override(MiningConfig(), [*SETTINGS, *settings])
    return label(spec, config, RunOptions(root=str(root), workers=0), unwatched)


def rows(root: Path, sql: str) -> list[dict[str, Any]]:
    return query.select(str(root), sql).to_pylist()


def labels_of(root: Path, where: str = "true") -> list[tuple[dict[str, Any], Label]]:
    found = rows(root, f"SELECT * FROM labels WHERE {where} ORDER BY label_id")
    return [(row, decode_label(json.loads(row["label"]))) for row in found]


def image_of(root: Path, row: dict[str, Any], side: str = "a", what: str = "") -> np.ndarray:
    """A stored image, RGB; `iuv_` for what is labelled in every pixel."""
    data = (root / row["file"]).read_bytes()
    start, length = row[f"{what}offset_{side}"], row[f"{what}length_{side}"]
    coded = np.frombuffer(data[start : start + length], np.uint8)
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
