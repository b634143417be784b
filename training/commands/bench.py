"""`bench`: how fast the loader and the trainer are."""

import argparse
import sys

from catalog import storage
from catalog.commands import add_command
from catalog.config import override
from catalog.report import print_measured
from training.commands.arguments import Commands, add_report, add_settings, add_shards, size_of


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "bench",
        run_bench,
        "measure the loader against bare decoding, and a step against the model plainly written",
        "python -m training bench --shards data/shards/demo",
    )
    parser.add_argument("--size", choices=("cpu", "gpu"), help="default: gpu where there is one")
    add_shards(parser)
    add_report(parser)
    add_settings(parser, "KEY=VALUE")


def run_bench(options: argparse.Namespace) -> int:
    """Measure speed and record the figures."""
    from catalog.measurements import record
    from training.bench import BENCHES, measure_speed

    bench = override(BENCHES[size_of(options)](), options.set)
    root, rows = storage.absolute(options.root), []

    def show(text: str) -> None:
        print(f"measuring {text}", file=sys.stderr, flush=True)

    for measured in measure_speed(options.shards, bench, show):
        rows += record(root, "bench-train", measured)  # at once: a later part may be cut off
    print_measured(rows, options.format)
    return 0
