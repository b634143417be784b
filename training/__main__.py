"""`python -m training`: pre-train on shards, see what a model makes of held-out pairs, export."""

import argparse
import json
import os
import sys
from dataclasses import replace
from typing import Any

from catalog import storage
from catalog.commands import DEFAULT_ROOT, add_command, main
from catalog.config import override, to_dict

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
    pretrain.add_argument(
        "--method", default="both", help="what is completed from what (default: %(default)s)"
    )
    pretrain.add_argument(
        "--keypoints", action="store_true", help="also find the mined 2D keypoints, as second loss"
    )
    budget = pretrain.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    budget.add_argument("--steps", type=int, help="stop after so many steps; repeats exactly")
    pretrain.add_argument(
        "--out",
        metavar="DIR",
        help=f"folder of the run (default: {DEFAULT_ROOT}/training/PRESET[-METHOD])",
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
    evaluate.add_argument("--matches", metavar="FILE", help="also draw matches into this PNG")
    evaluate.add_argument(
        "--average", action="store_true", help="with the running mean of the weights"
    )
    evaluate.add_argument("--format", choices=("table", "json"), default="table")
    export = add_command(
        commands,
        "export",
        run_export,
        "write a checkpoint for others: for timm, in CroCo's published layout, with a model card",
        "python -m training export --checkpoint data/training/tiny --out tiny-encoder",
    )
    export.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="a run's folder or one checkpoint of it"
    )
    export.add_argument("--out", required=True, metavar="DIR", help="new folder for the files")
    export.add_argument(
        "--layout",
        choices=("timm", "published", "all"),
        default="all",
        help="the encoder alone, CroCo's layout, or both and the whole model (default: all)",
    )
    export.add_argument(
        "--average", action="store_true", help="take the running mean of the weights"
    )
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
    study = add_command(
        commands,
        "study-pretrain",
        run_study_pretrain,
        "train the method and what it is compared with, and judge them on the same held-out people",
        "python -m training study-pretrain --shards data/shards/synthetic --size cpu",
    )
    study.add_argument("--size", choices=("cpu", "gpu"), help="default: gpu where there is one")
    study.add_argument("--steps", type=int, help="of each cell, instead of the size's own")
    study.add_argument("--cells", nargs="+", metavar="NAME", help="instead of the size's own")
    bench = add_command(
        commands,
        "bench",
        run_bench,
        "measure the loader against bare decoding, and a step against the model plainly written",
        "python -m training bench --shards data/shards/demo",
    )
    bench.add_argument("--size", choices=("cpu", "gpu"), help="default: gpu where there is one")
    for command in (study, bench):
        command.add_argument("--shards", nargs="+", required=True, metavar="URL")
        command.add_argument("--root", default=DEFAULT_ROOT, help="where the report is written")
        command.add_argument("--format", choices=("table", "json", "markdown"), default="table")
    bench.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value of the size",
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
    from training.correspondence import format_correspondence
    from training.distributed import is_first
    from training.evaluate import format_rows
    from training.presets import compose
    from training.pretrain import pretrain
    from training.progress import ProgressLine
    from training.stopping import EXIT_CODE

    config = compose(options.preset, options.method, options.keypoints)
    config = override(config, options.set)
    if options.minutes is not None:
        config = replace(
            config, run=replace(config.run, minutes=options.minutes, num_steps=None, epochs=None)
        )
    if options.steps is not None:
        config = replace(
            config, run=replace(config.run, num_steps=options.steps, minutes=None, epochs=None)
        )
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


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate a checkpoint on the held-out pairs of shard sets."""
    from training.checkpoint import find_checkpoint, load_weights, read_progress
    from training.correspondence import (
        CorrespondenceConfig,
        correspondence_rows,
        format_correspondence,
    )
    from training.distributed import choose_device
    from training.evaluate import evaluate, format_rows, load_held_out
    from training.match_pictures import draw_matches
    from training.models.croco import Croco
    from training.pictures import choose_rows, draw_completions
    from training.run_config import config_from_dict, held_out_view

    checkpoint = find_checkpoint(options.checkpoint)
    config = override(config_from_dict(read_progress(checkpoint).config), options.set)
    model = Croco(config.model).to(choose_device(config.run.device))
    load_weights(checkpoint, model, average=options.average)
    if options.matches and not config.model.second_image:
        raise ValueError(
            f"--matches needs a model with a second image; that of {checkpoint} has none"
        )
    held_out = load_held_out(
        options.shards, config.loader, held_out_view(config), config.evaluate.max_pairs
    )
    if held_out is None:
        raise ValueError(
            f"no held-out pairs in {', '.join(options.shards)}: their indexes have no val shard"
        )
    rows = evaluate(model, held_out, config.masking.foreground_share)
    if model.config.second_image:
        rows += correspondence_rows(model, held_out, CorrespondenceConfig())
    if options.format == "json":
        for row in rows:
            print(json.dumps({**row, "checkpoint": checkpoint}))
    else:
        print(format_rows(rows))
        if config.model.second_image:
            print(format_correspondence(rows))
    if options.matches:
        png = draw_matches(model, held_out, choose_rows(held_out), CorrespondenceConfig())
        storage.write_bytes(options.matches, png)
    if options.picture:
        storage.write_bytes(
            options.picture, draw_completions(model, held_out, choose_rows(held_out))
        )
    return 0


def run_study_pretrain(options: argparse.Namespace) -> int:
    """Run the study and record its figures."""
    import torch

    from catalog.measurements import record
    from training.progress import ProgressLine
    from training.study import STUDIES, format_study, run_study

    size = options.size or ("gpu" if torch.cuda.is_available() else "cpu")
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


def run_bench(options: argparse.Namespace) -> int:
    """Measure speed and record the figures."""
    import torch

    from catalog.measurements import record
    from training.bench import BENCHES, measure_speed

    size = options.size or ("gpu" if torch.cuda.is_available() else "cpu")
    bench = override(BENCHES[size](), options.set)
    measured = measure_speed(
        options.shards, bench, lambda text: print(f"measuring {text}", file=sys.stderr, flush=True)
    )
    rows = record(storage.absolute(options.root), "bench-train", measured)
    print_measured(rows, options.format, "")
    return 0


def print_measured(rows: list[dict[str, Any]], style: Any, text: str) -> None:
    """Print recorded figures: `text` for people where there is one, else the rows."""
    from catalog.measurements import markdown
    from catalog.report import print_rows

    if style == "markdown":
        print(markdown(rows))
    elif style == "table" and text:
        print(text)
    else:
        shown = ("metric", "value", "unit", "goal", "compared_with")
        print_rows(
            rows if style == "json" else [{key: row[key] for key in shown} for row in rows], style
        )


def run_export(options: argparse.Namespace) -> int:
    """Export a checkpoint, then say what was written."""
    from training.export import export

    names = export(options.checkpoint, options.out, options.layout, options.average)
    print(f"wrote {', '.join(names)} to {options.out}")
    return 0


def run_presets(options: argparse.Namespace) -> int:
    """List the presets and methods, or print a preset as `section.key = value` lines."""
    from training.presets import METHODS, PRESETS, compose

    if options.name is None:
        for title, known in (("presets", PRESETS), ("methods", METHODS)):
            print(f"{title}:")
            for name, function in known.items():
                print(f"  {name:16}{(function.__doc__ or '').splitlines()[0]}")
        return 0
    for section, values in to_dict(compose(options.name)).items():
        for key, value in values.items():
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"{section}.{key} = {text}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(build_parser()))
