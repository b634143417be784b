"""`python -m shards`: write mined pairs as WebDataset shards, list, show and check them."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from catalog import settings
from catalog.commands import DEFAULT_ROOT, add_command, main
from catalog.config import override
from catalog.names import dataset_name
from catalog.progress import show_progress
from catalog.query import select
from catalog.report import print_rows
from shards.build import (
    DEFAULT_WHERES,
    PART_ENDINGS,
    build_shards,
    contents_of,
    out_of_part,
    part_groups,
    remove_set,
)
from shards.format import read_index
from shards.plan import ShardsConfig

SHARD_SETS = """
    SELECT url, num_pairs, count(*) AS shards, sum(bytes)::BIGINT AS bytes, query, seed
    FROM shard_sets JOIN shards USING (shard_set) GROUP BY ALL ORDER BY url"""


def run_build(arguments: argparse.Namespace) -> int:
    """Build a shard set and print what it holds."""
    config = override(ShardsConfig(), arguments.set)
    dataset = dataset_name(arguments.dataset) if arguments.dataset else None
    outs = {arguments.part: arguments.out}
    if arguments.part == "each":
        there = part_groups(arguments.root, dataset, arguments.where)
        outs = {}
        for group in PART_ENDINGS:
            out = out_of_part(arguments.out, group)
            if group in there:
                outs[group] = out
            elif remove_set(arguments.root, dataset, out, group):
                print(f"nothing of {group} any more: their shards are deleted", file=sys.stderr)
        if not outs:
            wanted = DEFAULT_WHERES[contents_of(arguments.root, dataset)]
            if arguments.where is not None:
                wanted = arguments.where
            print(f"no pair fulfils {wanted!r}: no shards are written", file=sys.stderr)
    for group, out in outs.items():
        report = build_shards(arguments.root, dataset, out, arguments.where, config, watch, group)
        print_rows(report.rows, arguments.format)
        if report.skipped:
            print(f"nothing to do: this plan is already written in {report.url}", file=sys.stderr)
        else:
            print(f"written to {report.url}", file=sys.stderr)
        if report.num_failed:
            print(
                f"{report.num_failed} {report.noun} could not be written; the reasons: "
                f"python -m catalog sql \"SELECT * FROM failures WHERE stage = 'shards'\"",
                file=sys.stderr,
            )
    return 0


def watch(tars: Iterable[Any], total: int) -> Iterator[Any]:
    """Show how many of the tars are written."""
    return show_progress(tars, total, "shards", "tars")


def run_settings(arguments: argparse.Namespace) -> int:
    """Print every setting of `build` with its default and meaning."""
    config = ShardsConfig()
    if arguments.format == "markdown":
        print(settings.chapter("Shards", config))
    else:
        print(settings.as_lines(settings.list_settings(config)))
    return 0


def run_ls(arguments: argparse.Namespace) -> int:
    """Print the shard sets of the catalog, or the tars of one set."""
    if not arguments.url:
        print_rows(select(arguments.root, SHARD_SETS).to_pylist(), arguments.format)
        return 0
    rows = [
        {
            "name": shard.name,
            "split": shard.split,
            "samples": shard.samples,
            "bytes": shard.bytes,
            "sha256": shard.sha256,
        }
        for shard in read_index(arguments.url).shards
    ]
    print_rows(rows, arguments.format)
    return 0


def run_peek(arguments: argparse.Namespace) -> int:
    """Print the first samples, and draw them when asked."""
    from shards.read import peek, summary_row, write_sheet  # here: they import OpenCV

    samples = peek(arguments.url, arguments.n)
    print_rows([summary_row(sample) for sample in samples], arguments.format)
    if arguments.sheet:
        write_sheet(arguments.sheet, samples)
        print(f"drawn to {arguments.sheet}", file=sys.stderr)
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Print what is wrong with a shard set; exit code 1 when anything is."""
    from shards.verify import verify  # here: it imports OpenCV

    problems = verify(arguments.url)
    if problems or arguments.format == "json":
        print_rows(problems, arguments.format)
    else:
        index = read_index(arguments.url)
        what = "pairs" if index.contents == "pairs" else "labelled samples"
        print(f"{len(index.shards)} shards with {index.num_samples} {what}, every one whole")
    return int(bool(problems))


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def build_parser() -> argparse.ArgumentParser:
    """The command line of the package."""
    parser = argparse.ArgumentParser(prog="python -m shards", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = add_command(
        commands,
        "build",
        run_build,
        "write the pairs, or labelled samples, that a SQL condition picks as shards",
        "python -m shards build --dataset demo --part body --where \"kind = 'cross_view'\"",
    )
    build.add_argument("--dataset", metavar="NAME", help="name or path (default: all datasets)")
    build.add_argument(
        "--part",
        choices=["body", "hands", "each"],
        help="bodies, hands (to ROOT/shards/<dataset>-hands), or a set for each (with --out: OUT "
        "and OUT-hands); default: all parts in one set",
    )
    build.add_argument(
        "--out", metavar="URL", help="folder to write to (default: ROOT/shards/<dataset or all>)"
    )
    build.add_argument(
        "--where",
        metavar="SQL",
        help="condition over the columns of the table pairs, or of labels where the dataset is "
        f"labelled (default: {DEFAULT_WHERES['pairs']}; all labels)",
    )
    build.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a setting; repeatable (see `settings`)",
    )
    ls = add_command(
        commands,
        "ls",
        run_ls,
        "list the shard sets of a catalog, or the tars of one set",
        "python -m shards ls data/shards/demo",
    )
    ls.add_argument("url", nargs="?", metavar="URL", help="folder of a shard set")
    peek = add_command(
        commands,
        "peek",
        run_peek,
        "show the first samples of a shard set or of one tar",
        "python -m shards peek data/shards/demo -n 8 --sheet pairs.jpg",
    )
    peek.add_argument("url", metavar="URL", help="folder of a shard set, or a tar in it")
    peek.add_argument("-n", type=positive, default=8, metavar="N", help="how many (default: 8)")
    peek.add_argument("--sheet", metavar="FILE", help="draw them to this .jpg or .png file")
    verify = add_command(
        commands,
        "verify",
        run_verify,
        "check every tar, sample and image of a shard set against its index",
        "python -m shards verify data/shards/demo",
    )
    verify.add_argument("url", metavar="URL", help="folder of a shard set")
    listed = add_command(
        commands,
        "settings",
        run_settings,
        "list every setting of `build` with its default and its meaning",
        "python -m shards settings",
    )
    listed.add_argument("--format", choices=["lines", "markdown"], default="lines")
    for command in (build, ls, peek, verify):
        command.add_argument("--format", choices=["table", "json"], default="table")
    for command in (build, ls):
        command.add_argument(
            "--root", default=DEFAULT_ROOT, help="folder or URL (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main(build_parser()))
