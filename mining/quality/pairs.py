"""The rows of a mined synthetic dataset beside their truth, read with SQL."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from catalog import query
from catalog.parts import Row
from mining.quality.truth import CaptureTruth
from mining.sources.base import Part

VIEWS = """
    SELECT capture_id, view_id, views.uri FROM views JOIN captures USING (capture_id)
    WHERE dataset = $dataset ORDER BY ALL"""
DETECTIONS = """
    SELECT detections.capture_id, detection_id, detections.view_id, detections.frame_index,
           detections.part, detections.keypoints_px, identity_id, crop_id
    FROM detections JOIN captures USING (capture_id)
    LEFT JOIN crops USING (detection_id) WHERE captures.dataset = $dataset ORDER BY detection_id"""
UNUSED = """
    SELECT detection_id FROM rejects WHERE stage = 'identify' AND detection_id IS NOT NULL"""
PAIRS = """
    SELECT pairs.*, a.detection_id AS detection_a, b.detection_id AS detection_b,
           a.view_id AS view_a, b.view_id AS view_b, a.time_s AS time_a, b.time_s AS time_b,
           a.frame_index AS frame_a, b.frame_index AS frame_b
    FROM {table} AS pairs
    JOIN crops AS a ON crop_a = a.crop_id JOIN crops AS b ON crop_b = b.crop_id
    WHERE pairs.dataset = $dataset
    ORDER BY pairs.capture_id, pairs.identity_id, a.time_s, b.time_s, pair_id"""


@dataclass(frozen=True, kw_only=True)
class MinedTruth:
    """A mined dataset with its truth: `shown` tells of each detection whom it shows, `unused` are
    detections that ended in no identity.
    """

    truths: dict[str, CaptureTruth]
    detections: Sequence[Row]
    pairs: Sequence[Row]
    rejected_pairs: Sequence[Row]
    shown: dict[str, tuple[int, Part]]
    unused: frozenset[str]


def read_mined(root: str, dataset: str) -> MinedTruth:
    """Read a mined dataset of synthetic captures and match its detections with the truth."""
    parameters = {"dataset": dataset}
    uris: dict[str, dict[str, str]] = defaultdict(dict)
    for row in query.select(root, VIEWS, parameters).to_pylist():
        uris[row["capture_id"]][row["view_id"]] = row["uri"]
    truths = {capture_id: CaptureTruth(views) for capture_id, views in uris.items()}
    detections = query.select(root, DETECTIONS, parameters).to_pylist()
    by_capture: dict[str, list[Row]] = defaultdict(list)
    for row in detections:
        by_capture[row["capture_id"]].append(row)
    shown: dict[str, tuple[int, Part]] = {}
    for capture_id, rows in by_capture.items():
        shown |= truths[capture_id].match(rows)
    return MinedTruth(
        truths=truths,
        detections=detections,
        pairs=query.select(root, PAIRS.format(table="pairs"), parameters).to_pylist(),
        rejected_pairs=query.select(
            root, PAIRS.format(table="rejected_pairs"), parameters
        ).to_pylist(),
        shown=shown,
        unused=frozenset(row["detection_id"] for row in query.select(root, UNUSED).to_pylist()),
    )
