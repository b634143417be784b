"""`pretrain`: train on pairs."""

import argparse

from catalog import storage
from catalog.commands import DEFAULT_ROOT, add_command
from catalog.config import override
from training.commands.arguments import (
    Commands,
    add_budget,
    add_settings,
    add_shards,
    budget_settings,
)
from training.commands.running import run_and_report


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "pretrain",
        run_pretrain,
        "train from shard sets; the same command goes on with a run that was stopped",
        "python -m training pretrain --shards data/shards/demo --minutes 8",
    )
    parser.add_argument("--preset", default="tiny", help="see `presets` (default: %(default)s)")
    parser.add_argument(
        "--method", default="both", help="what is completed from what (default: %(default)s)"
    )
    parser.add_argument(
        "--keypoints", action="store_true", help="also find the mined 2D keypoints, as second loss"
    )
    add_budget(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help=f"folder of the run (default: {DEFAULT_ROOT}/training/PRESET[-METHOD])",
    )
    add_shards(parser)
    add_settings(parser)


def run_pretrain(options: argparse.Namespace) -> int:
    """Train, then print the held-out table and where things are."""
    from training.correspondence import format_correspondence
    from training.evaluate import format_rows
    from training.loop import TrainResult
    from training.presets import compose
    from training.pretrain import pretrain

    config = compose(options.preset, options.method, options.keypoints)
    config = override(config, [*options.set, *budget_settings(options)])
    name = options.preset if options.method == "both" else f"{options.preset}-{options.method}"
    out = storage.absolute(options.out or f"{DEFAULT_ROOT}/training/{name}")

    def print_rows(result: TrainResult) -> None:
        if result.rows:
            print(format_rows(result.rows))
            if config.model.second_image:
                print(format_correspondence(result.rows))

    return run_and_report(lambda show: pretrain(config, options.shards, out, show), print_rows)
