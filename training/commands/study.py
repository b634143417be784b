"""`study`: does pre-training on pairs pay in fine-tuning?"""

import argparse

from catalog import storage
from catalog.commands import DEFAULT_ROOT, add_command
from catalog.config import override
from training.commands.arguments import Commands, size_of


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "study",
        run_study_command,
        "fine-tune from several initializations with shares of the labels, and compare",
        "python -m training study --shards data/shards/synthetic "
        "--labels data/shards/synthetic-labelled",
    )
    parser.add_argument(
        "--size",
        choices=("cpu", "long", "gpu"),
        help="`cpu` and `long` are for two cores; default: gpu where there is one, else cpu",
    )
    parser.add_argument(
        "--shards", nargs="+", required=True, metavar="URL", help="of pairs, for pre-training"
    )
    parser.add_argument(
        "--labels", nargs="+", required=True, metavar="URL", help="of labelled images"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of it"
    )
    parser.add_argument("--root", default=DEFAULT_ROOT, help="where cells and report are written")
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run_study_command(options: argparse.Namespace) -> int:
    """Run the study; print its table, and where the rows and plots are."""
    from catalog.measurements import record_rows
    from catalog.report import print_rows
    from training.finetuning.study import run_study, summarize
    from training.finetuning.study_config import STUDIES
    from training.finetuning.study_plots import draw_study
    from training.progress import ProgressLine

    size = size_of(options)
    study = override(STUDIES[size](), options.set)
    root = storage.absolute(options.root)
    out = storage.join(root, "studies", f"finetune-{size}")
    line = ProgressLine()
    try:
        rows = run_study(study, options.shards, options.labels, out, line.show)
    finally:
        line.close()
    rows = record_rows(root, "study", rows)
    print_rows(rows if options.format == "json" else summarize(study, rows), options.format)
    for url in draw_study(study, rows, storage.join(root, "reports", "study")):
        print(f"plot {url}")
    return 0
