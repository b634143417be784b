"""What the page shows: kept pairs, rejected pairs and rejected crops, and the crops in them.

An entry is one of the three. When the catalog has more than the limit, half of the places go to
kept pairs and half to what was rejected (places that one half does not need go to the other), and
within each half they are shared evenly among the strata of reason, kind, part, dataset and split.
Within a stratum the hash of id and seed decides, so that the same catalog gives the same page.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.query import Connection, select_from

STATUSES = ("kept", "rejected pair", "rejected crop")

ENTRIES = """
    WITH entries AS (
        SELECT 'kept' AS status, NULL AS stage, pair_id AS entry_id, *,
               NULL AS reason, NULL AS detail
        FROM pairs
        UNION ALL BY NAME
        SELECT 'rejected pair' AS status, 'pair' AS stage, pair_id AS entry_id, *
        FROM rejected_pairs
        UNION ALL BY NAME
        SELECT 'rejected crop' AS status, rejects.stage, detection_id AS entry_id, part,
               captures.dataset, capture_id, detection_id AS crop_a, captures.split,
               detections.sharpness AS sharpness_min, detections.truncation AS truncation_max,
               detections.occlusion AS occlusion_max, reason, rejects.detail
        FROM rejects JOIN detections USING (detection_id) JOIN captures USING (capture_id)
    ), picked AS (
        SELECT * FROM entries
        WHERE ($dataset IS NULL OR dataset = $dataset) AND (
            {where}
        )
    )"""

SAMPLE = """
    , hashed AS (
        SELECT *, md5(entry_id || $seed) AS draw,
               coalesce(reason, '') || '/' || coalesce(kind, '') AS why
        FROM picked
    ), ranked AS (
        SELECT *, row_number() OVER (
            PARTITION BY status, why, part, dataset, split ORDER BY draw, entry_id) AS rank
        FROM hashed
    ), placed AS (
        SELECT *, row_number() OVER (
            PARTITION BY status = 'kept'
            ORDER BY rank, status, why, part, dataset, split, entry_id) AS place
        FROM ranked
    ), chosen AS (
        SELECT * FROM placed ORDER BY place, status, entry_id LIMIT $limit
    )
    SELECT chosen.* EXCLUDE (draw, why, rank, place), captures.name AS capture
    FROM chosen LEFT JOIN captures USING (capture_id)
    ORDER BY status, entry_id, stage"""

TOTALS = "SELECT status, count(*) AS total FROM picked GROUP BY status"

CROPS = """
    WITH cut AS (
        SELECT crop_id AS id, * FROM crops SEMI JOIN wanted ON crops.crop_id = wanted.id
        UNION ALL BY NAME
        SELECT detection_id AS id, * FROM detections
        SEMI JOIN wanted ON detections.detection_id = wanted.id
    )
    SELECT DISTINCT ON (id) id, detection_id, identity_id, cut.part, frame_index, time_s,
           box_px, keypoints_px, detector_score, sharpness, truncation, occlusion,
           file, "offset", length, captures.name AS capture, views.name AS view
    FROM cut LEFT JOIN captures USING (capture_id) LEFT JOIN views USING (view_id)
    ORDER BY id"""

STAGES = """
    SELECT stage, counted, sum(num_in)::BIGINT AS num_in, sum(num_kept)::BIGINT AS num_kept,
           sum(num_rejected)::BIGINT AS num_rejected, sum(num_failed)::BIGINT AS num_failed
    FROM units WHERE $dataset IS NULL OR dataset = $dataset
    GROUP BY stage, counted
    ORDER BY list_position(['list', 'probe', 'calibrate', 'sync', 'decode', 'detect', 'identify',
                            'crop', 'pair', 'shards'], stage), counted"""

DROPPED = """
    WITH mined AS (
        SELECT DISTINCT stage, unit FROM units WHERE $dataset IS NULL OR dataset = $dataset
    ), dropped AS (
        SELECT 'rejected' AS what, stage, reason, 1 AS number, detail AS example
        FROM rejects SEMI JOIN mined USING (stage, unit)
        UNION ALL
        SELECT 'failed', stage, error, num_lost, id
        FROM failures SEMI JOIN mined USING (stage, unit)
    )
    SELECT what, stage, reason, sum(number)::BIGINT AS number, min(example) AS example
    FROM dropped GROUP BY what, stage, reason
    ORDER BY what, number DESC, stage, reason LIMIT 500"""


@dataclass(frozen=True)
class Entries:
    """What the page shows, and how much there is of it in the catalog.

    `rows` are the entries: the columns of `pairs` with `status`, `stage`, `entry_id`, `reason`,
    `detail` and `capture` (its name). `crops` has one row for each distinct crop in them (`id`:
    of the crop, or of the detection where no crop was kept), ordered so that crops that are looked
    at together lie together. `totals` counts the catalog's entries by status; `stages` and
    `dropped` count what was mined, and what was dropped by reason, with or without a picture.
    """

    rows: pa.Table
    crops: pa.Table
    totals: dict[str, int]
    stages: list[dict[str, Any]]
    dropped: list[dict[str, Any]]


def find_entries(
    connection: Connection, *, dataset: str | None, where: str, limit: int, seed: int
) -> Entries:
    """Choose at most `limit` entries of a dataset (None: of all) that fulfil a SQL condition.

    Raises ValueError for a limit below 1, a condition that is not one, or a dataset that the
    catalog lacks.
    """
    if limit < 1:
        raise ValueError(f"the page needs room for at least 1 entry, got a limit of {limit}")
    _require_dataset(connection, dataset)
    picked = ENTRIES.format(where=where)
    named = {"dataset": dataset}
    try:
        totals = select_from(connection, picked + TOTALS, named).to_pylist()
        rows = select_from(
            connection, picked + SAMPLE, {**named, "limit": limit, "seed": str(seed)}
        )
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{where!r} is not a condition over the columns of pairs, with `status`, `reason` and "
            f"`detail`: {reason}"
        ) from None
    counts = {row["status"]: row["total"] for row in totals}
    return Entries(
        rows=rows,
        crops=_crops_of(connection, rows),
        totals={status: counts.get(status, 0) for status in STATUSES},
        stages=select_from(connection, STAGES, named).to_pylist(),
        dropped=select_from(connection, DROPPED, named).to_pylist(),
    )


def _require_dataset(connection: Connection, dataset: str | None) -> None:
    names = select_from(connection, "SELECT DISTINCT dataset FROM captures ORDER BY 1")
    known = names["dataset"].to_pylist()
    if dataset is not None and dataset not in known:
        raise ValueError(f"the catalog has no dataset {dataset!r}, only: {', '.join(known)}")


def _crops_of(connection: Connection, rows: pa.Table) -> pa.Table:
    """The crops that entries show, those of one person close together and in the order of time."""
    chunks = [chunk for side in ("crop_a", "crop_b") for chunk in rows[side].chunks]
    wanted = pa.chunked_array(chunks, type=pa.string()).unique().drop_null()
    connection.register("wanted", pa.table({"id": wanted}))
    crops = select_from(connection, CROPS)
    connection.unregister("wanted")
    keys = ["capture", "identity_id", "part", "time_s", "view", "id"]
    return crops.take(pc.sort_indices(crops, [(key, "ascending") for key in keys]))
