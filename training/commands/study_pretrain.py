"""`study-pretrain`: does pre-training use the second image?"""

import argparse
from dataclasses import replace

from catalog import storage
from catalog.commands import add_command
from catalog.report import print_measured
from training.commands.arguments import Commands, add_report, add_shards, size_of


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "study-pretrain",
        run_study_pretrain,
        "train the method and what it is compared with, and judge them on the same held-out people",
        "python -m training study-pretrain --shards data/shards/synthetic --size cpu",
    )
    parser.add_argument("--size", choices=("cpu", "gpu"), help="default: gpu where there is one")
    parser.add_argument("--steps", type=int, help="of each cell, instead of the size's own")
    parser.add_argument("--cells", nargs="+", metavar="NAME", help="instead of the size's own")
    add_shards(parser)
    add_report(parser)


def run_study_pretrain(options: argparse.Namespace) -> int:
    """Run the study and record its figures."""
    from catalog.measurements import record
    from training.progress import ProgressLine
    from training.study import STUDIES, format_study, run_study

    size = size_of(options)
    study = STUDIES[size]()
    if options.steps is not None:
        study = replace(study, num_steps=options.steps)
    if options.cells:
        study = replace(study, cells=tuple(options.cells))
    root = storage.absolute(options.root)
    out = storage.join(root, "studies", f"pretrain-{size}-{study.num_steps}")
    line = ProgressLine()
    try:
        results, measured = run_study(options.shards, out, study, line.show)
    finally:
        line.close()
    rows = record(root, "study-pretrain", measured)
    print_measured(rows, options.format, format_study(results))
    return 0
