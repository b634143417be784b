"""`python -m training`: pre-train on shards, and see what a model makes of held-out pairs."""

import argparse
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from catalog import storage
from catalog.commands import DEFAULT_ROOT, add_command, main
from catalog.config import override, to_dict

if TYPE_CHECKING:
    from training.run_config import PretrainConfig

# Threads that wait should sleep: spinning ones starve each other when cores are shared with other
# work (2 busy cores, tiny preset: 14 pairs/s spinning, 64 sleeping). Read once, as torch starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def build_parser() -> argparse.ArgumentParser:
    """The command line of the package."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pretrain = add_command(
        commands,
        "pretrain",
        run_pretrain,
        "train from shard sets; the same command goes on with a run that was stopped",
        "python -m training pretrain --shards data/shards/demo --minutes 8",
    )
    pretrain.add_argument("--preset", default="tiny", help="see `presets` (default: %(default)s)")
    budget = pretrain.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    budget.add_argument("--steps", type=int, help="stop after so many steps; repeats exactly")
    pretrain.add_argument(
        "--out", metavar="DIR", help=f"folder of the run (default: {DEFAULT_ROOT}/training/PRESET)"
    )
    evaluate = add_command(
        commands,
        "evaluate",
        run_evaluate,
        "held-out loss with the true second image, another person's, and none",
        "python -m training evaluate --checkpoint data/training/tiny --shards data/shards/demo",
    )
    evaluate.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="a run's folder or one checkpoint of it"
    )
    evaluate.add_argument("--picture", metavar="FILE", help="also draw completions into this PNG")
    evaluate.add_argument("--format", choices=("table", "json"), default="table")
    for command in (pretrain, evaluate):
        command.add_argument(
            "--shards", nargs="+", required=True, metavar="URL", help="folders with an index.json"
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="SECTION.KEY=VALUE",
            help="override a setting",
        )
    presets = add_command(
        commands,
        "presets",
        run_presets,
        "list the ready-made configs, or show one",
        "python -m training presets tiny",
    )
    presets.add_argument("name", nargs="?", help="show every value of this one, ready for --set")
    return parser


def run_pretrain(options: argparse.Namespace) -> int:
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
    out = storage.absolute(options.out or f"{DEFAULT_ROOT}/training/{options.preset}")
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
    return 0


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate a checkpoint on the held-out pairs of shard sets."""
    from training.checkpoint import find_checkpoint, load_weights, read_progress
    from training.evaluate import evaluate, format_rows, load_held_out
    from training.models.croco import Croco
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
    return 0


def run_presets(options: argparse.Namespace) -> int:
    """List the presets, or print one as `section.key = value` lines."""
    from training.presets import PRESETS

    if options.name is None:
        for name, preset in PRESETS.items():
            print(f"{name:16}{(preset.__doc__ or '').splitlines()[0]}")
        return 0
    for section, values in to_dict(find_preset(options.name)).items():
        for key, value in values.items():
            print(f"{section}.{key} = {value}")
    return 0


def find_preset(name: str) -> "PretrainConfig":
    """Return a preset's config. Raises ValueError, naming the valid ones."""
    from training.presets import PRESETS

    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


if __name__ == "__main__":
    sys.exit(main(build_parser()))
