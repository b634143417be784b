"""Parquet parts: how the rows of a finished work unit get into the catalog, and how they are
replaced.

A part is `ROOT/catalog/<table>/<scope>.<unit>.<key>.parquet`. The key is the hash of all that went
into the unit, so any number of workers writes the same names and bytes. A unit is done when its
part of the table `units` is there: it is written last, after the unit's tar of crops
(`ROOT/crops/`, same name) and its rows in all other tables.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.schemas import TABLES

Row = dict[str, Any]
Rows = Mapping[str, Iterable[Row]]


@dataclass(frozen=True, order=True)
class PartName:
    """Names what one work unit writes.

    `scope` is the capture, dataset or shard set; no field holds a dot or slash.
    """

    scope: str
    unit: str
    key: str

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return f"{self.scope}.{self.unit}.{self.key}"

    @property
    def unit_id(self) -> str:
        """The unit's name in the columns called `unit`."""
        return f"{self.scope}.{self.unit}"


def part_url(root: str, table: str, name: PartName) -> str:
    """Where a unit's part of a table lies."""
    return storage.join(root, "catalog", table, f"{name.stem}.parquet")


def crops_file(name: PartName) -> str:
    """A unit's tar of crop images, relative to the root."""
    return f"crops/{name.stem}.tar"


def commit(root: str, name: PartName, rows: Rows, crops_tar: bytes | None = None) -> None:
    """Write a finished unit: its crops, its rows, and last its mark in `units`. Tables without rows
    get no part.

    Raises ValueError for a row with a column that the table lacks.
    """
    tables = {table: to_arrow(table, table_rows) for table, table_rows in rows.items()}
    if crops_tar is not None:
        storage.write_bytes(storage.join(root, crops_file(name)), crops_tar)
    for table in sorted(tables, key=lambda table: table == "units"):
        if tables[table].num_rows:
            write_table(part_url(root, table, name), tables[table])


def discard(root: str, name: PartName) -> None:
    """Delete what a unit wrote under this key, its mark first."""
    remove([part_url(root, table, name) for table in ("units", *TABLES)])
    storage.delete(storage.join(root, crops_file(name)))


def to_arrow(table: str, rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table with the table's schema; missing columns become null, unknown ones are
    an error.
    """
    schema = TABLES[table].schema
    rows = list(rows)
    unknown = {column for row in rows for column in row} - set(schema.names)
    if unknown:
        raise ValueError(f"table {table} has no column {', '.join(sorted(unknown))}")
    return pa.Table.from_pylist(rows, schema=schema)


def write_table(url: str, table: pa.Table) -> None:
    """Write an Arrow table as one Parquet file, atomically; the same rows give the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(url, sink.getvalue().to_pybytes())


def read_rows(root: str, table: str, name: PartName) -> list[Row]:
    """Read one unit's rows of a table; none when the unit wrote no part there."""
    url = part_url(root, table, name)
    if not storage.exists(url):
        return []
    rows: list[Row] = pq.read_table(pa.BufferReader(storage.read_bytes(url))).to_pylist()
    return rows


def read_table_rows(root: str, table: str) -> list[Row]:
    """Read all rows of a table, part by part in name order."""
    return [row for name in sorted(list_parts(root, table)) for row in read_rows(root, table, name)]


def list_parts(root: str, table: str) -> dict[PartName, str]:
    """List a table's parts with their URLs."""
    files = storage.list_files(storage.join(root, "catalog", table), suffix=".parquet")
    return {_part_name(file): file for file in files}


def output_folders(root: str) -> list[str]:
    """The folders that units write to."""
    tables = [storage.join(root, "catalog", table) for table in TABLES]
    return [*tables, storage.join(root, "crops")]


def all_outputs(root: str) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Everything that units wrote, finished or not: (scope, unit) to (key, URL), marks in `units`
    first.
    """
    outputs: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for table in ["units", *(table for table in TABLES if table != "units")]:
        for name, url in list_parts(root, table).items():
            outputs[name.scope, name.unit].append((name.key, url))
    for url in storage.list_files(storage.join(root, "crops"), suffix=".tar"):
        name = _part_name(url)
        outputs[name.scope, name.unit].append((name.key, url))
    return outputs


def remove(urls: Sequence[str]) -> None:
    """Delete files in the order given."""
    for url in urls:
        storage.delete(url)


def _part_name(url: str) -> PartName:
    scope, unit, key = url.rsplit("/", 1)[-1].rsplit(".", 1)[0].split(".")
    return PartName(scope, unit, key)
