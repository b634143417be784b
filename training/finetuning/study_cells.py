"""Cells of the study: each trained and judged once, its figures kept in a file of its own."""

import json
import math
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from catalog import storage
from catalog.config import config_hash, override
from catalog.ids import content_id
from shards.format import read_index
from training.distributed import choose_device
from training.finetuning.config import RANDOM, FinetuneConfig, make_config
from training.finetuning.evaluate import Judged, held_out_batches, judge
from training.finetuning.finetune import finetune
from training.finetuning.frozen import (
    encode,
    reads_stages,
    rows_at,
    start_encoder,
    train_head,
    training_draws,
    usable_places,
)
from training.finetuning.model import load_finetuned
from training.finetuning.study_config import StudyConfig
from training.loop import show_nothing
from training.tasks.registry import complete_config, make_task
from training.tasks.task import Task

ENCODING_SEED = 0  # of frozen random encoders, and of how images are placed before them
NAMED = 3  # of the damaged samples, in a warning

Row = dict[str, Any]
Result = tuple[Judged, dict[str, float]]  # and what it took


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of the study, and what its rows in the report begin with."""

    init: str
    task: str
    label_share: float
    seed: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.task}-{self.init}-{self.label_share:g}-{self.seed}"


def run_cells(
    study: StudyConfig, cells: Sequence[Cell], source: str, labels: Sequence[str], out: str
) -> list[Row]:
    """Train and judge cells of one task and one start, or read what they came to, below the folder
    `out`; return the rows of all.
    """
    config = cell_config(study, cells[0], source)
    task = make_task(config.task_name, complete_config(config.task_name, config.task, labels))
    recipes = {
        cell: limit_steps(study, cell_config(study, cell, source), task, labels) for cell in cells
    }
    of_labels = shards_id(labels)
    folders = {cell: cell_folder(study, cell, recipes[cell], of_labels, out) for cell in cells}
    missing = [cell for cell in cells if not storage.exists(result_url(folders[cell]))]
    judged: Iterable[Result]
    if study.frozen_draws:
        judged = run_frozen(study, {cell: recipes[cell] for cell in missing}, task, labels)
    else:
        judged = (run_whole(study, recipes[cell], labels, folders[cell]) for cell in missing)
    for cell, (figures, spent) in zip(missing, judged, strict=True):
        rows = make_rows(study, cell, recipes[cell], task, figures, spent)
        storage.write_text(result_url(folders[cell]), json.dumps(rows, indent=1) + "\n")
        if not study.frozen_draws:
            shutil.rmtree(storage.join(folders[cell], "checkpoints"))  # there are many cells
    return [
        row for cell in cells for row in json.loads(storage.read_text(result_url(folders[cell])))
    ]


def run_whole(
    study: StudyConfig, config: FinetuneConfig, labels: Sequence[str], folder: str
) -> Result:
    """Fine-tune encoder and head."""
    started = time.perf_counter()
    finetune(config, labels, folder, show_nothing)
    seconds = time.perf_counter() - started
    model, task, config = load_finetuned(folder, choose_device(config.run.device))
    judged = judge(model, task, held_out_batches(labels, task, config, study.max_samples))
    return judged, {"seconds": round(seconds, 1)}


def run_frozen(
    study: StudyConfig, recipes: Mapping[Cell, FinetuneConfig], task: Task, labels: Sequence[str]
) -> Iterator[Result]:
    """Train heads on a frozen encoder, which sees the images for all of these cells at once: they
    differ in their share of the labels and seed alone.
    """
    if not recipes:
        return
    started = time.perf_counter()
    # The encoder, and how images are placed, are the same whichever cells are missing.
    config = override(next(iter(recipes.values())), [f"run.seed={ENCODING_SEED}"])
    device, size = choose_device(config.run.device), config.encoder.model.image_px
    encoder = start_encoder(config, task, device)
    images = torch.zeros(1, task.num_images, 3, size, size, device=device)
    with_stages = reads_stages(task, encoder, images)
    draws = training_draws(config, task, labels, study.frozen_draws)
    training = encode(encoder, draws, device, with_stages)
    judged_on = held_out_batches(labels, task, config, study.max_samples)
    held_out = encode(encoder, judged_on, device, with_stages)
    encode_seconds = round(time.perf_counter() - started, 1)
    damaged = [*training.damaged.values(), *held_out.damaged.values()]
    if damaged:
        named = "; ".join(damaged[:NAMED])
        warnings.warn(
            f"{len(damaged)} damaged samples were left out, such as {named}", stacklevel=2
        )
    for config in recipes.values():
        started = time.perf_counter()
        rows_N = rows_at(training, usable_places(config, task, labels))
        head = train_head(config, task, encoder.size, training, rows_N, device)
        seconds = round(time.perf_counter() - started, 1)
        judged = judge(head, task, held_out.chunks(config.loader.batch_size))
        spent = {"seconds": seconds, "encode_seconds": encode_seconds}
        yield judged, {**spent, "damaged_samples": len(damaged)}


def cell_config(study: StudyConfig, cell: Cell, source: str) -> FinetuneConfig:
    """The recipe of a cell's training.

    Raises ValueError for settings that there are not, and for some that frozen encoders forbid.
    """
    settings = [
        f"run.num_steps={study.finetune_steps}",
        *(f"run.{name}=1000000" for name in ("evaluate_every", "pictures_every")),
        *("run.minutes=none", "run.epochs=none", "run.keep_last=1", "run.tensorboard=false"),
        *(f"run.seed={cell.seed}", f"loader.label_seed={cell.seed}", "evaluate.max_samples=64"),
        f"loader.label_share={cell.label_share}",
        *(("encoder.frozen=true", "optimizer.ema=0") if study.frozen_draws else ()),
    ]
    config = make_config(cell.task, study.preset, source)
    config = override(config, [*settings, *study.finetune_set])
    if study.frozen_draws and (not config.encoder.frozen or config.optimizer.ema):
        raise ValueError(
            "frozen_draws is for frozen encoders and heads without a running mean: leave "
            "encoder.frozen and optimizer.ema out of finetune_set, or set frozen_draws=0"
        )
    return config


def limit_steps(
    study: StudyConfig, config: FinetuneConfig, task: Task, labels: Sequence[str]
) -> FinetuneConfig:
    """The recipe, with as many steps as the study allows for so many labelled images."""
    steps = study.finetune_steps
    if study.max_passes is not None:
        images = study.max_passes * len(usable_places(config, task, labels))
        steps = min(steps, math.ceil(images / config.loader.batch_size))
    return override(config, [f"run.num_steps={steps}", f"run.checkpoint_every={steps}"])


def shards_id(urls: Sequence[str]) -> str:
    """What some shard sets hold, wherever they lie. Raises ValueError for one without an index."""
    return content_id([[shard.sha256 for shard in read_index(url).shards] for url in urls])


def cell_folder(
    study: StudyConfig, cell: Cell, config: FinetuneConfig, of_labels: str, out: str
) -> str:
    """Where a cell's training is kept: another recipe, or other labels, have another folder."""
    recipe = config_hash(config)
    depends_on = content_id(recipe, of_labels, study.frozen_draws, study.max_samples)
    return storage.join(out, f"{cell.name}-{depends_on[:8]}")


def result_url(folder: str) -> str:
    """The file with a cell's rows: it is there when the cell is done."""
    return storage.join(folder, "result.json")


def make_rows(
    study: StudyConfig,
    cell: Cell,
    config: FinetuneConfig,
    task: Task,
    judged: Judged,
    spent: Mapping[str, float],
) -> list[Row]:
    """A row for each figure of a cell's summary; None for what could not be judged."""
    return [
        {
            **asdict(cell),
            "metric": name,
            "value": value if math.isfinite(value) else None,
            "unit": unit_of(name),
            "headline": name == task.headline,
            "larger_is_better": task.larger_is_better,
            "samples": judged.num_samples,
            "encoder": "frozen" if config.encoder.frozen else "trained",
            "steps": config.run.num_steps,
            "pretrain_steps": 0 if cell.init == RANDOM else study.pretrain_steps,
            **spent,
        }
        for name, value in judged.summary.items()
        if not name.endswith("_count")
    ]


def unit_of(metric: str) -> str:
    """A metric's unit, from the end of its name."""
    for ending, unit in (("_mm", "mm"), ("_cm", "cm"), ("_px", "px"), ("_m", "m"), ("_deg", "deg")):
        if metric.endswith(ending):
            return unit
    return "share"
