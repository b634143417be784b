"""The training loop, for pre-training and fine-tuning: from batches to checkpoints and a log.

The learning rate follows the share of the run's budget that is used. So a run by steps or epochs
repeats bit for bit, also over restarts; one by minutes ends in time on any machine, and repeats
only as well as the clock does. What is trained, on what, and what is to be seen of it, a `Job`
says.
"""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from catalog import storage
from catalog.config import to_dict
from catalog.ids import seed_of
from shards.format import SPLITS, read_index
from training.checkpoint import (
    KeepConfig,
    Progress,
    TrainingState,
    find_checkpoint,
    list_checkpoints,
    load_training_state,
    load_weights,
    read_progress,
    save_checkpoint,
)
from training.compiling import compile_model
from training.device_copies import DeviceCopies
from training.distributed import Ranks, divide
from training.ema import WeightAverage
from training.loading.stream import StreamConfig, StreamLoader
from training.optimizer import OptimizerConfig, learning_rate, peak_rate, set_learning_rate
from training.run_config import RunConfig, check_same_config, used_share
from training.run_log import RunLog, StepRows, Window
from training.step import FiniteCheck, Objective, StepConfig, Stepper, check_weights
from training.stopping import watch_for_stop

Show = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run left behind."""

    checkpoint: str
    step: int
    log: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)  # held-out figures, if there are any
    picture: str | None = None  # URL of the PNG
    stopped: bool = False  # by SIGTERM, before the budget was used


class LoopConfig(Protocol):
    """What every run's config has."""

    @property
    def loader(self) -> StreamConfig:
        """How samples are read."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """How weights are updated."""

    @property
    def run(self) -> RunConfig:
        """How long the run is, and what it writes."""


class Watcher(Protocol):
    """What a person can watch of a run; all ranks call everything."""

    @property
    def log(self) -> RunLog:
        """The run's log."""

    def training(self, row: dict[str, Any], window: Window) -> None:
        """Log the figures of some steps."""

    def held_out(self, used: float, step: int, state: TrainingState) -> list[dict[str, Any]]:
        """Log held-out figures, where there are held-out samples; return their rows."""

    def pictures(self, step: int, state: TrainingState) -> str | None:
        """Draw held-out samples, and return the picture's URL."""

    def close(self) -> None:
        """Close the files."""


class Job(Protocol):
    """What is trained on what."""

    @property
    def config(self) -> LoopConfig:
        """The whole config of the run, a frozen dataclass."""

    @property
    def shards(self) -> Sequence[str]:
        """The shard sets."""

    def make_loader(self, ranks: Ranks) -> StreamLoader[Any, Any]:
        """The stream of training batches."""

    def make_model(self) -> nn.Module:
        """The model, with fresh weights, on the CPU."""

    def initialize(self, model: nn.Module) -> str:
        """Give a fresh model its first weights; say with what, or nothing."""

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """The parts that are compiled, and divided among ranks, one by one."""

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the model's parameters."""

    def make_objective(self, model: nn.Module) -> Objective[Any]:
        """What is minimized."""

    def watch(self, out: str, step: int, ranks: Ranks, show: Show) -> Watcher:
        """Take up what is to be seen of the run in folder `out` after a step."""


def run_job(
    job: Job, out: str, show: Show, ranks: Ranks, may_change: Collection[str]
) -> TrainResult:
    """Train until the budget is used, going on from the newest checkpoint in `out` if there is one;
    the settings `may_change` may then differ.

    `show` is told the share of the budget that is used and a line of figures. Raises ValueError for
    shards that cannot be used, a checkpoint of another config, too many damaged samples, or a loss
    that is not finite.
    """
    config, run = job.config, job.config.run
    _check(config, out)
    torch.manual_seed(run.seed)
    if ranks.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    loader = job.make_loader(ranks)
    checkpoint, progress = _where_to_begin(job, out, loader, ranks, may_change)
    step, earlier_s = progress.step, progress.elapsed_s
    used = used_share(run, step, earlier_s, loader.num_batches)
    if checkpoint:
        show(used, f"continuing after step {step}")
    state, stepper, names = _build(job, checkpoint, step, ranks, show)

    if ranks.is_main:
        resolved = json.dumps(progress.config, indent=1) + "\n"
        storage.write_text(storage.join(out, "config.json"), resolved)
    watcher = job.watch(out, step, ranks, show)
    record_url = storage.join(out, f"samples-rank{ranks.rank}.jsonl")
    record = StepRows(record_url, step) if run.record_samples else None
    finite, window, stopped = FiniteCheck(), Window(names), False
    num_samples = config.loader.batch_size * ranks.world_size
    show(used, _describe_steps(config, num_samples, ranks))
    batches, copies = iter(loader), DeviceCopies(ranks.device)
    started = time.perf_counter()
    with watch_for_stop() as request:
        while used < 1 and not stopped:
            if step % run.evaluate_every == 0:
                watcher.held_out(used, step, state)
            if step % run.pictures_every == 0:
                watcher.pictures(step, state)
            began = time.perf_counter()
            epoch = loader.epoch
            batch = copies.copy(next(batches))
            waited_s = time.perf_counter() - began

            rate = learning_rate(config.optimizer, num_samples, used)
            set_learning_rate(state.optimizer, rate)
            # What a step draws, as dropout does, follows from its number: restarts change nothing.
            torch.manual_seed(seed_of("step", run.seed, step, ranks.rank))
            sums = stepper.step(batch)
            step += 1
            finite.add(sums, step, batch)
            now = time.perf_counter()
            window.add(sums, num_samples, waited_s, now - began)
            elapsed_s = earlier_s + now - started
            share = used_share(run, step, elapsed_s, loader.num_batches)
            used, stopped = ranks.agree(share, request.asked)

            if record:
                record.add({"step": step, "epoch": epoch, "samples": batch.sample_ids})
            watcher.log.add_damaged(step, loader.damaged)
            ending = used >= 1 or stopped
            is_kept = step % run.checkpoint_every == 0 or ending
            if is_kept or step % run.log_every == 0:
                finite.flush()
            if step % run.log_every == 0 or ending:
                row = {"step": step, "used": used, "epoch": loader.epoch, "learning_rate": rate}
                row["damaged_samples"] = len(loader.damaged)
                watcher.training(row, window)
                window = Window(names)
            if is_kept:
                check_weights(state.model, step, ranks)
                position = loader.state()
                progress = replace(progress, step=step, elapsed_s=elapsed_s, loader=position)
                keep = KeepConfig(last=run.keep_last, every=run.keep_every)
                checkpoint = save_checkpoint(_checkpoints(out), state, progress, keep, ranks)

    rows, picture = [], None
    if not stopped:
        rows = watcher.held_out(used, step, state)
        picture = watcher.pictures(step, state)
    watcher.close()
    if record:
        record.close()
    return TrainResult(
        checkpoint=checkpoint,
        step=step,
        log=watcher.log.rows,
        rows=rows,
        picture=picture,
        stopped=stopped,
    )


def _where_to_begin(
    job: Job, out: str, loader: StreamLoader[Any, Any], ranks: Ranks, may_change: Collection[str]
) -> tuple[str, Progress]:
    """The newest checkpoint in `out`, or nothing, and how far the run is; the loader goes on there.

    Raises ValueError for a checkpoint of another config or other shards, and on all ranks when one
    finds something else than the others.
    """
    config, checkpoint, step, elapsed_s = job.config, "", 0, 0.0
    if list_checkpoints(_checkpoints(out)):
        checkpoint = find_checkpoint(out)
        saved = read_progress(checkpoint)
        check_same_config(config, saved.config, out, may_change)
        loader.restore(saved.loader)
        step, elapsed_s = saved.step, saved.elapsed_s
    position = loader.state()
    found = [step, position["order"]]
    ranks.refuse_different(found, f"{out} and the shards must be the same for all ranks")
    return checkpoint, Progress(
        step=step,
        elapsed_s=elapsed_s,
        loader=position,
        config=to_dict(config),
        shards=describe_shards(job.shards),
        world_size=ranks.world_size,
    )


def _build(
    job: Job, checkpoint: str, step: int, ranks: Ranks, show: Show
) -> tuple[TrainingState, Stepper, tuple[str, ...]]:
    """What is trained and what trains it, with the weights of the checkpoint after `step`, or with
    first ones; and the names of the losses.
    """
    config, run = job.config, job.config.run
    model = job.make_model().to(ranks.device)
    if checkpoint:
        load_weights(checkpoint, model)
    elif said := job.initialize(model):
        show(0.0, said)
    blocks = job.blocks(model)
    if run.compile:
        compile_model(model, blocks if run.strategy == "fsdp" else [])
    dtype = torch.bfloat16 if run.precision == "bfloat16" else torch.float32
    module = divide(model, blocks, ranks, run.strategy, dtype)
    optimizer = job.make_optimizer(model)
    ema = config.optimizer.ema
    average = WeightAverage(model, ema, num_updates=step) if ema else None
    state = TrainingState(model=model, optimizer=optimizer, average=average)
    if checkpoint:
        load_training_state(checkpoint, state)
    objective = job.make_objective(model)
    stepper = Stepper(module, optimizer, average, objective, stepping_of(config), ranks)
    return state, stepper, objective.names


def _checkpoints(out: str) -> str:
    return storage.join(out, "checkpoints")


def _describe_steps(config: LoopConfig, num_samples: int, ranks: Ranks) -> str:
    of_ranks = f" of {ranks.world_size} ranks" if ranks.world_size > 1 else ""
    peak = peak_rate(config.optimizer, num_samples)
    return f"{num_samples} samples a step{of_ranks}, learning rate up to {peak:.2g}"


def stepping_of(config: LoopConfig) -> StepConfig:
    """How a run takes its steps."""
    run = config.run
    return StepConfig(run.accumulate, run.precision, config.optimizer.clip_grad_norm)


def describe_shards(shards: Sequence[str]) -> list[dict[str, Any]]:
    """What the indexes say of the shard sets, for the checkpoint and the model card."""
    columns = ("name", "query", "num_samples", "samples_by_kind", "licences", "plan")
    described = []
    for url in shards:
        index = read_index(url)
        splits = {split: sum(s.samples for s in index.of_split(split)) for split in SPLITS}
        values = {name: getattr(index, name) for name in columns}
        described.append({"url": url, **values, "splits": splits})
    return described


def show_nothing(share: float, text: str) -> None:
    """What ranks show that are not the first."""


def _check(config: LoopConfig, out: str) -> None:
    if storage.local_path(out) is None:
        raise ValueError(
            f"{out}: checkpoints are renamed when they are whole, so a run needs a folder that is "
            "mounted here: give --out one"
        )
    if config.loader.batch_size % config.run.accumulate:
        raise ValueError(
            f"loader.batch_size {config.loader.batch_size} does not divide into run.accumulate = "
            f"{config.run.accumulate} equal parts: choose a multiple"
        )
