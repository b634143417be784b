"""Does pre-training on pairs pay? Initialization x task x share of the labels, with several seeds.

Encoders are pre-trained first, each by its method with the same preset, shards, seed and number of
steps. Then every cell trains a task from one of them with a share of the labels, all by the same
recipe, and is judged on the same held-out people. A cell that is done is not done again.
"""

import json
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from threading import Thread
from typing import Any

import torch

from catalog import storage
from catalog.config import config_hash, override
from catalog.ids import content_id
from training.finetuning.config import RANDOM
from training.finetuning.study_cells import Cell, Row, cell_config, run_cells, shards_id
from training.finetuning.study_config import StudyConfig
from training.loop import Show, show_nothing
from training.presets import METHODS, compose
from training.pretrain import pretrain

HEAD_STEP = 0.05  # of a frozen encoder's head: about its time, in steps of pre-training


def run_study(
    study: StudyConfig,
    pairs: Sequence[str],
    labels: Sequence[str],
    out: str,
    show: Show,
) -> list[Row]:
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
    parts = divide_cells(study)
    for cells in parts:  # what is wrong with any is known before hours of pre-training
        for cell in cells:
            cell_config(study, cell, RANDOM)
    of_cell = study.finetune_steps * (HEAD_STEP if study.frozen_draws else 1.0)
    num_cells = sum(len(cells) for cells in parts)
    progress = Progress(show, len(methods) * study.pretrain_steps, num_cells * of_cell)
    running: dict[Future[list[Row]], int] = {}
    with start_workers(study) as workers:

        def start_cells(init: str, source: str) -> None:
            for number, cells in enumerate(parts):
                if cells[0].init == init:
                    done = workers.submit(run_cells, study, cells, source, labels, out)
                    running[done] = number

        pretrained = {
            workers.submit(pretrain_encoder, study, method, pairs, out): method
            for method in methods
        }
        start_cells(RANDOM, RANDOM)
        for encoder in as_completed(pretrained):
            method = pretrained[encoder]
            progress.add(study.pretrain_steps, f"pre-trained {method}")
            start_cells(method, encoder.result())
        for done in as_completed(running):
            cells = parts[running[done]]
            said = describe_cells(study, cells[0], done.result())
            progress.add(len(cells) * of_cell, said)
        in_order = sorted(running, key=running.__getitem__)
        return [row for done in in_order for row in done.result()]


def describe_cells(study: StudyConfig, cell: Cell, rows: Sequence[Row]) -> str:
    """A line on some rows of one task and start."""
    means = []
    for share in study.label_shares:
        if values := headline_values(rows, cell.task, cell.init, share):
            means.append(f"{statistics.mean(values):.4g} with {share:.0%} of the labels")
    metric = next((row["metric"] for row in rows if is_headline(row, cell.task)), "")
    return f"{cell.task} from {cell.init}: {metric} {', '.join(means)}"


def divide_cells(study: StudyConfig) -> list[list[Cell]]:
    """The cells, in parts that a process takes up one by one: all cells of a task and a start where
    they share a frozen encoder.
    """
    parts: dict[object, list[Cell]] = {}
    for task, share, seed, init in product(
        study.tasks, study.label_shares, study.seeds, study.inits
    ):
        cell = Cell(task=task, label_share=share, seed=seed, init=init)
        parts.setdefault((task, init) if study.frozen_draws else cell, []).append(cell)
    return list(parts.values())


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
    """Shows how much of the study is done, in steps of pre-training."""

    def __init__(self, show: Show, *steps: float) -> None:
        self._show, self._total, self._done = show, sum(steps), 0.0

    def add(self, steps: float, text: str) -> None:
        """Count what is done, and say what it was."""
        self._done += steps
        self._show(self._done / self._total, text)


def summarize(study: StudyConfig, rows: Sequence[Row]) -> list[Row]:
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


def headline_values(rows: Sequence[Row], task: str, init: str, share: float) -> list[float]:
    """A headline's values of some cells, one for each seed."""
    return [
        row["value"]
        for row in rows
        if is_headline(row, task)
        and row["init"] == init
        and row["label_share"] == share
        and row["value"] is not None
    ]


def is_headline(row: Row, task: str) -> bool:
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
    depends_on = content_id(config_hash(config), shards_id(pairs))
    folder = storage.join(out, f"pretrain-{method}-{depends_on[:8]}")
    seconds = storage.join(folder, "seconds.json")
    if not storage.exists(seconds):
        started = time.perf_counter()
        pretrain(config, pairs, folder, show_nothing)
        storage.write_text(seconds, json.dumps({"seconds": time.perf_counter() - started}))
    return folder
