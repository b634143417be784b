"""Cells of the study: each trained and judged once, its figures kept in a file of its own."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from catalog import storage
from catalog.config import config_hash, override
from catalog.ids import content_id
from training.distributed import choose_device
from training.finetuning.config import RANDOM, FinetuneConfig, make_config
from training.finetuning.evaluate import Judged, held_out_batches, judge
from training.finetuning.finetune import finetune
from training.finetuning.frozen import (
    encode,
    labelled_rows,
    reads_stages,
    start_encoder,
    train_head,
    training_draws,
)
from training.finetuning.model import load_finetuned
from training.finetuning.study_config import StudyConfig
from training.loop import show_nothing
from training.tasks.registry import complete_config, make_task
from training.tasks.task import Task

Row = dict[str, Any]


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
    kept = {cell: read_result(study, cell, source, out) for cell in cells}
    missing = [cell for cell in cells if kept[cell] is None]
    if missing and study.frozen_draws:
        run_frozen(study, missing, source, labels, out)
    elif missing:
        for cell in missing:
            run_whole(study, cell, source, labels, out)
    read = [kept[cell] or read_result(study, cell, source, out) for cell in cells]
    return [row for rows in read if rows for row in rows]


def run_whole(study: StudyConfig, cell: Cell, source: str, labels: Sequence[str], out: str) -> None:
    """Fine-tune encoder and head, and keep what they come to."""
    config = cell_config(study, cell, source)
    folder = cell_folder(study, cell, source, out)
    started = time.perf_counter()
    finetune(config, labels, folder, show_nothing)
    seconds = time.perf_counter() - started
    model, task, config = load_finetuned(folder, choose_device(config.run.device))
    judged = judge(model, task, held_out_batches(labels, task, config, study.max_samples))
    keep_result(study, cell, folder, task, judged, {"seconds": round(seconds, 1)})
    shutil.rmtree(storage.join(folder, "checkpoints"))  # there are many cells


def run_frozen(
    study: StudyConfig, cells: Sequence[Cell], source: str, labels: Sequence[str], out: str
) -> None:
    """Train heads on a frozen encoder that sees the images once for all of these cells."""
    started = time.perf_counter()
    config = cell_config(study, replace(cells[0], seed=study.seeds[0]), source)
    task_config = complete_config(config.task_name, config.task, labels)
    task, device = make_task(config.task_name, task_config), choose_device(config.run.device)
    encoder = start_encoder(config, task, device)
    size = config.encoder.model.image_px
    images = torch.zeros(1, task.num_images, 3, size, size, device=device)
    with_stages = reads_stages(task, encoder, images)
    draws = training_draws(config, task, labels, study.frozen_draws)
    training = encode(encoder, draws, device, with_stages)
    judged_on = held_out_batches(labels, task, config, study.max_samples)
    held_out = encode(encoder, judged_on, device, with_stages)
    encode_seconds = round(time.perf_counter() - started, 1)
    for cell in cells:
        started = time.perf_counter()
        config = cell_config(study, cell, source)
        rows_N = labelled_rows(training, config, task, labels)
        head = train_head(config, task, encoder.size, training, rows_N, device)
        spent = {"seconds": round(time.perf_counter() - started, 1)}
        judged = judge(head, task, held_out.chunks(config.loader.batch_size))
        folder = cell_folder(study, cell, source, out)
        keep_result(study, cell, folder, task, judged, {**spent, "encode_seconds": encode_seconds})


def cell_config(study: StudyConfig, cell: Cell, source: str) -> FinetuneConfig:
    """The recipe of a cell's training. Raises ValueError for settings that there are not."""
    settings = [
        *(f"run.{name}={study.finetune_steps}" for name in ("num_steps", "checkpoint_every")),
        *(f"run.{name}=1000000" for name in ("evaluate_every", "pictures_every")),
        *("run.minutes=none", "run.epochs=none", "run.keep_last=1", "run.tensorboard=false"),
        *(f"run.seed={cell.seed}", f"loader.label_seed={cell.seed}", "evaluate.max_samples=64"),
        f"loader.label_share={cell.label_share}",
        *(("encoder.frozen=true", "optimizer.ema=0") if study.frozen_draws else ()),
    ]
    config = make_config(cell.task, study.preset, source)
    return override(config, [*settings, *study.finetune_set])


def cell_folder(study: StudyConfig, cell: Cell, source: str, out: str) -> str:
    """Where a cell's training is kept: another recipe has another folder."""
    recipe = config_hash(cell_config(study, cell, source))
    depends_on = content_id(recipe, study.frozen_draws, study.max_samples)
    return storage.join(out, f"{cell.name}-{depends_on[:8]}")


def read_result(study: StudyConfig, cell: Cell, source: str, out: str) -> list[Row] | None:
    """The rows of a cell that is done; None where it is not."""
    url = storage.join(cell_folder(study, cell, source, out), "result.json")
    if not storage.exists(url):
        return None
    rows: list[Row] = json.loads(storage.read_text(url))
    return rows


def keep_result(
    study: StudyConfig,
    cell: Cell,
    folder: str,
    task: Task,
    judged: Judged,
    spent: dict[str, float],
) -> None:
    """Write a cell's rows: one for each figure of its summary."""
    rows = [
        {
            **asdict(cell),
            "metric": name,
            "value": value,
            "unit": unit_of(name),
            "headline": name == task.headline,
            "larger_is_better": task.larger_is_better,
            "samples": judged.num_samples,
            "encoder": "frozen" if study.frozen_draws else "trained",
            "steps": study.finetune_steps,
            "pretrain_steps": 0 if cell.init == RANDOM else study.pretrain_steps,
            **spent,
        }
        for name, value in judged.summary.items()
        if not name.endswith("_count")
    ]
    text = json.dumps(rows, indent=1) + "\n"
    storage.write_text(storage.join(folder, "result.json"), text)


def unit_of(metric: str) -> str:
    """A metric's unit, from the end of its name."""
    for ending, unit in (("_mm", "mm"), ("_px", "px"), ("_m", "m"), ("_deg", "deg")):
        if metric.endswith(ending):
            return unit
    return "share"
