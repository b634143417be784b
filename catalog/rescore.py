"""Rank mined pairs anew: rewrite the column `score` of the parts of `pairs`, and nothing else.

A score is a pure function of a pair's terms, so a part rescored with an expression is, to the byte,
the part that mining writes with it. Parts are rewritten one by one, each atomically, and only those
whose scores change: a run that was killed is finished by the same command.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import parts, query, storage
from catalog.ids import content_id
from catalog.parts import PartName
from catalog.runs import record_run
from catalog.schemas import PAIR_TERMS, PAIRS
from catalog.scores import expression_of

# The expression ends with a line of its own, so that it may end with a comment.
CHANGES = """
    SELECT dataset, capture_id, count(*) AS num_pairs,
           count(*) FILTER (before IS DISTINCT FROM after) AS num_changed
    FROM (SELECT dataset, capture_id, score AS before, CAST(({expression}
          ) AS DOUBLE) AS after FROM pairs)
    WHERE dataset = $dataset OR $dataset IS NULL
    GROUP BY ALL ORDER BY dataset, capture_id"""
MEDIANS = """
    SELECT median(score) AS before, median(CAST(({expression}
           ) AS DOUBLE)) AS after
    FROM pairs WHERE dataset = $dataset OR $dataset IS NULL"""


@dataclass(frozen=True, kw_only=True)
class ScoreChange:
    """What a new ranking changed: `num_pairs` looked at, of which `num_changed` have another score
    now, in `num_parts` parts; the median scores before and after, None without pairs.
    """

    num_pairs: int
    num_changed: int
    num_parts: int
    median_before: float | None
    median_after: float | None


def check_score(score: str) -> str:
    """The SQL of a preset's name or of an expression. Raises ValueError, in one sentence, where it
    is not SQL that gives one number for each pair from the terms in its row alone.
    """
    expression = expression_of(score)
    terms = pa.schema([pa.field(column.name, column.type) for column in PAIR_TERMS])
    query.check_row_expression(expression, terms.empty_table())
    return expression


def rescore(root: str, dataset: str | None, score: str) -> ScoreChange:
    """Rank the pairs of a dataset, or of all, by a preset's name or a SQL expression.

    Where nothing changes, nothing is written; else `runs` gets a row too. Raises ValueError for an
    expression that is none (see `check_score`).
    """
    expression = check_score(score)
    root = storage.absolute(root)
    started, clock = datetime.now(UTC), time.perf_counter()
    bound = {"dataset": dataset}
    with query.connect(root) as connection:
        sql = CHANGES.format(expression=expression)
        captures = query.select_from(connection, sql, bound).to_pylist()
        sql = MEDIANS.format(expression=expression)
        medians = query.select_from(connection, sql, bound).to_pylist()[0]
    changed = {row["capture_id"] for row in captures if row["num_changed"]}
    names = [name for name in sorted(parts.list_parts(root, "pairs")) if name.scope in changed]
    for name in names:
        _rewrite(root, name, expression)
    asked = {"score": score, "expression": expression}
    for name in sorted({row["dataset"] for row in captures if row["num_changed"]}):
        record_run(
            root,
            content_id("rescore", name, asked, started.isoformat()),
            "rescore",
            dataset=name,
            config=asked,
            started=started,
            wall_s=time.perf_counter() - clock,
            num_units=len(names),
        )
    return ScoreChange(
        num_pairs=sum(row["num_pairs"] for row in captures),
        num_changed=sum(row["num_changed"] for row in captures),
        num_parts=len(names),
        median_before=medians["before"],
        median_after=medians["after"],
    )


def _rewrite(root: str, name: PartName, expression: str) -> None:
    """Write a part again with new scores; columns that an earlier version lacked become null."""
    url = parts.part_url(root, "pairs", name)
    table = pq.read_table(pa.BufferReader(storage.read_bytes(url)))
    columns = {
        field.name: table[field.name]
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in PAIRS.schema
        if field.name != "score"
    }
    terms = pa.table(columns)
    columns["score"] = pa.array(query.evaluate(expression, terms), pa.float64())
    rescored = pa.table([columns[field.name] for field in PAIRS.schema], schema=PAIRS.schema)
    parts.write_table(url, rescored.combine_chunks())
