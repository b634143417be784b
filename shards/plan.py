"""The plan of a shard set: which samples, in which tar, in which order; here of pairs, in
`label_plan.py` of labels. SQL picks them; nothing is read but the catalog, and nothing is written.

A condition picks pairs; caps keep one person or one viewing angle from filling the set; what is
left is shuffled by a hash, so that every tar mixes identities. Somebody whom the source names and
who is the only identity of a capture is one person in all of these, anybody else an identity.
The same catalog, condition and settings give the same plan, whatever the order of the rows.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.config import to_dict
from catalog.ids import ID_LENGTH
from catalog.query import select_from
from catalog.schemas import PAIRS
from shards.format import FORMAT, SPLITS, Contents
from shards.groups import MAX_GROUPS, Group

if TYPE_CHECKING:
    import duckdb

DEFAULT_WHERE = "score > 0"
ID_COLUMNS: dict[Contents, str] = {"pairs": "pair_id", "labels": "label_id"}
NOT_STATED = "not stated"  # the licence of footage whose source names none
ROWS_AT_ONCE = 10_000  # rows turned into Python objects at a time
# at the top of a pair's JSON: its row, but for the crops, which have places of their own, and who
# it is, by a hash: the names of people in pairs stay in the catalog
JSON_COLUMNS = (*(name for name in PAIRS.schema.names if name[:5] != "crop_"), "person_id")
GROUP_COLUMNS = [field.name for field in fields(Group)]

PICK_PAIRS = """
    WITH picked AS (
        -- a row is a pair that the condition picks
        SELECT * FROM pairs
        WHERE ($dataset IS NULL OR dataset = $dataset) AND (
            {where}
        )
    ), parts AS (
        -- a row is a part in a capture, with the number of people of whom it was cut
        SELECT capture_id, part, count(DISTINCT identity_id) AS num_people
        FROM crops GROUP BY capture_id, part
    ), crowds AS (
        -- a row is a capture; free hands are identities of their own, so parts are not added up
        SELECT capture_id, max(num_people) AS num_people FROM parts GROUP BY capture_id
    ), named AS (
        -- a row is a pair again, with who it is: somebody who is in several captures has an
        -- identity in each, which the subject joins, unless others are there, too
        SELECT picked.*, subject, licence,
               CASE WHEN subject IS NULL OR num_people > 1 THEN identity_id
                    ELSE left(sha256(picked.dataset || '/' || subject), 16) END AS person_id
        FROM picked LEFT JOIN captures USING (capture_id) LEFT JOIN crowds USING (capture_id)
    ), binned AS (
        -- and, here and below, its rank, best first, among its person's pairs of like view angles;
        -- those of unknown angles are ranked together, and the next step lets them all pass
        SELECT *, row_number() OVER (
            PARTITION BY person_id, part, kind, floor(view_angle_deg / $angle_bin_deg)
            ORDER BY score DESC NULLS LAST, pair_id) AS rank_in_bin
        FROM named
    ), thinned AS (
        -- and whether the cap on its bin keeps it, which is for cross-view pairs of known angles
        SELECT *, kind <> 'cross_view' OR view_angle_deg IS NULL
                  OR rank_in_bin <= coalesce($bin_cap, rank_in_bin) AS in_bin_cap
        FROM binned
    ), ranked AS (
        -- and its rank among those of its person that this cap keeps: what it drops is counted by
        -- itself, so that it takes no place within the next cap
        SELECT *, row_number() OVER (
            PARTITION BY person_id, part, kind, in_bin_cap
            ORDER BY score DESC NULLS LAST, pair_id) AS rank_in_identity
        FROM thinned
    )
    SELECT ranked.* EXCLUDE (in_bin_cap),
           CASE WHEN NOT in_bin_cap THEN 'angle_bin_cap'
                WHEN rank_in_identity > coalesce($identity_cap, rank_in_identity)
                THEN 'identity_cap' END AS reason,
           a.file AS file_a, a."offset" AS offset_a, a.length AS length_a, a.size_px AS size_px_a,
           b.file AS file_b, b."offset" AS offset_b, b.length AS length_b, b.size_px AS size_px_b
    FROM ranked
    LEFT JOIN crops AS a ON crop_a = a.crop_id
    LEFT JOIN crops AS b ON crop_b = b.crop_id
    ORDER BY ranked.split, sha256($seed || ':' || pair_id), pair_id"""

DATASETS = "SELECT DISTINCT dataset FROM pairs ORDER BY dataset"


@dataclass(frozen=True, kw_only=True)
class ShardsConfig:
    """How pairs are balanced, ordered and cut into tars."""

    seed: int = 0  # of the order of the samples
    samples_per_shard: int = 500  # also bounds memory: one tar is built at a time
    # of one person, part and kind, best score first; none: no cap
    max_pairs_per_identity_per_kind: int | None = 2000
    # cross-view pairs of one person and part in a bin of view angles, likewise
    max_pairs_per_angle_bin: int | None = 500
    angle_bin_deg: float = 15.0  # width of a bin of view angles

    def __post_init__(self) -> None:
        caps = (self.max_pairs_per_identity_per_kind, self.max_pairs_per_angle_bin)
        if self.samples_per_shard < 1 or any(cap is not None and cap < 1 for cap in caps):
            raise ValueError("samples_per_shard and the caps must be 1 or more")
        if not 0 < self.angle_bin_deg <= 360:
            raise ValueError("angle_bin_deg must be above 0 and at most 360")


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """One tar to be: its name, split, and the plan's rows that go in, in order."""

    name: str
    split: str
    rows: pa.Table
    ids: list[str]  # of the samples
    groups: list[int]  # number in `Plan.groups` of each sample


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to write."""

    dataset: str | None  # None: of all datasets
    where: str
    config: ShardsConfig
    contents: Contents
    # of `pairs` with person, licence and where each crop lies, or of `labels`; in order
    rows: pa.Table
    dropped: list[dict[str, str]]  # id, reason and detail of each pair that a cap dropped
    crop_px: int
    groups: tuple[Group, ...]  # of the samples: each dataset, kind and part, sorted
    licences: dict[str, int]  # of the footage, as its sources name them: samples of each
    plan_hash: str  # of everything that decides the bytes

    @property
    def num_in(self) -> int:
        """Samples that the condition picked, before the caps."""
        return int(self.rows.num_rows) + len(self.dropped)

    @property
    def id_column(self) -> str:
        """The column that names a sample."""
        return ID_COLUMNS[self.contents]

    @property
    def noun(self) -> str:
        """What the samples are called."""
        return "pairs" if self.contents == "pairs" else "labelled samples"

    def shards(self) -> list[PlannedShard]:
        """Cut the samples into tars, each of one split.

        A name carries the start of the plan's hash: a new plan never overwrites the tars of an
        old one, so the old set stays whole until the new index replaces the old.
        """
        shards = []
        size = self.config.samples_per_shard
        numbers = {group: number for number, group in enumerate(self.groups)}
        for split in SPLITS:
            rows = self.rows.filter(pc.equal(self.rows["split"], split))
            for number, start in enumerate(range(0, rows.num_rows, size)):
                part = rows.slice(start, size)
                groups = [numbers[Group(**row)] for row in iterate_rows(part.select(GROUP_COLUMNS))]
                shards.append(
                    PlannedShard(
                        name=f"{split}-{self.plan_hash[:8]}-{number:06d}.tar",
                        split=split,
                        rows=part,
                        ids=part[self.id_column].to_pylist(),
                        groups=groups,
                    )
                )
        return shards


def make_plan(
    connection: "duckdb.DuckDBPyConnection", dataset: str | None, where: str, config: ShardsConfig
) -> Plan:
    """Plan a shard set over an open catalog.

    Raises ValueError when the condition is not one over the columns of `pairs`, when it picks
    nothing, or when what it picks cannot be one set: a person in both splits, images of several
    sizes, a pair twice, more groups than an index can number.
    """
    rows = _pick(connection, dataset, where, config)
    if not rows.num_rows:
        found = select_from(connection, DATASETS)["dataset"].to_pylist()
        of_dataset = f" of dataset {dataset!r}" if dataset else ""
        raise ValueError(
            f"no pair{of_dataset} fulfils {where!r}; the catalog has pairs of: "
            f"{', '.join(found) or 'nothing yet'}"
        )
    refuse_duplicates(rows, "pairs or their crops", "pair_id")
    refuse_leaks(rows)
    kept = rows.filter(pc.is_null(rows["reason"]))
    kept = kept.drop_columns(["reason", "rank_in_bin", "rank_in_identity", "subject"])
    return Plan(
        dataset=dataset,
        where=where,
        config=config,
        contents="pairs",
        rows=kept,
        dropped=_dropped(rows, config),
        crop_px=_common_size_px(kept),
        groups=groups_of(kept),
        licences=licences_of(kept),
        plan_hash=hash_plan(kept, dataset, where, config),
    )


def licences_of(rows: pa.Table) -> dict[str, int]:
    """How many samples there are of each licence; `not stated` where the source names none."""
    counts = Counter(licence or NOT_STATED for licence in rows["licence"].to_pylist())
    return dict(sorted(counts.items()))


def iterate_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow table as dicts, with few of them in memory at a time."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def _pick(
    connection: "duckdb.DuckDBPyConnection", dataset: str | None, where: str, config: ShardsConfig
) -> pa.Table:
    parameters = {
        "dataset": dataset,
        "angle_bin_deg": config.angle_bin_deg,
        "bin_cap": config.max_pairs_per_angle_bin,
        "identity_cap": config.max_pairs_per_identity_per_kind,
        "seed": str(config.seed),
    }
    return pick(connection, PICK_PAIRS.format(where=where), parameters, where, "pairs")


def pick(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    parameters: dict[str, Any],
    where: str,
    table: str,
) -> pa.Table:
    """Run the query that picks rows of a table. Raises ValueError for a condition that is not one
    over its columns.
    """
    try:
        return select_from(connection, sql, parameters)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{where!r} is not a condition over the columns of {table}: {reason}; "
            f"`python -m catalog tables {table}` lists them"
        ) from None


def refuse_duplicates(rows: pa.Table, what: str, id_column: str) -> None:
    """Raise ValueError when a sample is there twice."""
    counts = rows[id_column].value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    if twice:
        raise ValueError(
            f"the catalog holds {len(twice)} {what} twice, such as {twice[0]}, as "
            "when mining was stopped half-way: run the same `python -m mining run` again"
        )


def refuse_leaks(rows: pa.Table) -> None:
    """Raise ValueError when a capture or a subject is in both splits."""
    splits: dict[tuple[str, ...], set[str]] = defaultdict(set)
    columns = ["dataset", "capture_id", "subject", "split"]
    people = rows.select([name for name in columns if name in rows.column_names])
    distinct = people.group_by(people.column_names).aggregate([]).to_pylist()
    for row in distinct:
        if "capture_id" in row:
            splits["capture", row["capture_id"]].add(row["split"])
        if row["subject"] is not None:
            splits["subject", row["subject"], "of", row["dataset"]].add(row["split"])
    unknown = {row["split"] for row in distinct} - set(SPLITS)
    leaks = sorted(" ".join(who) for who, found in splits.items() if len(found) > 1)
    if unknown:
        raise ValueError(f"there is the split {unknown.pop()!r}; splits are: {', '.join(SPLITS)}")
    if leaks:
        raise ValueError(
            f"{leaks[0]} is in both train and val: a held-out person would be trained on; "
            "correct its split in the source and mine again"
        )


def _common_size_px(pairs: pa.Table) -> int:
    found = {size for side in "ab" for size in pairs[f"size_px_{side}"].unique().to_pylist()}
    sizes = sorted(found - {None})
    if len(sizes) != 1:
        raise ValueError(
            f"the crops have {', '.join(map(str, sizes)) or 'no'} px; a shard set has one size: "
            'pick it with --where "crop_a IN (SELECT crop_id FROM crops WHERE size_px = ...)"'
        )
    return int(sizes[0])


def groups_of(rows: pa.Table) -> tuple[Group, ...]:
    """The groups of some samples, sorted. Raises ValueError for more than an index can number."""
    distinct = rows.select(GROUP_COLUMNS).group_by(GROUP_COLUMNS).aggregate([])
    groups = sorted(Group(**row) for row in distinct.to_pylist())
    if len(groups) > MAX_GROUPS:
        raise ValueError(
            f"the samples are of {len(groups)} groups (dataset, kind and part), and a shard set "
            f"has at most {MAX_GROUPS}: build several sets, such as one for each --dataset"
        )
    return tuple(groups)


def _dropped(rows: pa.Table, config: ShardsConfig) -> list[dict[str, str]]:
    columns = ["pair_id", "reason", "rank_in_bin", "rank_in_identity"]
    dropped = rows.select(columns).filter(pc.is_valid(rows["reason"])).sort_by("pair_id")
    details = {
        "angle_bin_cap": f"{{rank_in_bin}} of {config.max_pairs_per_angle_bin}",
        "identity_cap": f"{{rank_in_identity}} of {config.max_pairs_per_identity_per_kind}",
    }
    return [
        {
            "id": row["pair_id"],
            "reason": row["reason"],
            "detail": "rank " + details[row["reason"]].format(**row),
        }
        for row in iterate_rows(dropped)
    ]


def hash_plan(rows: pa.Table, dataset: str | None, where: str, config: ShardsConfig) -> str:
    """Hash the settings, every picked sample's row, and where its images lie.

    A crop file's name carries the key of its work unit, so it stands for the images themselves.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, dataset, where, to_dict(config)]).encode())
    for row in iterate_rows(rows):
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()[:ID_LENGTH]
