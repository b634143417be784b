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
    from training.distributed import is_first
    from training.evaluate import format_rows
    from training.presets import compose
    from training.pretrain import pretrain
    from training.progress import ProgressLine
    from training.stopping import EXIT_CODE

    config = compose(options.preset, options.method, options.keypoints)
    config = override(config, [*options.set, *budget_settings(options)])
    name = options.preset if options.method == "both" else f"{options.preset}-{options.method}"
    out = storage.absolute(options.out or f"{DEFAULT_ROOT}/training/{name}")
    line = ProgressLine()
    try:
        result = pretrain(config, options.shards, out, line.show)
    finally:
        line.close()
    if not is_first():
        return EXIT_CODE if result.stopped else 0
    if result.stopped:
        print(f"stopped after step {result.step}; run the same command again to go on")
        return EXIT_CODE
    if result.rows:
        print(format_rows(result.rows))
        if config.model.second_image:
            print(format_correspondence(result.rows))
    print(f"{result.step} steps; checkpoint {result.checkpoint}")
    if result.picture:
        print(f"picture {result.picture}")
    return 0
