"""`evaluate`: judge a checkpoint on held-out samples, of pre-training or of a task."""

import argparse
import json

from catalog import storage
from catalog.commands import add_command
from catalog.config import override
from training.commands.arguments import Commands, add_checkpoint, add_settings, add_shards
from training.commands.figures import print_figures


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        run_evaluate,
        "judge a model: completion with the true second image, another and none; or a task",
        "python -m training evaluate --checkpoint data/training/tiny --shards data/shards/demo",
    )
    add_checkpoint(parser)
    add_shards(parser)
    add_settings(parser)
    parser.add_argument("--picture", metavar="FILE", help="also draw samples into this PNG")
    parser.add_argument(
        "--matches", metavar="FILE", help="of pre-training: also draw matches into this PNG"
    )
    parser.add_argument(
        "--rows", metavar="FILE", help="of a task: each sample's figures, a Parquet file for SQL"
    )
    parser.add_argument("--split", choices=("train", "val"), default="val", help="of a task")
    parser.add_argument("--max-samples", type=int, help="of a task (default: all)")
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run_evaluate(options: argparse.Namespace) -> int:
    """Evaluate a checkpoint on the held-out samples of shard sets."""
    from training.checkpoint import find_checkpoint, read_progress

    checkpoint = find_checkpoint(options.checkpoint)
    if "task_name" in read_progress(checkpoint).config:
        return _evaluate_task(options, checkpoint)
    return _evaluate_pairs(options, checkpoint)


def _evaluate_pairs(options: argparse.Namespace, checkpoint: str) -> int:
    """Judge how a pre-trained model completes the held-out pairs."""
    from training.checkpoint import load_weights, read_progress
    from training.correspondence import correspondence_rows, format_correspondence
    from training.distributed import choose_device
    from training.evaluate import evaluate, format_rows, load_held_out
    from training.match_pictures import draw_matches
    from training.models.croco import Croco
    from training.pictures import choose_rows, draw_completions
    from training.run_config import config_from_dict, held_out_view

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
        rows += correspondence_rows(model, held_out, config.run.seed)
    if options.format == "json":
        for row in rows:
            print(json.dumps({**row, "checkpoint": checkpoint}))
    else:
        print(format_rows(rows))
        if config.model.second_image:
            print(format_correspondence(rows))
    if options.matches:
        png = draw_matches(model, held_out, choose_rows(held_out))
        storage.write_bytes(options.matches, png)
    if options.picture:
        storage.write_bytes(
            options.picture, draw_completions(model, held_out, choose_rows(held_out))
        )
    return 0


def _evaluate_task(options: argparse.Namespace, checkpoint: str) -> int:
    """Judge a fine-tuned model on the held-out samples."""
    from training.distributed import choose_device
    from training.finetuning.evaluate import held_out_batches, judge
    from training.finetuning.model import load_finetuned
    from training.finetuning.pictures import draw_samples
    from training.metrics.table import write_rows

    if options.matches:
        raise ValueError(f"--matches is of pre-training, and {checkpoint} is a model for a task")
    device = choose_device("auto")
    model, task, config = load_finetuned(checkpoint, device, options.average, options.set)
    batches = held_out_batches(options.shards, task, config, options.max_samples, options.split)
    judged = judge(model, task, batches)
    if options.rows:
        write_rows(options.rows, judged.rows)
    if options.format == "json":
        for name, value in judged.summary.items():
            row = {"metric": name, "value": value, "samples": judged.num_samples}
            print(json.dumps({**row, "task": task.name, "checkpoint": checkpoint}))
    else:
        print(f"{task.name} on {judged.num_samples} samples")
        print_figures(judged.summary)
    if options.picture:
        first = next(held_out_batches(options.shards, task, config, 8, options.split))
        storage.write_bytes(options.picture, draw_samples(model, task, first, len(first)))
    return 0
