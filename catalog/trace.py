"""From any id back to its origin: shard and sample, pair, crops, tracks, views, frames and source
file.
"""

from typing import Any

from catalog.query import Connection, connect, select_from

WHERE_IS = """
    SELECT 'pair' AS kind FROM pairs WHERE pair_id = $id
    UNION ALL SELECT 'rejected_pair' FROM rejected_pairs WHERE pair_id = $id
    UNION ALL SELECT 'crop' FROM crops WHERE crop_id = $id
    UNION ALL SELECT 'detection' FROM detections WHERE detection_id = $id
    UNION ALL SELECT 'track' FROM tracks WHERE track_id = $id
    UNION ALL SELECT 'identity' FROM tracks WHERE identity_id = $id
    UNION ALL SELECT 'view' FROM views WHERE view_id = $id
    UNION ALL SELECT 'capture' FROM captures WHERE capture_id = $id
    UNION ALL SELECT 'label' FROM labels WHERE label_id = $id
    UNION ALL SELECT 'reject' FROM rejects WHERE id = $id
    LIMIT 1"""

SAMPLES = """
    SELECT url || '/' || shard AS shard, position,
           coalesce(pair_id, label_id) || '.json' AS sample
    FROM samples JOIN shard_sets USING (shard_set)
    WHERE pair_id = $id OR label_id = $id ORDER BY ALL"""
PAIR = "SELECT * FROM pairs WHERE pair_id = $id"
REJECTED_PAIR = "SELECT * FROM rejected_pairs WHERE pair_id = $id"
PAIR_CROPS = """
    SELECT unnest([crop_a, crop_b]) AS crop_id, unnest(['a', 'b']) AS role
    FROM (SELECT pair_id, crop_a, crop_b FROM pairs
          UNION ALL SELECT pair_id, crop_a, crop_b FROM rejected_pairs) WHERE pair_id = $id"""
CROP = """
    SELECT views.name AS view, frame_index, views.uri AS source, crop_id, detection_id, part,
           box_px, detector_score, sharpness, time_s, segment,
           identity_id, track_id, crops.view_id, crops.capture_id, file, "offset", length
    FROM crops JOIN views USING (view_id) WHERE crop_id = $id"""
CROP_PAIRS = """
    SELECT kind, count(*) AS pairs, max(score) AS best_score
    FROM pairs WHERE crop_a = $id OR crop_b = $id GROUP BY kind ORDER BY kind"""
DETECTION = """
    SELECT * EXCLUDE (keypoints_px, foreground, appearance) FROM detections
    WHERE detection_id = $id"""
DETECTION_CROPS = (
    "SELECT crop_id, part, identity_id FROM crops WHERE detection_id = $id ORDER BY ALL"
)
TRACK = "SELECT * FROM tracks WHERE track_id = $id"
IDENTITY = "SELECT * FROM tracks WHERE identity_id = $id ORDER BY view_id, start_s"
VIEW = """
    SELECT name, uri, reader, width_px, height_px, fps, num_frames, offset_s, calibration
    FROM views WHERE view_id = $id"""
CAPTURE = "SELECT * FROM captures WHERE capture_id = $id"
CAPTURE_VIEWS = "SELECT view_id, name, uri FROM views WHERE capture_id = $id ORDER BY name"
LABEL = """
    SELECT * EXCLUDE (label, source_a, source_b, frame_a, frame_b) FROM labels
    WHERE label_id = $id"""
LABEL_IMAGES = """
    SELECT source_a AS source, frame_a AS frame FROM labels WHERE label_id = $id
    UNION ALL
    SELECT source_b, frame_b FROM labels WHERE label_id = $id AND source_b IS NOT NULL"""
REJECTS = "SELECT * FROM rejects WHERE id = $id OR detection_id = $id"


def trace(root: str, id: str) -> list[dict[str, Any]]:
    """Follow an id to its source; rows of `depth`, `what` and the facts found there.

    `id` may be a pair, labelled sample, crop, detection, track, identity, view or capture, or a
    sample's file name in a shard. Raises ValueError when nothing in the catalog has it.
    """
    id = id.split(".", 1)[0]
    with connect(root) as connection:
        found = _rows(connection, WHERE_IS, id)
        if not found:
            raise ValueError(
                f"nothing in the catalog has the id {id!r}; a pair that was mined anew with other "
                "settings is gone, but the JSON of its sample still has ids to trace: under a and "
                "b those of crop and view, and capture_id"
            )
        return _TRACES[found[0]["kind"]](connection, id, 0)


def _rows(connection: Connection, sql: str, id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = select_from(connection, sql, {"id": id}).to_pylist()
    return rows


def _facts(
    connection: Connection, what: str, sql: str, id: str, depth: int
) -> list[dict[str, Any]]:
    return [{"depth": depth, "what": what, **row} for row in _rows(connection, sql, id)]


def _trace_pair(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    rows = _facts(connection, "sample", SAMPLES, id, depth)
    rows += _facts(connection, "pair", PAIR, id, depth)
    rows += _facts(connection, "rejected pair", REJECTED_PAIR, id, depth)
    for crop in _rows(connection, PAIR_CROPS, id):
        crop_rows = _trace_crop(connection, crop["crop_id"], depth + 1, pairs=False)
        crop_rows[0]["what"] = f"crop {crop['role']}"
        rows += crop_rows
    return rows


def _trace_crop(
    connection: Connection, id: str, depth: int, pairs: bool = True
) -> list[dict[str, Any]]:
    crop = _rows(connection, CROP, id)[0]
    return [
        {"depth": depth, "what": "crop", **crop},
        *(_facts(connection, "in pairs", CROP_PAIRS, id, depth + 1) if pairs else []),
        *_facts(connection, "track", TRACK, crop["track_id"], depth + 1),
        *_trace_view(connection, crop["view_id"], depth + 1),
        *_facts(connection, "capture", CAPTURE, crop["capture_id"], depth + 1),
    ]


def _trace_detection(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    rows = _facts(connection, "detection", DETECTION, id, depth)
    view_id, capture_id = rows[0]["view_id"], rows[0]["capture_id"]
    return [
        *rows,
        *_facts(connection, "crop", DETECTION_CROPS, id, depth + 1),
        *_facts(connection, "rejected", REJECTS, id, depth + 1),
        *_trace_view(connection, view_id, depth + 1),
        *_facts(connection, "capture", CAPTURE, capture_id, depth + 1),
    ]


def _trace_track(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    rows = _facts(connection, "track", TRACK, id, depth)
    return [*rows, *_trace_view(connection, rows[0]["view_id"], depth + 1)]


def _trace_identity(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    return [
        row
        for track in _rows(connection, IDENTITY, id)
        for row in _trace_track(connection, track["track_id"], depth)
    ]


def _trace_view(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    return _facts(connection, "view", VIEW, id, depth)


def _trace_capture(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    return [
        *_facts(connection, "capture", CAPTURE, id, depth),
        *_facts(connection, "view", CAPTURE_VIEWS, id, depth + 1),
    ]


def _trace_label(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    return [
        *_facts(connection, "sample", SAMPLES, id, depth),
        *_facts(connection, "label", LABEL, id, depth),
        *_facts(connection, "image", LABEL_IMAGES, id, depth + 1),
    ]


def _trace_reject(connection: Connection, id: str, depth: int) -> list[dict[str, Any]]:
    return _facts(connection, "rejected", REJECTS, id, depth)


_TRACES = {
    "pair": _trace_pair,
    "rejected_pair": _trace_pair,
    "crop": _trace_crop,
    "detection": _trace_detection,
    "track": _trace_track,
    "identity": _trace_identity,
    "view": _trace_view,
    "capture": _trace_capture,
    "label": _trace_label,
    "reject": _trace_reject,
}
