"""`python -m catalog`: ask the pair catalog questions, check it, and trace its rows to their
source.
"""

import argparse
import json
import sys
from typing import Any

from catalog import check, query, report, rescore, schemas, summary, trace
from catalog.browse.page import DEFAULT_CELL_PX, DEFAULT_LIMIT, write_page
from catalog.commands import DEFAULT_ROOT, UsageError, add_command, main
from catalog.names import dataset_name
from catalog.reasons import REASONS
from catalog.scores import PRESETS


def run_sql(arguments: argparse.Namespace) -> int:
    """Print the rows of one SELECT, or write them as Parquet to standard output."""
    if not arguments.sql.strip():
        raise UsageError(
            "there is no question: give one SELECT, as in make query "
            'SQL="SELECT kind, count(*) FROM pairs GROUP BY kind"'
        )
    table = query.select(arguments.root, arguments.sql)
    if arguments.format == "parquet":
        if sys.stdout.isatty():
            raise ValueError("Parquet is binary: send it to a file with > pairs.parquet")
        query.write_parquet(table, sys.stdout.buffer)
    else:
        report.print_rows(table.to_pylist(), arguments.format)
    return 0


def run_tables(arguments: argparse.Namespace) -> int:
    """Print every table with its row count, the columns of one table, the reasons to reject, or the
    whole reference as Markdown.
    """
    if arguments.format == "markdown":
        print(schemas.reference_markdown())
    elif arguments.table == "reasons":
        report.print_rows(
            [
                {
                    "stage": reason.stage,
                    "reason": reason.word,
                    "settings": ", ".join(reason.settings),
                    "dropped because": reason.meaning,
                }
                for reason in REASONS
            ],
            arguments.format,
        )
    elif arguments.table:
        if arguments.table not in schemas.TABLES:
            raise ValueError(f"no table {arguments.table!r}; tables: {', '.join(schemas.TABLES)}")
        columns = schemas.TABLES[arguments.table].columns
        report.print_rows(
            [{"column": c.name, "type": str(c.type), "meaning": c.meaning} for c in columns],
            arguments.format,
        )
    else:
        counts = query.count_rows(arguments.root)
        report.print_rows(
            [
                {"table": t.name, "rows": counts[t.name], "one row is": t.row}
                for t in schemas.TABLES.values()
            ],
            arguments.format,
        )
    return 0


def run_summary(arguments: argparse.Namespace) -> int:
    """Print how much of everything a dataset gave."""
    rows = summary.summarize(arguments.root, dataset_name(arguments.dataset))
    report.print_rows(rows, arguments.format)
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Run every check; exit code 1 when one does not hold."""
    results = check.check(arguments.root)
    report.print_rows(results, arguments.format)
    return int(any(result["broken"] for result in results))


def run_rescore(arguments: argparse.Namespace) -> int:
    """Rank mined pairs anew and say what changed."""
    dataset = arguments.dataset and dataset_name(arguments.dataset)
    change = rescore.rescore(arguments.root, dataset, arguments.score)
    if not change.num_pairs:
        raise ValueError(f"the catalog has no pairs of {dataset or 'any dataset'}: mine them first")
    print(
        f"{change.num_pairs} pairs, {change.num_changed} scores changed in {change.num_parts} "
        f"parts; median {_short(change.median_before)} before, {_short(change.median_after)} now"
    )
    return 0


def run_trace(arguments: argparse.Namespace) -> int:
    """Print where an id comes from."""
    rows = trace.trace(arguments.root, arguments.id)
    if arguments.format == "json":
        report.print_rows(rows, "json")
        return 0
    for row in rows:
        indent = "  " * row["depth"]
        facts = [
            f"{name} {_short(value)}"
            for name, value in row.items()
            if name not in ("depth", "what") and value is not None
        ]
        print(f"{indent}{row['what']}: {', '.join(facts)}")
    return 0


def run_browse(arguments: argparse.Namespace) -> int:
    """Write the page to look at pairs, and say what it shows and where it is."""
    written = write_page(
        arguments.root,
        arguments.out,
        dataset=None if arguments.dataset is None else dataset_name(arguments.dataset),
        where=arguments.where,
        limit=arguments.limit,
        seed=arguments.seed,
        cell_px=arguments.size_px,
    )
    report.print_rows(written.rows)
    return 0


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return json.dumps([round(item, 1) if isinstance(item, float) else item for item in value])
    return str(value)


def build_parser() -> argparse.ArgumentParser:
    """The command line of the package."""
    parser = argparse.ArgumentParser(prog="python -m catalog", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sql = add_command(
        commands,
        "sql",
        run_sql,
        "ask a question in SQL (read-only)",
        'python -m catalog sql "SELECT kind, count(*) FROM pairs GROUP BY kind"',
    )
    sql.add_argument("sql", help="one SELECT over the tables (see `python -m catalog tables`)")
    sql.add_argument("--format", choices=["table", "json", "csv", "parquet"], default="table")
    tables = add_command(
        commands,
        "tables",
        run_tables,
        "list the tables, or the columns of one",
        "python -m catalog tables pairs",
    )
    tables.add_argument(
        "table", nargs="?", help="show this table's columns; `reasons`: why things are rejected"
    )
    tables.add_argument("--format", choices=["table", "json", "csv", "markdown"], default="table")
    summaries = add_command(
        commands,
        "summary",
        run_summary,
        "show how much of everything a dataset gave",
        "python -m catalog summary --dataset demo",
    )
    summaries.add_argument("--dataset", required=True, help="its name, or the path that was mined")
    summaries.add_argument("--format", choices=["table", "json"], default="table")
    checks = add_command(
        commands,
        "check",
        run_check,
        "prove that counts add up and references hold",
        "python -m catalog check",
    )
    checks.add_argument("--format", choices=["table", "json"], default="table")
    rescores = add_command(
        commands,
        "rescore",
        run_rescore,
        "rank mined pairs by another score, without mining again",
        'python -m catalog rescore --dataset demo --score "covisibility * sharpness_min"',
    )
    presets = "; ".join(f"{name}: {preset.meaning}" for name, preset in PRESETS.items())
    rescores.add_argument(
        "--score", required=True, help=f"SQL over the columns of pairs, or a preset. {presets}"
    )
    rescores.add_argument("--dataset", help="its name, or the path that was mined (default: all)")
    traces = add_command(
        commands,
        "trace",
        run_trace,
        "follow an id or a sample's name to its source file",
        "python -m catalog trace 0f3c5a7b9d1e2468",
    )
    traces.add_argument("id", help="a sample's file name, or the id of anything")
    traces.add_argument("--format", choices=["table", "json"], default="table")
    browse = add_command(
        commands,
        "browse",
        run_browse,
        "write a page to look at pairs and rejects, opened from disk",
        "python -m catalog browse --where \"view_angle_deg > 90 OR status <> 'kept'\"",
    )
    browse.add_argument("--out", help="folder for the page (default: ROOT/browse)")
    browse.add_argument("--dataset", help="only this dataset: its name, or the path that was mined")
    browse.add_argument(
        "--where",
        default="true",
        help="SQL condition over the columns of pairs, with status (kept, rejected pair, rejected "
        "crop), reason and detail",
    )
    browse.add_argument(
        "--limit",
        type=int,
        default=DEFAULT_LIMIT,
        help="pairs and rejects at most; of more, an even sample (default: %(default)s)",
    )
    browse.add_argument("--seed", type=int, default=0, help="another seed is another sample")
    browse.add_argument(
        "--size-px",
        type=int,
        default=DEFAULT_CELL_PX,
        help="side of a crop's image on the page (default: %(default)s)",
    )
    for command in (sql, tables, summaries, checks, traces, browse, rescores):
        command.add_argument(
            "--root", default=DEFAULT_ROOT, help="folder or URL (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main(build_parser()))
