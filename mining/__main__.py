"""`python -m mining`: mine datasets into the pair catalog; see what was kept, dropped or lost."""

import argparse
import dataclasses
import sys
import time

from catalog import parts, query, settings, storage
from catalog.commands import DEFAULT_ROOT, UsageError, add_command, main
from catalog.config import override, override_from_table
from catalog.report import print_measured, print_rows
from mining.sources.registry import BUILT_IN, resolve_dataset

STATUS = """
    SELECT dataset, count(*) AS captures, sum(num_views) AS views,
           (SELECT count(*) FROM crops WHERE crops.dataset = captures.dataset) AS crops,
           (SELECT count(*) FROM pairs WHERE pairs.dataset = captures.dataset) AS pairs,
           (SELECT coalesce(sum(num_failed), 0) FROM units WHERE units.dataset = captures.dataset)
             AS lost
    FROM captures GROUP BY dataset ORDER BY dataset"""
LABELLED_STATUS = """
    SELECT dataset, count(*) AS samples, count(DISTINCT subject) AS subjects,
           (SELECT coalesce(sum(num_failed), 0) FROM units WHERE units.dataset = labels.dataset)
             AS lost
    FROM labels GROUP BY dataset ORDER BY dataset"""
REJECTS = """
    SELECT units.dataset, rejects.stage, reason, count(*) AS dropped, any_value(detail) AS example
    FROM rejects JOIN units ON (units.stage, units.unit) = (rejects.stage, rejects.unit)
    GROUP BY ALL ORDER BY dropped DESC, reason"""
FIRST_FAILURES = """
    SELECT id, any_value(error) AS error FROM failures JOIN units USING (stage, unit)
    WHERE dataset = $dataset GROUP BY id ORDER BY id LIMIT 3"""
FAILURES = """
    SELECT units.dataset, failures.stage, failures.unit, id, attempt, num_lost, error
    FROM failures LEFT JOIN units ON (units.stage, units.unit) = (failures.stage, failures.unit)
    ORDER BY ALL"""


def run_mine(arguments: argparse.Namespace) -> int:
    """Mine a dataset; running the same command again goes on where an earlier run stopped."""
    from catalog.progress import show_line, show_progress
    from mining.config import MiningConfig
    from mining.labelling.run import label
    from mining.labelling.source import is_labelled
    from mining.run import RunOptions, check_name_is_free, mine

    started = time.perf_counter()
    if not arguments.dataset.strip():  # as a path it would mean the folder of the shell
        raise UsageError(
            "there is no dataset to mine: name one, as in make mine DATASET=demo, or give the path "
            "of a video, a folder of captures or a dataset file"
        )
    spec, table = resolve_dataset(arguments.dataset)
    config = override(override_from_table(MiningConfig(), table), arguments.set)
    check_name_is_free(storage.absolute(arguments.root), spec)
    options = RunOptions(
        root=arguments.root,
        workers=arguments.workers,
        address=arguments.address,
        limit=arguments.limit,
        prune=arguments.prune,
    )
    report = (label if is_labelled(spec.adapter) else mine)(
        spec,
        config,
        options,
        lambda done, total, stage: show_progress(done, total, stage, "units"),
        show_line,
    )
    limited = "" if arguments.limit is None else f" (of {report.num_listed}, limited)"
    if report.num_done == 0:
        print(f"{spec.name}: nothing to do, all {report.num_captures}{limited} captures are mined")
    else:
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
        print(
            f"{spec.name}: {report.num_done} units done, {report.num_skipped} done before, "
            f"in {time.perf_counter() - started:.1f} s ({stages})"
        )
    if report.num_gone:
        print(
            f"{report.num_gone} captures of earlier runs are no longer in the source: they stay in "
            "the catalog; --prune deletes them"
        )
    if report.num_broken:
        units = "unit" if report.num_broken == 1 else "units"
        print(
            f"{report.num_broken} {units} lost something: see `python -m mining failures`, "
            "and `--retry` there to do them again"
        )
        lost = query.select(arguments.root, FIRST_FAILURES, {"dataset": spec.name}).to_pylist()
        for row in lost:
            print(f"  {row['id']}: {row['error']}")
    return 0


def run_datasets(arguments: argparse.Namespace) -> int:
    """List what can be mined."""
    from mining.labelling.source import labelled_adapters
    from mining.sources.registry import paired_adapters

    rows = [{"dataset": name, "what": what} for name, what in BUILT_IN.items()]
    rows.append(
        {"dataset": "PATH", "what": "a video, a folder of captures, or a dataset file (.toml)"}
    )
    for what, adapters in (("pairs", paired_adapters()), ("labels", labelled_adapters())):
        rows += [
            {"dataset": "PATH", "what": f'a dataset file with adapter = "{adapter}": {what}'}
            for adapter in adapters
            if adapter not in BUILT_IN
        ]
    print_rows(rows, arguments.format)
    return 0


def run_settings(arguments: argparse.Namespace) -> int:
    """Print every setting with its value and meaning, ready for --set."""
    from mining.config import MiningConfig

    config = override(MiningConfig(), arguments.set)
    if arguments.format == "markdown":
        print(f"{settings.HEAD}\n\n{settings.chapter('Mining', config)}")
    else:
        print(settings.as_lines(settings.list_settings(config)))
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Show for each dataset what the catalog holds."""
    rows = query.select(arguments.root, STATUS).to_pylist()
    labelled = query.select(arguments.root, LABELLED_STATUS).to_pylist()
    if arguments.format == "json":
        print_rows([*rows, *labelled], "json")
        return 0
    for table in [rows, labelled] if rows and labelled else [rows or labelled]:
        print_rows(table, arguments.format)
    return 0


def run_rejects(arguments: argparse.Namespace) -> int:
    """Show what was dropped on purpose, by reason."""
    print_rows(query.select(arguments.root, REJECTS).to_pylist(), arguments.format)
    return 0


def run_failures(arguments: argparse.Namespace) -> int:
    """Show what was lost and why; with --retry, forget those units, so that they are done again."""
    rows = query.select(arguments.root, FAILURES).to_pylist()
    print_rows(rows, arguments.format)
    if arguments.retry:
        root = storage.absolute(arguments.root)
        scopes = {row["unit"].split(".")[0] for row in rows}
        units = {tuple(row["unit"].split(".")) for row in rows}
        for (scope, unit), outputs in parts.all_outputs(root).items():
            if (scope, unit) in units or (scope in scopes and unit == "pair"):
                parts.remove([url for _, url in outputs])
        print(f"{len(units)} units will be done again: run the command that mined them")
    return 0


def run_picture(arguments: argparse.Namespace) -> int:
    """Draw the frames that a pair or crop was cut from."""
    import cv2  # here: it takes a moment

    from mining.picture import draw_frames

    ending = arguments.out[arguments.out.rfind(".") :].lower()
    if ending not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"a picture is written as .jpg or .png, not {arguments.out!r}")
    done, data = cv2.imencode(ending, draw_frames(arguments.root, arguments.id)[..., ::-1])
    assert done, "encoding in memory does not fail"
    storage.write_bytes(arguments.out, data.tobytes())
    print(f"drawn to {arguments.out}", file=sys.stderr)
    return 0


def run_quality(arguments: argparse.Namespace) -> int:
    """Mine synthetic scenes and the demo, and measure the pairs against the truth."""
    from catalog.measurements import record
    from catalog.progress import show_progress
    from mining.quality.report import failed_goals, measure_quality

    measured = measure_quality(
        arguments.root,
        arguments.workers,
        lambda done, total, stage: show_progress(done, total, stage, "units"),
    )
    rows = record(arguments.root, "quality", measured)
    print_measured(rows, arguments.format)
    missed = failed_goals(measured)
    if missed:
        print(f"goals missed: {', '.join(missed)}", file=sys.stderr)
    return 0


def run_scaling(arguments: argparse.Namespace) -> int:
    """Pair simulated captures of growing length and show how the cost grows."""
    from mining.scaling import measure_scaling, slope

    try:
        factors = sorted({int(factor) for factor in arguments.factors.split(",")})
    except ValueError:
        factors = []
    if len(factors) < 2 or factors[0] < 1:
        raise ValueError(
            "--factors needs two or more whole numbers from 1, such as 1,2,4,8; got "
            f"{arguments.factors}"
        )
    results = measure_scaling(factors)
    print_rows([dataclasses.asdict(result) for result in results], arguments.format)
    if arguments.format == "table":
        print(f"log-log slope of seconds over footage: {slope(results):.2f} (1 is linear)")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line of the package."""
    parser = argparse.ArgumentParser(prog="python -m mining", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    mine = add_command(
        commands,
        "run",
        run_mine,
        "mine a dataset into the catalog",
        "python -m mining run ~/captures --workers 8 --set sample.fps=5",
    )
    mine.add_argument("dataset", help="demo, synthetic, a video, a folder, or a dataset file")
    mine.add_argument(
        "--workers", type=int, help="parallel workers (default: one for each core); 0: no Ray"
    )
    mine.add_argument("--address", help="address of a Ray cluster (default: a local one)")
    mine.add_argument("--limit", type=int, help="captures to mine at most")
    mine.add_argument(
        "--prune", action="store_true", help="delete what the source no longer has from the catalog"
    )
    datasets = add_command(
        commands, "datasets", run_datasets, "list what can be mined", "python -m mining datasets"
    )
    listed = add_command(
        commands,
        "settings",
        run_settings,
        "list every setting with its default and its meaning",
        "python -m mining settings",
    )
    listed.add_argument("--format", choices=["lines", "markdown"], default="lines")
    for command in (mine, listed):
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="SECTION.KEY=VALUE",
            help="override a setting; repeatable (see `settings`)",
        )
    status = add_command(
        commands, "status", run_status, "show what the catalog holds", "python -m mining status"
    )
    rejects = add_command(
        commands,
        "rejects",
        run_rejects,
        "count what was dropped, by reason",
        "python -m mining rejects",
    )
    failures = add_command(
        commands,
        "failures",
        run_failures,
        "list what was lost, and why",
        "python -m mining failures --retry",
    )
    picture = add_command(
        commands,
        "picture",
        run_picture,
        "draw the frames that a pair or crop was cut from, read from the footage again",
        "python -m mining picture 0f3c5a7b9d1e2468 --out frames.jpg",
    )
    picture.add_argument("id", help="of a pair or crop, or a sample's file name")
    picture.add_argument("--out", required=True, metavar="FILE", help=".jpg or .png to write")
    quality = add_command(
        commands,
        "quality",
        run_quality,
        "measure mined pairs against the truth of synthetic scenes",
        "python -m mining quality --format markdown",
    )
    quality.add_argument("--workers", type=int, help="parallel workers; 0: no Ray")
    quality.add_argument("--format", choices=["table", "json", "markdown"], default="table")
    failures.add_argument(
        "--retry", action="store_true", help="do these units again in the next run"
    )
    scaling = add_command(
        commands,
        "scaling",
        run_scaling,
        "measure how the cost of pairing grows with footage",
        "python -m mining scaling --factors 1,2,4,8",
    )
    scaling.add_argument("--factors", default="1,2,4,8", help="lengths, in multiples of 20 s")
    for command in (datasets, status, rejects, failures, scaling):
        command.add_argument("--format", choices=["table", "json"], default="table")
    for command in (mine, status, rejects, failures, picture, quality):
        command.add_argument(
            "--root", default=DEFAULT_ROOT, help="folder or URL (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main(build_parser()))
