"""The plan of a set of labelled samples: SQL picks rows of the catalog's `labels`, and a hash
shuffles them. There are no caps: what is labelled is there to be used.
"""

from typing import TYPE_CHECKING

import pyarrow as pa

from catalog.query import select_from
from shards.plan import (
    Plan,
    ShardsConfig,
    groups_of,
    hash_plan,
    licences_of,
    pick,
    refuse_duplicates,
    refuse_leaks,
)

if TYPE_CHECKING:
    import duckdb

DEFAULT_LABELS_WHERE = "true"
PICK_LABELS = """
    SELECT * FROM labels
    WHERE ($dataset IS NULL OR dataset = $dataset) AND (
        {where}
    )
    ORDER BY split, sha256($seed || ':' || label_id), label_id"""

DATASETS = "SELECT DISTINCT dataset FROM labels ORDER BY dataset"


def make_label_plan(
    connection: "duckdb.DuckDBPyConnection", dataset: str | None, where: str, config: ShardsConfig
) -> Plan:
    """Plan a set of labelled samples over an open catalog.

    Raises ValueError as `plan.make_plan` does for pairs: for a condition that is not one over the
    columns of `labels`, and for what cannot be one set.
    """
    parameters = {"dataset": dataset, "seed": str(config.seed)}
    rows = pick(connection, PICK_LABELS.format(where=where), parameters, where, "labels")
    if not rows.num_rows:
        found = select_from(connection, DATASETS)["dataset"].to_pylist()
        of_dataset = f" of dataset {dataset!r}" if dataset else ""
        raise ValueError(
            f"no labelled sample{of_dataset} fulfils {where!r}; the catalog has those of: "
            f"{', '.join(found) or 'nothing yet'}"
        )
    refuse_duplicates(rows, "labelled samples", "label_id")
    refuse_leaks(rows.drop_columns(["capture_id"]))  # a batch of images may be of both splits
    return Plan(
        dataset=dataset,
        where=where,
        config=config,
        contents="labels",
        rows=rows,
        dropped=[],
        crop_px=_common_size_px(rows),
        groups=groups_of(rows),
        licences=licences_of(rows),
        plan_hash=hash_plan(rows, dataset, where, config),
    )


def _common_size_px(rows: pa.Table) -> int:
    sizes = sorted(rows["size_px"].unique().to_pylist())
    if len(sizes) != 1:
        raise ValueError(
            f"the images have {', '.join(map(str, sizes))} px; a shard set has one size: pick it "
            'with --where "size_px = ..."'
        )
    return int(sizes[0])
