"""Cells of the study: each trained and judged once, its figures kept in a file of its own."""

import json
import math
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
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
    EncodedBatch,
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
from training.tasks.task import EncoderSize, Task

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


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """How a cell is trained, and where its figures are kept."""

    cell: Cell
    config: FinetuneConfig
    places: set[str]  # of the labelled images that it may use, see `usable_places`
    folder: str


@dataclass(frozen=True, kw_only=True)
class EncodedLabels:
    """The labelled images as one frozen encoder sees them."""

    training: EncodedBatch
    held_out: EncodedBatch
    encoder: EncoderSize
    device: torch.device
    spent: Mapping[str, float]  # what it took


def run_cells(
    study: StudyConfig, cells: Sequence[Cell], source: str, labels: Sequence[str], out: str
) -> list[Row]:
    """Train and judge cells of one task and one start, or read what they came to, below the folder
    `out`; return the rows of all.

    With a frozen encoder it sees the images once for all of the cells: they differ in their share
    of the labels and seed alone.
    """
    config = cell_config(study, cells[0], source)
    task = make_task(config.task_name, complete_config(config.task_name, config.task, labels))
    of_labels = shards_id(labels)
    plans = [plan_cell(study, cell, source, task, labels, of_labels, out) for cell in cells]
    missing = [plan for plan in plans if not storage.exists(result_url(plan.folder))]
    encoded = None
    if missing and study.frozen_draws:
        encoded = encode_labels(study, missing[0].config, task, labels)
    for plan in missing:
        if encoded is None:
            judged, spent = run_whole(study, plan, labels)
        else:
            judged, spent = run_head(plan, task, encoded)
        rows = make_rows(study, plan, task, judged, spent)
        storage.write_text(result_url(plan.folder), json.dumps(rows, indent=1) + "\n")
        if encoded is None:
            shutil.rmtree(storage.join(plan.folder, "checkpoints"))  # there are many cells
    return [row for plan in plans for row in json.loads(storage.read_text(result_url(plan.folder)))]


def plan_cell(
    study: StudyConfig,
    cell: Cell,
    source: str,
    task: Task,
    labels: Sequence[str],
    of_labels: str,
    out: str,
) -> CellPlan:
    """The recipe of a cell, with as many steps as the study allows for its labelled images, and its
    folder.
    """
    config, places = cell_config(study, cell, source), set[str]()
    if study.frozen_draws or study.max_passes is not None:  # otherwise nothing depends on them
        places = usable_places(config, task, labels)
    config = limit_steps(study, config, len(places))
    folder = cell_folder(study, cell, config, of_labels, out)
    return CellPlan(cell=cell, config=config, places=places, folder=folder)


def run_whole(study: StudyConfig, plan: CellPlan, labels: Sequence[str]) -> Result:
    """Fine-tune encoder and head."""
    started = time.perf_counter()
    finetune(plan.config, labels, plan.folder, show_nothing)
    seconds = time.perf_counter() - started
    model, task, config = load_finetuned(plan.folder, choose_device(plan.config.run.device))
    judged = judge(model, task, held_out_batches(labels, task, config, study.max_samples))
    return judged, {"seconds": round(seconds, 1)}


def encode_labels(
    study: StudyConfig, config: FinetuneConfig, task: Task, labels: Sequence[str]
) -> EncodedLabels:
    """Let the frozen encoder that a recipe starts from see the images; damaged ones are left out,
    with a warning.
    """
    started = time.perf_counter()
    # The encoder, and how images are placed, are the same whichever cell's recipe this is.
    config = override(config, [f"run.seed={ENCODING_SEED}"])
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
    return EncodedLabels(
        training=training,
        held_out=held_out,
        encoder=encoder.size,
        device=device,
        spent={"encode_seconds": encode_seconds, "damaged_samples": len(damaged)},
    )


def run_head(plan: CellPlan, task: Task, encoded: EncodedLabels) -> Result:
    """Train a head on what the frozen encoder saw."""
    started = time.perf_counter()
    rows_N = rows_at(encoded.training, plan.places)
    head = train_head(plan.config, task, encoded.encoder, encoded.training, rows_N, encoded.device)
    seconds = round(time.perf_counter() - started, 1)
    judged = judge(head, task, encoded.held_out.chunks(plan.config.loader.batch_size))
    return judged, {"seconds": seconds, **encoded.spent}


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


def limit_steps(study: StudyConfig, config: FinetuneConfig, num_images: int) -> FinetuneConfig:
    """The recipe, with as many steps as the study allows for so many labelled images."""
    steps = study.finetune_steps
    if study.max_passes is not None:
        images = study.max_passes * num_images
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
    study: StudyConfig, plan: CellPlan, task: Task, judged: Judged, spent: Mapping[str, float]
) -> list[Row]:
    """A row for each figure of a cell's summary; None for what could not be judged."""
    return [
        {
            **asdict(plan.cell),
            "metric": name,
            "value": value if math.isfinite(value) else None,
            "unit": unit_of(name),
            "headline": name == task.headline,
            "larger_is_better": task.larger_is_better,
            "samples": judged.num_samples,
            "encoder": "frozen" if plan.config.encoder.frozen else "trained",
            "steps": plan.config.run.num_steps,
            "pretrain_steps": 0 if plan.cell.init == RANDOM else study.pretrain_steps,
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
