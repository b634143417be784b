"""Proof that the catalog is whole: counts add up, ids are unique, references and files exist.

Each check is one SQL query that returns the offending rows; a sound catalog returns none.
"""

from typing import Any

from catalog import storage
from catalog.query import connect, select_from

CHECKS: dict[str, str] = {
    "counts add up in every unit: in = kept + rejected + failed": """
        SELECT stage, unit, num_in, num_kept, num_rejected, num_failed FROM units
        WHERE num_in <> num_kept + num_rejected + num_failed""",
    "every rejected thing is a row of rejects": """
        SELECT units.stage, units.unit, num_rejected, count(rejects.id) AS num_rows
        FROM units LEFT JOIN rejects ON (rejects.stage, rejects.unit) = (units.stage, units.unit)
        GROUP BY ALL HAVING num_rejected <> num_rows""",
    "every lost thing is accounted for in failures": """
        SELECT units.stage, units.unit, num_failed, coalesce(sum(failures.num_lost), 0) AS num_rows
        FROM units
        LEFT JOIN failures ON (failures.stage, failures.unit) = (units.stage, units.unit)
        GROUP BY ALL HAVING num_failed <> num_rows""",
    "views kept by probe are rows of views": """
        SELECT unit, num_kept, count(view_id) AS num_rows
        FROM units LEFT JOIN views USING (capture_id) WHERE stage = 'probe'
        GROUP BY ALL HAVING num_kept <> num_rows""",
    "people kept by detect are rows of detections": """
        SELECT units.unit, num_kept, count(detection_id) AS num_rows
        FROM units LEFT JOIN detections
          ON units.unit = format('{}.segment-{:05d}', detections.capture_id, detections.segment)
        WHERE stage = 'detect' GROUP BY ALL HAVING num_kept <> num_rows""",
    "what detect kept, identify took in": """
        SELECT capture_id, sum(num_kept) FILTER (stage = 'detect') AS kept,
               coalesce(sum(num_in) FILTER (stage = 'identify'), 0) AS taken
        FROM units GROUP BY capture_id HAVING kept <> taken""",
    "what identify kept, crop took in": """
        SELECT capture_id, sum(num_kept) FILTER (stage = 'identify') AS kept,
               sum(num_in) FILTER (stage = 'crop') AS taken
        FROM units GROUP BY capture_id HAVING kept <> taken""",
    "crops kept are rows of crops": """
        SELECT unit, num_kept, count(crop_id) AS num_rows
        FROM units LEFT JOIN crops USING (capture_id) WHERE stage = 'crop'
        GROUP BY ALL HAVING num_kept <> num_rows""",
    "pairs kept are rows of pairs": """
        SELECT unit, num_kept, count(pair_id) AS num_rows
        FROM units LEFT JOIN pairs USING (capture_id) WHERE stage = 'pair'
        GROUP BY ALL HAVING num_kept <> num_rows""",
    "pairs rejected are rows of rejected_pairs": """
        SELECT unit, num_rejected, count(pair_id) AS num_rows
        FROM units LEFT JOIN rejected_pairs USING (capture_id) WHERE stage = 'pair'
        GROUP BY ALL HAVING num_rejected <> num_rows""",
    "labelled samples kept are rows of labels": """
        SELECT unit, num_kept, count(label_id) AS num_rows
        FROM units LEFT JOIN labels USING (capture_id) WHERE stage = 'label'
        GROUP BY ALL HAVING num_kept <> num_rows""",
    "ids are unique": """
        SELECT 'detections' AS "table", detection_id AS id
        FROM detections GROUP BY ALL HAVING count(*) > 1
        UNION ALL SELECT 'crops', crop_id FROM crops GROUP BY ALL HAVING count(*) > 1
        UNION ALL SELECT 'pairs', pair_id
        FROM (SELECT pair_id FROM pairs UNION ALL SELECT pair_id FROM rejected_pairs)
        GROUP BY ALL HAVING count(*) > 1
        UNION ALL SELECT 'labels', label_id FROM labels GROUP BY ALL HAVING count(*) > 1
        UNION ALL SELECT 'views', view_id FROM views GROUP BY ALL HAVING count(*) > 1
        UNION ALL SELECT 'captures', capture_id FROM captures GROUP BY ALL HAVING count(*) > 1""",
    "both crops of a pair exist and show one identity's part": """
        SELECT pair_id FROM pairs
        LEFT JOIN crops AS a ON crop_a = a.crop_id LEFT JOIN crops AS b ON crop_b = b.crop_id
        WHERE (a.identity_id, a.part) IS DISTINCT FROM (pairs.identity_id, pairs.part)
           OR (b.identity_id, b.part) IS DISTINCT FROM (pairs.identity_id, pairs.part)""",
    "a hand is of the person whose wrist it hangs from": """
        SELECT hand.crop_id FROM crops AS hand
        JOIN detections USING (detection_id)
        JOIN crops AS body ON body.detection_id = detections.body_detection_id
        WHERE hand.identity_id <> body.identity_id""",
    "cross-view pairs join two views, and time gaps are true": """
        SELECT pair_id FROM pairs
        JOIN crops AS a ON crop_a = a.crop_id JOIN crops AS b ON crop_b = b.crop_id
        WHERE (kind = 'cross_view' AND a.view_id = b.view_id)
           OR abs(abs(a.time_s - b.time_s) - time_gap_s) > 1e-6""",
    "cross-view pairs come from views that belong together in time": """
        SELECT pair_id FROM pairs JOIN captures USING (capture_id)
        JOIN crops AS a ON crop_a = a.crop_id JOIN views AS va ON va.view_id = a.view_id
        JOIN crops AS b ON crop_b = b.crop_id JOIN views AS vb ON vb.view_id = b.view_id
        WHERE kind = 'cross_view'
          AND (sync = 'none' OR va.offset_s IS NULL OR vb.offset_s IS NULL)""",
    "every crop has its track, view and capture": """
        SELECT crop_id FROM crops
        LEFT JOIN tracks USING (track_id) LEFT JOIN views ON crops.view_id = views.view_id
        LEFT JOIN captures ON crops.capture_id = captures.capture_id
        WHERE tracks.track_id IS NULL OR views.view_id IS NULL OR captures.capture_id IS NULL""",
    "nobody labelled is in both splits": """
        SELECT dataset, subject FROM labels WHERE subject IS NOT NULL
        GROUP BY ALL HAVING count(DISTINCT split) > 1""",
    "every sample of a shard set is there (if not, build it again); shards count samples": """
        SELECT samples.shard_set, samples.shard, true AS dangling
        FROM samples LEFT JOIN pairs USING (pair_id) LEFT JOIN labels USING (label_id)
        WHERE pairs.pair_id IS NULL AND labels.label_id IS NULL
        UNION ALL
        SELECT shards.shard_set, name, false FROM shards
        LEFT JOIN samples ON (samples.shard_set, samples.shard) = (shards.shard_set, name)
        GROUP BY shards.shard_set, name, shards.samples
        HAVING count(coalesce(pair_id, label_id)) <> shards.samples""",
}

CROP_FILES = """
    SELECT file, max(num_bytes) AS num_bytes
    FROM (SELECT file, "offset" + length AS num_bytes FROM detections
          UNION ALL
          SELECT file, greatest(offset_a + length_a, offset_b + length_b,
                                iuv_offset_a + iuv_length_a, iuv_offset_b + iuv_length_b)
          FROM labels)
    GROUP BY file ORDER BY file"""


def check(root: str) -> list[dict[str, Any]]:
    """Run every check; one row each: what must hold, how many rows break it, the first of them."""
    results: list[dict[str, Any]] = []
    with connect(root) as connection:
        for name, sql in CHECKS.items():
            broken = select_from(connection, sql).to_pylist()
            results.append(
                {"check": name, "broken": len(broken), "first": str(broken[0]) if broken else ""}
            )
        short = [
            row
            for row in select_from(connection, CROP_FILES).to_pylist()
            if not _holds(storage.join(root, row["file"]), row["num_bytes"])
        ]
    results.append(
        {
            "check": "the tars with the images are there and long enough",
            "broken": len(short),
            "first": str(short[0]) if short else "",
        }
    )
    return results


def _holds(url: str, num_bytes: int) -> bool:
    try:
        return storage.size_bytes(url) >= num_bytes
    except FileNotFoundError:
        return False
