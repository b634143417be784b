"""What a build leaves in the catalog: the shard set, its tars and samples, and what was dropped."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from catalog import parts, runs, storage
from catalog.config import to_dict
from catalog.ids import content_id
from catalog.names import slug
from catalog.parts import PartName, Row
from shards.format import ShardIndex
from shards.plan import Plan

UNIT = "shards"


def part_name(root: str, url: str, plan: Plan, index: ShardIndex) -> PartName:
    """Name the parts of a shard set: by its folder, its plan (with what the caps dropped)
    and its bytes.
    """
    scope = _scope(root, url, index.name)
    shards = [[shard.name, shard.sha256] for shard in index.shards]
    return PartName(scope, UNIT, content_id(scope, index.plan, plan.dropped, shards))


def default_url(root: str, name: str) -> str:
    """Where a shard set lies when the user names no place."""
    return storage.join(root, "shards", name)


def is_recorded(root: str, name: PartName) -> bool:
    """Tell whether a shard set's rows are all in the catalog."""
    return storage.exists(parts.part_url(root, "units", name))


def record_set(
    root: str,
    url: str,
    plan: Plan,
    index: ShardIndex,
    samples: Mapping[str, Sequence[str]],
    failures: Sequence[Row],
) -> None:
    """Write a shard set's rows. `samples` has the ids in each tar, in order; `failures` the id and
    error of each sample that was lost.
    """
    name = part_name(root, url, plan, index)
    where = {"stage": UNIT, "unit": name.unit_id}
    shard_set = {
        "shard_set": name.key,
        "url": url.removeprefix(f"{root}/"),
        "query": index.query,
        "seed": index.seed,
        "config": json.dumps(index.config, sort_keys=True),
        "num_pairs": index.num_samples,
    }
    unit = {
        **where,
        "key": name.key,
        "dataset": plan.dataset,
        "counted": "pairs" if plan.contents == "pairs" else "samples",
        "num_in": plan.num_in,
        "num_kept": index.num_samples,
        "num_rejected": len(plan.dropped),
        "num_failed": len(failures),
    }
    rows: dict[str, list[Row]] = {
        "shard_sets": [shard_set],
        "shards": [
            {
                "shard_set": name.key,
                "name": shard.name,
                "split": shard.split,
                "samples": shard.samples,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
            }
            for shard in index.shards
        ],
        "samples": [
            {"shard_set": name.key, "shard": shard, "position": position, plan.id_column: id}
            for shard, ids in samples.items()
            for position, id in enumerate(ids)
        ],
        "rejects": [{**where, **row} for row in plan.dropped],
        "failures": [{**where, **row, "attempt": 1, "num_lost": 1} for row in failures],
        "units": [unit],
    }
    parts.commit(root, name, rows)


def remove_earlier(root: str, name: PartName) -> None:
    """Delete the rows that earlier plans of the same shard set left."""
    outputs = parts.all_outputs(root).get((name.scope, name.unit), [])
    parts.remove([url for key, url in outputs if key != name.key])


def remove_rows(root: str, url: str, name: str) -> None:
    """Delete the rows of the shard set in a folder."""
    outputs = parts.all_outputs(root).get((_scope(root, url, name), UNIT), [])
    parts.remove([url for _, url in outputs])


def record_run(root: str, plan: Plan, started: datetime, wall_s: float, num_failed: int) -> None:
    """Write the row of `runs` for a build that did work; it alone knows the clock."""
    run_id = content_id(plan.plan_hash, started.isoformat())
    runs.record_run(
        root,
        run_id,
        UNIT,
        dataset=plan.dataset,
        config={"where": plan.where, **to_dict(plan.config)},
        started=started,
        wall_s=wall_s,
        num_units=1,
        num_failed=int(num_failed > 0),
    )


def _scope(root: str, url: str, name: str) -> str:
    """What the rows of a shard set are named by: in its default place the set's name, elsewhere its
    folder and that folder's URL.
    """
    if url == default_url(root, name):
        return name
    return f"{slug(url.rsplit('/', 1)[-1])}-{content_id(url)[:8]}"
