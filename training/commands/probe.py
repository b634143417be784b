"""`probe`: what a frozen encoder knows of gestures."""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from catalog.commands import add_command
from catalog.config import override
from training.commands.arguments import Commands, add_preset, add_settings, add_shards


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "probe",
        run_probe,
        "classify gestures by a frozen encoder: a linear probe, and nearest neighbours",
        "python -m training probe --init data/training/tiny "
        "--shards data/shards/synthetic-labelled-hands",
    )
    add_preset(parser)
    parser.add_argument("--init", default="random", metavar="FROM", help="as of `finetune`")
    add_shards(parser)
    add_settings(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run_probe(options: argparse.Namespace) -> int:
    """Probe an encoder and print the figures."""
    from catalog.report import print_rows
    from training.finetuning.config import choose_preset, make_config
    from training.finetuning.probe_gestures import probe_gestures

    preset, said = choose_preset(options.preset, "gesture", options.init)
    config = override(make_config("gesture", preset, options.init), options.set)
    print(said, file=sys.stderr)

    def watch(split: str, batches: Iterable[Any]) -> Iterable[Any]:
        return tqdm(batches, desc=f"features of {split}", unit="batch", disable=None)

    rows = probe_gestures(config, options.shards, watch)
    if options.format == "json":
        sys.stdout.writelines(json.dumps({**row, "init": options.init}) + "\n" for row in rows)
    else:
        print_rows(rows, options.format)
    return 0
