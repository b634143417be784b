"""What mining a dataset gave: how much of everything, how long it took, where it lies."""

from typing import Any

from catalog import storage
from catalog.query import connect, select_from

SUMMARY = """
    WITH mined AS (SELECT * FROM units WHERE dataset = $dataset),
         timed AS (SELECT DISTINCT ON (stage) * FROM runs WHERE dataset = $dataset
                   ORDER BY stage, started DESC),
         sets AS (SELECT DISTINCT shard_set, 'pairs' AS noun FROM samples JOIN pairs USING (pair_id)
                  WHERE dataset = $dataset
                  UNION SELECT shard_set, 'labelled samples'
                  FROM samples JOIN labels USING (label_id)
                  WHERE dataset = $dataset)
    SELECT 'captures' AS what, count(*)::VARCHAR AS amount, NULL AS detail
    FROM captures WHERE dataset = $dataset HAVING count(*) > 0
    UNION ALL SELECT 'views', count(*)::VARCHAR,
                     format('calibration given {}, estimated {}',
                            count(*) FILTER (calibration = 'given'),
                            count(*) FILTER (calibration = 'estimated'))
    FROM views JOIN captures USING (capture_id) WHERE dataset = $dataset HAVING count(*) > 0
    UNION ALL SELECT 'frames', coalesce(sum(num_kept), 0)::VARCHAR, NULL
    FROM mined WHERE stage = 'decode' HAVING count(*) > 0
    UNION ALL SELECT 'people and hands', coalesce(sum(num_in), 0)::VARCHAR, NULL
    FROM mined WHERE stage = 'detect' HAVING count(*) > 0
    UNION ALL (SELECT 'crops ' || part, count(*)::VARCHAR,
                      count(DISTINCT identity_id) || ' identities'
               FROM crops WHERE dataset = $dataset GROUP BY part ORDER BY part)
    UNION ALL (SELECT 'pairs ' || part, count(*)::VARCHAR,
                      format('{}, score {:.2f} (median)', kind, median(score))
               FROM pairs WHERE dataset = $dataset GROUP BY part, kind ORDER BY part, kind)
    UNION ALL (SELECT 'labelled ' || part, count(*)::VARCHAR,
                      format('{}, {} people, val {}', kind, count(DISTINCT subject),
                             count(*) FILTER (split = 'val'))
               FROM labels WHERE dataset = $dataset GROUP BY part, kind ORDER BY part, kind)
    UNION ALL (SELECT 'gesture', count(*)::VARCHAR, gesture
               FROM labels WHERE dataset = $dataset AND gesture IS NOT NULL
               GROUP BY gesture ORDER BY gesture)
    UNION ALL (SELECT 'rejected', count(*)::VARCHAR, rejects.stage || ': ' || reason
               FROM rejects JOIN mined USING (stage, unit)
               GROUP BY rejects.stage, reason ORDER BY count(*) DESC, reason)
    UNION ALL SELECT 'lost', sum(num_failed)::VARCHAR, 'see `python -m mining failures`'
    FROM mined HAVING sum(num_failed) > 0
    UNION ALL (SELECT 'shards', count(*)::VARCHAR,
                      format('{} {}, {:.1f} MB in {}', sum(samples), noun,
                             sum(bytes) / 1e6, url)
               FROM shards JOIN shard_sets USING (shard_set) JOIN sets USING (shard_set)
               GROUP BY url, noun ORDER BY url)
    UNION ALL SELECT 'seconds', format('{:.1f}', sum(wall_s)),
                     string_agg(format('{} {:.1f}', stage, wall_s), ', ' ORDER BY started)
    FROM timed HAVING count(*) > 0
    UNION ALL SELECT 'frames per second',
                     format('{:.1f}', sum(num_frames) / sum(wall_s)), NULL
    FROM timed WHERE stage = 'segment' HAVING count(*) > 0"""


DATASETS = """
    SELECT dataset FROM captures UNION SELECT dataset FROM labels ORDER BY dataset"""


def summarize(root: str, dataset: str) -> list[dict[str, Any]]:
    """Rows of what, amount and detail. Raises ValueError when the catalog lacks the dataset."""
    with connect(root) as connection:
        names = select_from(connection, DATASETS)
        known = names["dataset"].to_pylist()
        if dataset not in known:
            raise ValueError(f"the catalog has no dataset {dataset!r}, only: {', '.join(known)}")
        rows: list[dict[str, Any]] = select_from(
            connection, SUMMARY, {"dataset": dataset}
        ).to_pylist()
    root = storage.absolute(root)
    rows.append({"what": "catalog", "amount": "", "detail": storage.join(root, "catalog")})
    return rows
