"""`finetune`: train a task's head, and its encoder, on labelled images."""

import argparse

from catalog import storage
from catalog.commands import DEFAULT_ROOT, add_command
from catalog.config import override
from training.commands.arguments import (
    Commands,
    add_budget,
    add_preset,
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
    add_preset(parser)
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
    """Say by which preset, train, then print the held-out figures and where things are."""
    from training.distributed import is_first
    from training.finetuning.config import choose_preset, make_config
    from training.finetuning.finetune import finetune
    from training.loop import TrainResult

    preset, said = choose_preset(options.preset, options.task, options.init)
    config = make_config(options.task, preset, options.init)
    config = override(config, [*options.set, *budget_settings(options)])
    name = f"{options.task}-{preset}"
    out = storage.absolute(options.out or f"{DEFAULT_ROOT}/finetuning/{name}")

    if is_first():
        print(said, flush=True)

    def print_rows(result: TrainResult) -> None:
        print_figures({row["metric"]: row["value"] for row in result.rows})

    return run_and_report(lambda show: finetune(config, options.shards, out, show), print_rows)
