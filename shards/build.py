"""Build a shard set: plan it, write its tars, then its index, then its rows in the catalog.

A tar is finished in memory and written whole, under a name that only its plan uses; the index comes
after the tars and the rows after the index. So a build may be killed anywhere: the same command
finds the tars that are there, writes the others, and the bytes are the same.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from catalog import storage
from catalog.config import to_dict
from catalog.query import connect, select
from shards import record
from shards.format import INDEX_NAME, SPLITS, Contents, ShardEntry, ShardIndex, read_index
from shards.label_plan import DEFAULT_LABELS_WHERE, make_label_plan
from shards.plan import DEFAULT_WHERE, JSON_COLUMNS, Plan, ShardsConfig, make_plan, pick
from shards.tars import WrittenTar, write_tars

TAR_NAME = re.compile(r"(train|val)-[0-9a-f]{8}-\d{6}\.tar")  # as `Plan.shards` names them

PartGroup = Literal["body", "hands"]  # one model is trained for bodies, one for hands
PART_CONDITIONS: dict[PartGroup, str] = {"body": "part = 'body'", "hands": "part <> 'body'"}
PART_ENDINGS: dict[PartGroup, str] = {"body": "", "hands": "-hands"}  # of a set's name
PARTS_THERE = """
    SELECT DISTINCT CASE part WHEN 'body' THEN 'body' ELSE 'hands' END AS part_group FROM {table}
    WHERE ($dataset IS NULL OR dataset = $dataset) AND (
        {where}
    ) ORDER BY part_group"""

LABELLED = "SELECT 1 FROM labels WHERE dataset = $dataset LIMIT 1"
DEFAULT_WHERES: dict[Contents, str] = {"pairs": DEFAULT_WHERE, "labels": DEFAULT_LABELS_WHERE}

Item = Any
Watch = Callable[[Iterable[Item], int], Iterable[Item]]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build wrote, or found written."""

    url: str
    index: ShardIndex
    noun: str  # what the samples are called
    num_in: int  # samples that the condition picked
    rejected: dict[str, int]  # by reason
    num_failed: int
    skipped: bool  # the same plan was already written

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The report as rows to print: what, amount."""
        index = self.index
        counts: list[tuple[str, int]] = [
            (f"{self.noun} picked", self.num_in),
            *((f"rejected: {reason}", count) for reason, count in self.rejected.items()),
            ("failed", self.num_failed),
            (f"{self.noun} written", index.num_samples),
            *((f"  {kind}", count) for kind, count in index.samples_by_kind.items()),
            *((f"  {split}", _num_samples(index.of_split(split))) for split in SPLITS),
            ("shards", len(index.shards)),
            ("bytes", sum(shard.bytes for shard in index.shards)),
        ]
        return [{"what": what, "amount": amount} for what, amount in counts]


def build_shards(
    root: str,
    dataset: str | None,
    out: str | None,
    where: str | None,
    config: ShardsConfig,
    watch: Watch = lambda items, total: items,
    part: PartGroup | None = None,
) -> BuildReport:
    """Write the pairs of `dataset` (None: of all) that fulfil the SQL condition `where` (None: the
    default) as shards, those of one `part` or of all; the labelled samples of a labelled dataset.

    They go to the folder `out`, by default `ROOT/shards/<dataset or all>`, with `-hands` for hands,
    and replace what an earlier plan wrote there. `watch` is given the stream of finished tars and
    their number. Raises ValueError when there is nothing to write or the plan is refused; see
    `make_plan`.
    """
    root, name = storage.absolute(root), _set_name(dataset, part)
    contents = contents_of(root, dataset)
    where = DEFAULT_WHERES[contents] if where is None else where
    if part is not None:
        where = f"({where}) AND {PART_CONDITIONS[part]}"
    url = _set_url(root, out, name)
    started, clock = datetime.now(UTC), time.perf_counter()
    with connect(root) as connection:
        make = make_plan if contents == "pairs" else make_label_plan
        plan = make(connection, dataset, where, config)
        earlier = _earlier_index(url)
        if skipped := earlier is not None and _is_whole(root, url, plan, earlier):
            index = earlier
        else:
            storage.remove_leftovers(url)
            planned = plan.shards()
            tars = write_tars(root, url, connection, plan, planned, earlier)
            index = _write_set(root, url, name, plan, list(watch(tars, len(planned))))
            wall_s = time.perf_counter() - clock
            record.record_run(root, plan, started, wall_s, index.num_failed)
    _remove_earlier(root, url, plan, index)
    return BuildReport(
        url=url,
        index=index,
        noun=plan.noun,
        num_in=plan.num_in,
        rejected=dict(sorted(Counter(row["reason"] for row in plan.dropped).items())),
        num_failed=index.num_failed,
        skipped=skipped,
    )


def contents_of(root: str, dataset: str | None) -> Contents:
    """What the shards of a dataset hold: labelled samples where it has them, else pairs."""
    labelled = dataset is not None and select(root, LABELLED, {"dataset": dataset}).num_rows
    return "labels" if labelled else "pairs"


def part_groups(root: str, dataset: str | None, where: str | None) -> list[PartGroup]:
    """The groups of parts of which a dataset (None: any) has samples that fulfil a condition.

    Raises ValueError for a condition that is not one.
    """
    table = contents_of(root, dataset)
    where = DEFAULT_WHERES[table] if where is None else where
    sql = PARTS_THERE.format(table=table, where=where)
    with connect(root) as connection:
        rows = pick(connection, sql, {"dataset": dataset}, where, table).to_pylist()
    return [row["part_group"] for row in rows]


def remove_set(root: str, dataset: str | None, out: str | None, part: PartGroup) -> bool:
    """Delete the set of a part, tars and rows, as when the dataset has no such pairs any more; tell
    whether there was one. It lies where `build_shards` puts it; another set there stays.
    """
    root, name = storage.absolute(root), _set_name(dataset, part)
    url = _set_url(root, out, name)
    earlier = _earlier_index(url)
    if earlier is None or earlier.name != name:
        return False
    storage.delete(storage.join(url, INDEX_NAME))
    for file in storage.list_files(url, suffix=".tar"):
        if TAR_NAME.fullmatch(file.rsplit("/", 1)[-1]):
            storage.delete(file)
    record.remove_rows(root, url, name)
    return True


def out_of_part(out: str | None, part: PartGroup) -> str | None:
    """The folder of a part where each part is written below one name, None: the default."""
    return out and out.rstrip("/") + PART_ENDINGS[part]


def _set_name(dataset: str | None, part: PartGroup | None) -> str:
    return (dataset or "all") + (PART_ENDINGS[part] if part else "")


def _set_url(root: str, out: str | None, name: str) -> str:
    return storage.absolute(out).rstrip("/") if out else record.default_url(root, name)


def _earlier_index(url: str) -> ShardIndex | None:
    try:
        return read_index(url)
    except ValueError:
        return None  # nothing there, or damaged: either way it is written anew


def _is_whole(root: str, url: str, plan: Plan, index: ShardIndex) -> bool:
    """Tell whether the plan is already written, without losses, and recorded in the catalog."""
    if index.plan != plan.plan_hash or index.num_failed:
        return False
    sizes_match = all(
        _size_bytes(storage.join(url, shard.name)) == shard.bytes for shard in index.shards
    )
    return sizes_match and record.is_recorded(root, record.part_name(root, url, plan, index))


def _size_bytes(url: str) -> int | None:
    try:
        return storage.size_bytes(url)
    except FileNotFoundError:
        return None


def _write_set(
    root: str, url: str, name: str, plan: Plan, written: Sequence[WrittenTar]
) -> ShardIndex:
    """Write the index over finished tars, then the rows; a tar without samples is not listed."""
    failures = [failure for tar in written for failure in tar.failures]
    tars = [tar for tar in written if tar.ids]
    if not tars:
        raise ValueError(
            f"none of the {len(failures)} {plan.noun} could be written, the first because "
            f"{failures[0]['error']}: mine the dataset again"
        )
    kinds = dict(
        zip(plan.rows[plan.id_column].to_pylist(), plan.rows["kind"].to_pylist(), strict=True)
    )
    index = ShardIndex(
        name=name,
        query=plan.where,
        seed=plan.config.seed,
        num_samples=sum(len(tar.ids) for tar in tars),
        samples_by_kind=dict(sorted(Counter(kinds[id] for tar in tars for id in tar.ids).items())),
        crop_px=plan.crop_px,
        groups=plan.groups,
        contents=plan.contents,
        licences=plan.licences,
        shards=tuple(tar.entry for tar in tars),
        plan=plan.plan_hash,
        num_failed=len(failures),
        config=to_dict(plan.config),
        columns=JSON_COLUMNS if plan.contents == "pairs" else (),
    )
    storage.write_text(storage.join(url, INDEX_NAME), index.to_json())
    samples = {tar.entry.name: tar.ids for tar in tars}
    record.record_set(root, url, plan, index, samples, failures)
    return index


def _remove_earlier(root: str, url: str, plan: Plan, index: ShardIndex) -> None:
    """Delete the tars and rows of earlier plans; files that no build wrote are left alone."""
    listed = {shard.name for shard in index.shards}
    for file in storage.list_files(url, suffix=".tar"):
        tar = file.rsplit("/", 1)[-1]
        if TAR_NAME.fullmatch(tar) and tar not in listed:
            storage.delete(file)
    record.remove_earlier(root, record.part_name(root, url, plan, index))


def _num_samples(shards: Iterable[ShardEntry]) -> int:
    return sum(shard.samples for shard in shards)
