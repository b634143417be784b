"""The command line: `python -m training pretrain | evaluate | presets`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog import storage
from catalog.config import override, to_dict

if TYPE_CHECKING:
    from training.run_config import PretrainConfig

FORMATTER = argparse.RawDescriptionHelpFormatter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 when done, 1 when the user must change something (argparse exits with
    2 on wrong usage).
    """
    # Threads that wait should sleep: spinning ones starve each other when cores are shared with
    # other work (2 busy cores, tiny preset: 14 pairs/s spinning, 64 sleeping). torch reads it once.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = make_parser().parse_args(arguments)
    try:
        options.command(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Pre-train on pairs of images of people."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "pretrain",
        help="train from shard sets; the same command continues a run that was stopped",
        description="Train from shard sets. Writes checkpoints, a log, held-out losses and a "
        "picture to --out. The same command continues a run that was stopped.",
        epilog="Example:\n  python -m training pretrain --shards data/shards/demo --minutes 8",
        formatter_class=FORMATTER,
    )
    command.add_argument(
        "--shards", nargs="+", required=True, metavar="URL", help="folders with an index.json"
    )
    command.add_argument("--preset", default="tiny", help="see `presets` (default: tiny)")
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    budget.add_argument("--steps", type=int, help="stop after so many steps; repeats exactly")
    command.add_argument(
        "--out", metavar="DIR", help="folder of the run (default: data/training/PRESET)"
    )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change the config",
    )
    command.set_defaults(command=run_pretrain)

    command = commands.add_parser(
        "evaluate",
        help="held-out loss with the true, a wrong and no second image",
        description="Print the held-out loss with the true second image, with another identity's, "
        "and with none (a plain image of ImageNet's mean colour), over all masked patches and over "
        "the person's.",
        epilog="Example:\n  python -m training evaluate --checkpoint data/training/tiny "
        "--shards data/shards/demo",
        formatter_class=FORMATTER,
    )
    command.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="a run's folder or one checkpoint of it"
    )
    command.add_argument(
        "--shards", nargs="+", required=True, metavar="URL", help="folders with an index.json"
    )
    command.add_argument("--picture", metavar="FILE", help="also draw completions into this PNG")
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="json: one object a line"
    )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change the config",
    )
    command.set_defaults(command=run_evaluate)

    command = commands.add_parser(
        "presets",
        help="list the ready-made configs, or show one",
        epilog="Example:\n  python -m training presets tiny",
        formatter_class=FORMATTER,
    )
    command.add_argument("name", nargs="?", help="show every value of this one, ready for --set")
    command.set_defaults(command=run_presets)
    return parser


def run_pretrain(options: argparse.Namespace) -> None:
    """Train, then print the held-out table and where things are."""
    from training.evaluate import format_rows
    from training.pretrain import pretrain
    from training.progress import ProgressLine

    config = override(find_preset(options.preset), options.set)
    if options.minutes is not None:
        config = replace(
            config, run=replace(config.run, minutes=options.minutes, num_steps=None, epochs=None)
        )
    if options.steps is not None:
        config = replace(
            config, run=replace(config.run, num_steps=options.steps, minutes=None, epochs=None)
        )
    out = storage.absolute(options.out or f"data/training/{options.preset}")
    line = ProgressLine()
    try:
        result = pretrain(config, options.shards, out, line.show)
    finally:
        line.close()
    if result.rows:
        print(format_rows(result.rows))
    print(f"{result.step} steps; checkpoint {result.checkpoint}")
    if result.picture:
        print(f"picture {result.picture}")


def run_evaluate(options: argparse.Namespace) -> None:
    """Evaluate a checkpoint on the held-out pairs of shard sets."""
    from training.checkpoint import find_checkpoint, load_weights, read_progress
    from training.evaluate import evaluate, format_rows, load_held_out
    from training.model import Croco
    from training.pictures import choose_rows, draw_completions
    from training.pretrain import choose_device
    from training.run_config import config_from_dict, held_out_view

    checkpoint = find_checkpoint(options.checkpoint)
    config = override(config_from_dict(read_progress(checkpoint).config), options.set)
    model = Croco(config.model).to(choose_device(config.run.device))
    load_weights(checkpoint, model)
    held_out = load_held_out(
        options.shards, config.loader, held_out_view(config), config.evaluate.max_pairs
    )
    if held_out is None:
        raise ValueError(
            f"no held-out pairs in {', '.join(options.shards)}: their indexes have no val shard"
        )
    rows = evaluate(model, held_out, config.masking.foreground_share)
    if options.format == "json":
        for row in rows:
            print(json.dumps({**row, "checkpoint": checkpoint}))
    else:
        print(format_rows(rows))
    if options.picture:
        storage.write_bytes(
            options.picture, draw_completions(model, held_out, choose_rows(held_out))
        )


def run_presets(options: argparse.Namespace) -> None:
    """List the presets, or print one as `section.key = value` lines."""
    from training.presets import PRESETS

    if options.name is None:
        for name, preset in PRESETS.items():
            print(f"{name:16}{(preset.__doc__ or '').splitlines()[0]}")
        return
    for section, values in to_dict(find_preset(options.name)).items():
        for key, value in values.items():
            print(f"{section}.{key} = {value}")


def find_preset(name: str) -> "PretrainConfig":
    """Return a preset's config. Raises ValueError, naming the valid ones."""
    from training.presets import PRESETS

    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


if __name__ == "__main__":
    sys.exit(main())
