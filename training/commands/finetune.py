"""`finetune`: train a task's head, and its encoder, on labelled images."""

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
from training.commands.figures import print_figures
from training.commands.running import run_and_report


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "finetune",
        run_finetune,
        "train a task from labelled shards; the same command goes on with a stopped run",
        "python -m training finetune --task body_mesh --init data/training/tiny "
        "--shards data/shards/synthetic-labelled",
    )
    parser.add_argument("--task", required=True, help="see `presets`")
    parser.add_argument(
        "--preset", default="tiny", help="tiny, small or base (default: %(default)s)"
    )
    parser.add_argument(
        "--init",
        default="random",
        metavar="FROM",
        help="where the encoder starts: random, a pre-training run or checkpoint, a published file "
        "of CroCo (.pth), or timm:NAME (default: %(default)s)",
    )
    add_budget(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help=f"folder of the run (default: {DEFAULT_ROOT}/finetuning/TASK-PRESET)",
    )
    add_shards(parser)
    add_settings(parser)


def run_finetune(options: argparse.Namespace) -> int:
    """Train, then print the held-out figures and where things are."""
    from training.finetuning.config import make_config
    from training.finetuning.finetune import finetune
    from training.loop import TrainResult

    config = make_config(options.task, options.preset, options.init)
    config = override(config, [*options.set, *budget_settings(options)])
    name = f"{options.task}-{options.preset}"
    out = storage.absolute(options.out or f"{DEFAULT_ROOT}/finetuning/{name}")

    def print_rows(result: TrainResult) -> None:
        print_figures({row["metric"]: row["value"] for row in result.rows})

    return run_and_report(lambda show: finetune(config, options.shards, out, show), print_rows)
