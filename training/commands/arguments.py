"""Arguments that several commands have."""

import argparse
from typing import Any

from catalog.commands import DEFAULT_ROOT

Commands = Any  # argparse's own type for subcommands is private


def add_preset(parser: argparse.ArgumentParser) -> None:
    """The recipe of fine-tuning."""
    parser.add_argument(
        "--preset", help="tiny, small or base (default: the one that suits the encoder's width)"
    )


def add_budget(parser: argparse.ArgumentParser) -> None:
    """How long a run is."""
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    budget.add_argument("--steps", type=int, help="stop after so many steps; repeats exactly")


def budget_settings(options: argparse.Namespace) -> list[str]:
    """The asked budget as overrides of a run's config."""
    if options.minutes is not None:
        return [f"run.minutes={options.minutes}", "run.num_steps=none", "run.epochs=none"]
    if options.steps is not None:
        return [f"run.num_steps={options.steps}", "run.minutes=none", "run.epochs=none"]
    return []


def add_shards(parser: argparse.ArgumentParser) -> None:
    """Which shard sets are read."""
    parser.add_argument(
        "--shards", nargs="+", required=True, metavar="URL", help="folders with an index.json"
    )


def add_settings(parser: argparse.ArgumentParser, metavar: str = "SECTION.KEY=VALUE") -> None:
    """Overrides of a config."""
    parser.add_argument(
        "--set", action="append", default=[], metavar=metavar, help="override a setting"
    )


def size_of(options: argparse.Namespace) -> str:
    """The `--size` that was asked for; without it `gpu` where there is one, else `cpu`."""
    import torch

    return options.size or ("gpu" if torch.cuda.is_available() else "cpu")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Which model is used."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="a run's folder or one checkpoint of it"
    )
    parser.add_argument(
        "--average", action="store_true", help="take the running mean of the weights"
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    """Where a command that measures writes its report, and how it prints it."""
    parser.add_argument("--root", default=DEFAULT_ROOT, help="where the report is written")
    parser.add_argument("--format", choices=("table", "json", "markdown"), default="table")
