"""Pre-training: the loop, from shard sets to checkpoints, a log, held-out losses and pictures.

The learning rate follows the share of the run's budget that is used. So a run by steps or epochs
repeats bit for bit, also over restarts; one by minutes ends in time on any machine, and repeats
only as well as the clock does.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from catalog import storage
from catalog.config import to_dict
from shards.format import read_index
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
from training.distributed import Ranks, divide, start_ranks
from training.ema import WeightAverage
from training.initialize import InitConfig, initialize
from training.loading.loader import PairLoader
from training.models.croco import Croco
from training.optimizer import learning_rate, make_optimizer, set_learning_rate
from training.run_config import PretrainConfig, check_same_config, training_view, used_share
from training.run_log import StepRows, Window
from training.step import FiniteCheck, Stepper, check_weights
from training.stopping import watch_for_stop
from training.watch import Watcher

Show = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run left behind."""

    checkpoint: str
    step: int
    log: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)  # held-out figures, if there are pairs
    picture: str | None = None  # URL of the PNG
    stopped: bool = False  # by SIGTERM, before the budget was used


def pretrain(config: PretrainConfig, shards: Sequence[str], out: str, show: Show) -> PretrainResult:
    """Train until the budget is used, going on from the newest checkpoint in `out` if there is one.

    `show` is told the share of the budget that is used and a line of figures. Under `torchrun` all
    ranks call this. Raises ValueError for shards that cannot be used, a checkpoint of another
    config, too many damaged samples, or a loss that is not finite.
    """
    with start_ranks(config.run.device) as ranks:
        return _train(config, shards, out, show if ranks.is_main else _show_nothing, ranks)


def _train(
    config: PretrainConfig, shards: Sequence[str], out: str, show: Show, ranks: Ranks
) -> PretrainResult:
    _check_batch(config)
    if storage.local_path(out) is None:
        raise ValueError(f"{out}: a run is written to a local disk; give --out a folder there")
    torch.manual_seed(config.run.seed)
    if ranks.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    loader = PairLoader(
        shards,
        config.loader,
        training_view(config),
        rank=ranks.rank,
        world_size=ranks.world_size,
        pin_memory=ranks.device.type == "cuda",
        lend=True,
    )
    saved, checkpoint = None, ""
    checkpoints = storage.join(out, "checkpoints")
    if list_checkpoints(checkpoints):
        checkpoint = find_checkpoint(out)
        saved = read_progress(checkpoint)
        check_same_config(config, saved.config, out)
        loader.restore(saved.loader)
    step, earlier_s = (saved.step, saved.elapsed_s) if saved else (0, 0.0)
    used = used_share(config.run, step, earlier_s, loader.num_batches) if saved else 0.0
    place = [step, loader.state()["order"]]
    ranks.refuse_different(place, f"{out} and the shards must be the same for all ranks")

    model = Croco(config.model).to(ranks.device)
    if saved:
        load_weights(checkpoint, model)
        show(used, f"continuing after step {step}")
    elif config.init != InitConfig():
        show(0.0, initialize(model, config.init))
    model.checkpoint_blocks = config.run.checkpoint_blocks
    _compile(model, config)
    dtype = torch.bfloat16 if config.run.precision == "bfloat16" else torch.float32
    module = divide(model, ranks, config.run.strategy, dtype)
    optimizer = make_optimizer(model, config.optimizer)
    average = WeightAverage(model, config.optimizer.ema) if config.optimizer.ema else None
    state = TrainingState(model=model, optimizer=optimizer, average=average)
    if saved:
        load_training_state(checkpoint, state)

    if ranks.is_main:
        resolved = json.dumps(to_dict(config), indent=1) + "\n"
        storage.write_text(storage.join(out, "config.json"), resolved)
    described = _describe_shards(shards)
    watcher = Watcher(config, shards, out, step, ranks, show)
    record_url = storage.join(out, f"pairs-rank{ranks.rank}.jsonl")
    record = StepRows(record_url, step) if config.run.record_pairs else None
    stepper = Stepper(module, optimizer, average, config, ranks)
    finite, window, stopped = FiniteCheck(), Window(), False
    num_pairs = config.loader.batch_size * ranks.world_size
    batches = iter(loader)
    started = time.perf_counter()
    with watch_for_stop() as request:
        while used < 1 and not stopped:
            if step % config.run.evaluate_every == 0:
                watcher.held_out(used, step, state)
            if step % config.run.pictures_every == 0:
                watcher.pictures(step, state)
            began = time.perf_counter()
            epoch = loader.epoch
            batch = next(batches).to(ranks.device)
            waited_s = time.perf_counter() - began

            rate = learning_rate(config.optimizer, num_pairs, used)
            set_learning_rate(optimizer, rate)
            sums = stepper.step(batch)
            step += 1
            finite.add(sums, step, batch)
            now = time.perf_counter()
            window.add(sums, num_pairs, waited_s, now - began)
            elapsed_s = earlier_s + now - started
            share = used_share(config.run, step, elapsed_s, loader.num_batches)
            used, stopped = ranks.agree(share, request.asked)

            if record:
                record.add({"step": step, "epoch": epoch, "pairs": batch.pair_ids})
            watcher.log.add_damaged(step, loader.damaged)
            ending = used >= 1 or stopped
            is_kept = step % config.run.checkpoint_every == 0 or ending
            if is_kept or step % config.run.log_every == 0:
                finite.flush()
            if step % config.run.log_every == 0 or ending:
                row = {"step": step, "used": used, "epoch": loader.epoch, "learning_rate": rate}
                row["damaged_samples"] = len(loader.damaged)
                watcher.training(row, window)
                window = Window()
            if is_kept:
                check_weights(model, step, ranks)
                progress = Progress(
                    step=step,
                    elapsed_s=elapsed_s,
                    loader=loader.state(),
                    config=to_dict(config),
                    shards=described,
                    world_size=ranks.world_size,
                )
                keep = KeepConfig(last=config.run.keep_last, every=config.run.keep_every)
                checkpoint = save_checkpoint(checkpoints, state, progress, keep, ranks)

    rows, picture = [], None
    if not stopped:
        rows = watcher.held_out(used, step, state)
        picture = watcher.pictures(step, state)
    watcher.close()
    if record:
        record.close()
    return PretrainResult(
        checkpoint=checkpoint,
        step=step,
        log=watcher.log.rows,
        rows=rows,
        picture=picture,
        stopped=stopped,
    )


def _check_batch(config: PretrainConfig) -> None:
    if config.loader.batch_size % config.run.accumulate:
        raise ValueError(
            f"loader.batch_size {config.loader.batch_size} does not divide into run.accumulate = "
            f"{config.run.accumulate} equal parts: choose a multiple"
        )
    if config.loss.keypoint_weight and not config.model.keypoint_head:
        raise ValueError("loss.keypoint_weight needs model.keypoint_head=true")


def _compile(model: Croco, config: PretrainConfig) -> None:
    """Compile in place, so that names stay: the whole, or with `fsdp` block by block."""
    if config.run.compile and config.run.strategy == "fsdp":
        for block in [*model.enc_blocks, *model.dec_blocks]:
            block.compile()
    elif config.run.compile:
        model.compile()


def _describe_shards(shards: Sequence[str]) -> list[dict[str, Any]]:
    """What the indexes say of the shard sets, for the checkpoint and the model card."""
    columns = ("name", "query", "num_samples", "samples_by_kind", "plan")
    indexes = [(url, asdict(read_index(url))) for url in shards]
    return [{"url": url, **{name: index[name] for name in columns}} for url, index in indexes]


def _show_nothing(share: float, text: str) -> None:
    """What ranks show that are not the first."""
