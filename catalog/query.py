"""SQL over the catalog: one read-only DuckDB view per table.

The only module that imports duckdb.
"""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog import storage
from catalog.schemas import TABLES

Connection = duckdb.DuckDBPyConnection
SPECIAL = str.maketrans({"[": "[[]", "*": "[*]", "?": "[?]", "'": "''"})  # in a file pattern


def connect(root: str) -> Connection:
    """Open the catalog below `root` as an in-memory database with one view per table.

    The connection can read the catalog's Parquet parts and no other file. Raises ValueError when
    there is no catalog.
    """
    root = storage.absolute(root)
    folder = storage.join(root, "catalog")
    if not storage.list_folders(folder):
        raise ValueError(
            f"no catalog in {root}: mine a dataset first, or name its root with --root"
        )
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA empty")
    for name, table in TABLES.items():
        connection.register("arrow", table.schema.empty_table())
        connection.execute(f"CREATE TABLE empty.{name} AS SELECT * FROM arrow")
        connection.unregister("arrow")
        sql = f"CREATE VIEW {name} AS SELECT * FROM empty.{name}"
        if storage.list_files(storage.join(folder, name), suffix=".parquet"):
            # parts of an earlier version may lack a column: it is null there
            pattern = storage.join(_escape(folder), name, "*.parquet")
            parts = f"read_parquet('{pattern}', union_by_name = true)"
            sql += f" UNION ALL BY NAME SELECT * FROM {parts}"
        connection.execute(sql)
    # the check compares letters, of the pattern first and then of the files that it finds
    quoted = folder.replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{quoted}', '{_escape(folder)}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _escape(folder: str) -> str:
    """A folder's name within a quoted file pattern: its own special characters stand for
    themselves, as `it's [1]*` becomes `it''s [[]1][*]`.
    """
    return folder.translate(SPECIAL)


def select(root: str, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
    """Run one SELECT over the catalog, `$name` parameters bound, and return its rows.

    Raises ValueError, with DuckDB's own message, for SQL that is wrong or would do anything but
    read.
    """
    with connect(root) as connection:
        return select_from(connection, sql, parameters)


def select_from(
    connection: Connection, sql: str, parameters: dict[str, Any] | None = None
) -> pa.Table:
    """Run one SELECT on an open connection; see `select`."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ValueError("one SELECT at a time, please: the catalog is read-only")
        return connection.sql(sql, params=parameters or {}).to_arrow_table()
    except duckdb.Error as error:
        raise ValueError(f"the query did not run: {error}") from None


def evaluate(expression: str, rows: pa.Table) -> list[float | None]:
    """Evaluate a SQL expression over the columns of an Arrow table, row by row.

    Raises ValueError when the expression is not SQL over those columns or does not give numbers.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET enable_external_access = false")
        connection.register("terms", rows)
        values: list[float | None] = select_from(connection, _score_sql(expression))[
            "score"
        ].to_pylist()
        return values


def check_row_expression(expression: str, empty: pa.Table) -> None:
    """Raise ValueError unless a SQL expression gives a number for each row from that row's columns
    alone, always the same: no subquery, window, aggregate, nor a function of chance or the clock.

    `empty` is a table without rows that has the columns.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET enable_external_access = false")
        connection.register("terms", empty)
        rows = select_from(connection, _score_sql(expression))  # refuses what is no SELECT
        kind = str(select_from(connection, f"SELECT ({expression}\n) FROM terms").schema.types[0])
        tree = connection.execute(
            "SELECT json_serialize_sql($sql)", {"sql": _score_sql(expression)}
        ).fetchone()
        volatile = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
    if kind in ("string", "binary"):
        raise ValueError(f"a score is a number for each pair, this gives values of type {kind}")
    found = {token.lower() for token in _tokens(json.loads(tree[0] if tree else "{}"))}
    bad = found & {"subquery", "window", "star", *(name for (name,) in volatile)}
    if rows.num_rows or rows.num_columns != 1:
        bad.add("aggregate")  # which gives one row even where there is none
    if bad:
        raise ValueError(
            "a score is worked out from the columns of its own row alone: no subquery, window, "
            f"aggregate or function of chance or time, found {', '.join(sorted(bad))}"
        )


def _score_sql(expression: str) -> str:
    """The query for a column of scores; the expression may end with a comment."""
    return f"SELECT CAST(({expression}\n) AS DOUBLE) AS score FROM terms"


def _tokens(node: Any) -> Iterator[str]:
    """The classes of expressions and names of functions in a parsed query."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("class", "function_name") if node.get(key))
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _tokens(child)


def count_rows(root: str) -> dict[str, int]:
    """Rows of every table."""
    with connect(root) as connection:
        return {
            name: select_from(connection, f"SELECT count(*) AS n FROM {name}")["n"][0].as_py()
            for name in TABLES
        }


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Write rows as Parquet to an open binary file, such as standard output."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    file.write(sink.getvalue())
