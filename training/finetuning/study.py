"""Does pre-training on pairs pay? Initialization x task x share of the labels, with several seeds.

Encoders are pre-trained first, each by its method with the same preset, shards, seed and number of
steps. Then every cell fine-tunes a task from one of them with a share of the labels, all by the
same recipe, and is judged on the same held-out people. A cell that is done is not done again.
"""

import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from threading import Thread
from typing import Any

import torch

from catalog import storage
from catalog.config import config_hash, override
from training.distributed import choose_device
from training.finetuning.config import RANDOM, make_config
from training.finetuning.evaluate import held_out_batches, judge
from training.finetuning.finetune import finetune
from training.finetuning.model import load_finetuned
from training.loop import show_nothing
from training.presets import METHODS, compose
from training.pretrain import pretrain

# Encoders see people before such backgrounds, and as large, as in fine-tuning.
PRETRAIN_SET = ("augment.background=keep",)
FINETUNE_SET = ("augment.margin_zoom=1.3",)

Show = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Which cells there are, and how long each."""

    preset: str
    inits: tuple[str, ...]  # `random`, or methods of pre-training
    tasks: tuple[str, ...]
    label_shares: tuple[float, ...]
    seeds: tuple[int, ...]
    pretrain_steps: int
    finetune_steps: int
    max_samples: int  # held-out ones that a cell is judged on
    workers: int  # processes side by side
    pretrain_set: tuple[str, ...] = ()  # overrides of the recipes
    finetune_set: tuple[str, ...] = ()


def cpu_study() -> StudyConfig:
    """Tiny models on two cores: keypoints from frozen encoders, sized for 30 minutes.

    Heads alone are trained: in so short a time a tiny encoder that is trained as well learns as
    much from random weights (docs/fine-tuning.md). Meshes take longer than all of this.
    """
    return StudyConfig(
        preset="tiny",
        inits=(RANDOM, "mae", "cross_view", "cross_pose", "both"),
        tasks=("keypoints",),
        label_shares=(0.01, 0.1, 1.0),
        seeds=(0, 1, 2),
        pretrain_steps=500,
        finetune_steps=200,
        max_samples=512,
        workers=2,
        pretrain_set=PRETRAIN_SET,
        finetune_set=("encoder.frozen=true", "optimizer.base_lr=1.2e-2", *FINETUNE_SET),
    )


def gpu_study() -> StudyConfig:
    """Small models at 128 px on one large GPU: three tasks, sized for 25 minutes."""
    return StudyConfig(
        preset="small",
        inits=(RANDOM, "mae", "siammae", "cross_view", "cross_pose", "both"),
        tasks=("body_mesh", "keypoints", "dense_pose"),
        label_shares=(0.01, 0.1, 1.0),
        seeds=(0, 1, 2),
        pretrain_steps=2000,
        finetune_steps=250,
        max_samples=1024,
        workers=3,
        pretrain_set=PRETRAIN_SET,
        finetune_set=FINETUNE_SET,
    )


STUDIES: dict[str, Callable[[], StudyConfig]] = {"cpu": cpu_study, "gpu": gpu_study}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fine-tuning run of the study, and its row in the report."""

    init: str
    task: str
    label_share: float
    seed: int

    @property
    def name(self) -> str:
        """Its folder's name."""
        return f"{self.task}-{self.init}-{self.label_share:g}-{self.seed}"


def run_study(
    study: StudyConfig,
    pairs: Sequence[str],
    labels: Sequence[str],
    out: str,
    show: Show,
) -> list[dict[str, Any]]:
    """Run every cell that is not done, below the folder `out`; return the rows of all, one for each
    metric of each cell.

    Several processes work side by side where the study says so: a tiny model cannot use many cores,
    and a small one cannot fill a GPU. Raises ValueError for shards that cannot be used, and
    settings that there are not.
    """
    methods = [init for init in study.inits if init != RANDOM]
    if unknown := set(methods) - set(METHODS):
        known = f"{RANDOM}, {', '.join(METHODS)}"
        raise ValueError(f"unknown init {sorted(unknown)[0]!r}; there are: {known}")
    axes = (study.tasks, study.label_shares, study.seeds, study.inits)
    cells = [Cell(task=t, label_share=s, seed=n, init=i) for t, s, n, i in product(*axes)]
    progress = Progress(
        show, len(methods) * study.pretrain_steps, len(cells) * study.finetune_steps
    )
    sources = {RANDOM: RANDOM}
    with start_workers(study) as workers:
        pretrained = {
            workers.submit(pretrain_encoder, study, method, pairs, out): method
            for method in methods
        }
        for encoder in as_completed(pretrained):
            sources[pretrained[encoder]] = encoder.result()
            progress.add(study.pretrain_steps, f"pre-trained {pretrained[encoder]}")
        running = {
            workers.submit(run_cell, study, cell, sources[cell.init], labels, out): cell
            for cell in cells
        }
        for judged in as_completed(running):
            headline = next(row for row in judged.result() if row["headline"])
            said = f"{headline['metric']} {headline['value']:.4g}, {headline['seconds']} s"
            progress.add(study.finetune_steps, f"{running[judged].name}: {said}")
        return [row for judged in running for row in judged.result()]


def start_workers(study: StudyConfig) -> ProcessPoolExecutor:
    """Processes that share the cores; they end with the context."""
    threads = max(1, (os.cpu_count() or 1) // study.workers)
    return ProcessPoolExecutor(
        study.workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=(threads, os.getpid()),
    )


def _start_worker(threads: int, parent: int) -> None:
    """Share the cores, and end with the study: one that is stopped leaves nobody behind."""
    torch.set_num_threads(threads)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


class Progress:
    """Shows how much of the study is done, in steps."""

    def __init__(self, show: Show, *steps: int) -> None:
        self._show, self._total, self._done = show, sum(steps), 0

    def add(self, steps: int, text: str) -> None:
        """Count what is done, and say what it was."""
        self._done += steps
        self._show(self._done / self._total, text)


def summarize(study: StudyConfig, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread of each task's headline over the seeds: a row for each initialization, with a
    column for each share of the labels.
    """
    table = []
    for task, init in product(study.tasks, study.inits):
        line: dict[str, Any] = {"task": task, "init": init}
        for share in study.label_shares:
            values = headline_values(rows, task, init, share)
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                line[f"{share:.0%} of labels"] = f"{statistics.mean(values):.4g} ± {spread:.2g}"
        line["metric"] = next((row["metric"] for row in rows if is_headline(row, task)), "")
        table.append(line)
    return table


def headline_values(
    rows: Sequence[dict[str, Any]], task: str, init: str, share: float
) -> list[float]:
    """A headline's values of some cells, one for each seed."""
    return [
        row["value"]
        for row in rows
        if is_headline(row, task) and row["init"] == init and row["label_share"] == share
    ]


def is_headline(row: dict[str, Any], task: str) -> bool:
    """Whether a row has the figure that a task is compared by."""
    return bool(row["task"] == task and row["headline"])


def pretrain_encoder(study: StudyConfig, method: str, pairs: Sequence[str], out: str) -> str:
    """Pre-train by a method, or find that it is done; return the run's folder."""
    every = [
        f"run.{name}={study.pretrain_steps}"
        for name in ("num_steps", "evaluate_every", "pictures_every")
    ]
    length = [*every, "run.minutes=none", "run.epochs=none", "run.keep_last=1"]
    length += ["run.tensorboard=false"]
    config = override(compose(study.preset, method), [*length, *study.pretrain_set])
    folder = storage.join(out, f"pretrain-{method}-{config_hash(config)[:8]}")
    seconds = storage.join(folder, "seconds.json")
    if not storage.exists(seconds):
        started = time.perf_counter()
        pretrain(config, pairs, folder, show_nothing)
        storage.write_text(seconds, json.dumps({"seconds": time.perf_counter() - started}))
    return folder


def run_cell(
    study: StudyConfig, cell: Cell, source: str, labels: Sequence[str], out: str
) -> list[dict[str, Any]]:
    """Fine-tune and judge a cell, or read what it came to."""
    length = [
        *(f"run.{name}={study.finetune_steps}" for name in ("num_steps", "checkpoint_every")),
        *(f"run.{name}=1000000" for name in ("evaluate_every", "pictures_every")),
        *("run.minutes=none", "run.epochs=none", "run.keep_last=1", "run.tensorboard=false"),
        *(f"run.seed={cell.seed}", f"loader.label_seed={cell.seed}", "evaluate.max_samples=64"),
        f"loader.label_share={cell.label_share}",
    ]
    config = make_config(cell.task, study.preset, source)
    config = override(config, [*length, *study.finetune_set])
    folder = storage.join(out, f"{cell.name}-{config_hash(config)[:8]}")
    result = storage.join(folder, "result.json")
    if storage.exists(result):
        rows: list[dict[str, Any]] = json.loads(storage.read_text(result))
        return rows
    started = time.perf_counter()
    finetune(config, labels, folder, show_nothing)
    seconds = time.perf_counter() - started
    model, task, config = load_finetuned(folder, choose_device(config.run.device))
    judged = judge(model, task, held_out_batches(labels, task, config, study.max_samples))
    rows = [
        {
            **asdict(cell),
            "metric": name,
            "value": value,
            "unit": unit_of(name),
            "headline": name == task.headline,
            "larger_is_better": task.larger_is_better,
            "samples": judged.num_samples,
            "steps": study.finetune_steps,
            "pretrain_steps": 0 if cell.init == RANDOM else study.pretrain_steps,
            "seconds": round(seconds, 1),
        }
        for name, value in judged.summary.items()
        if not name.endswith("_count")
    ]
    storage.write_text(result, json.dumps(rows, indent=1) + "\n")
    shutil.rmtree(storage.join(folder, "checkpoints"))  # there are many cells
    return rows


def unit_of(metric: str) -> str:
    """A metric's unit, from the end of its name."""
    for ending, unit in (("_mm", "mm"), ("_px", "px"), ("_m", "m"), ("_deg", "deg")):
        if metric.endswith(ending):
            return unit
    return "share"
