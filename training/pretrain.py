"""Pre-training: the loop, from shard sets to checkpoints, a log, held-out losses and a picture.

A run is as long as its budget: steps, epochs, or minutes. The learning rate follows the share of
the budget that is used, so a run by steps or epochs repeats bit for bit, also over restarts; one by
minutes ends in time on any machine, and repeats only as well as the clock does.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal

import torch

from catalog import storage
from catalog.config import override_from_table, to_dict, valid_keys
from training.augment import AugmentConfig, normalize_images
from training.batches import PairBatch, View
from training.checkpoint import (
    Progress,
    find_checkpoint,
    list_checkpoints,
    load_training_state,
    load_weights,
    read_progress,
    save_checkpoint,
)
from training.evaluate import EvaluateConfig, evaluate, load_held_out
from training.loader import LoaderConfig, PairLoader
from training.loss import LossConfig, Losses, combine_losses
from training.masking import MaskingConfig
from training.model import Croco, CrocoConfig
from training.optimizer import OptimizerConfig, learning_rate, make_optimizer, set_learning_rate
from training.pictures import choose_rows, draw_completions
from training.run_log import (
    RunLog,
    Window,
    describe_bad_loss,
    format_held_out,
    format_training,
)

MAY_CHANGE = (
    "loader.num_workers",
    "loader.prefetch_batches",
    "evaluate.",
    "run.",
)  # when a run is continued


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run is and what it writes on the way. The first budget that is set counts."""

    num_steps: int | None = None
    minutes: float | None = None
    epochs: float | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    log_every: int = 50  # steps
    evaluate_every: int = 2000  # steps; held-out loss
    checkpoint_every: int = 1000  # steps
    keep_last: int = 2  # checkpoints


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything a pre-training run depends on, apart from the shards."""

    model: CrocoConfig = field(default_factory=CrocoConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    run: RunConfig = field(default_factory=RunConfig)


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run left behind."""

    checkpoint: str
    step: int
    log: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(
        default_factory=list
    )  # of `evaluate`; none without held-out pairs
    picture: str | None = None  # URL of the PNG


def pretrain(
    config: PretrainConfig,
    shards: Sequence[str],
    out: str,
    show: Callable[[float, str], None],
) -> PretrainResult:
    """Train until the budget is used, continuing from the newest checkpoint in `out` if there is
    one.

    `show` is told the share of the budget that is used and a line of figures. Raises ValueError for
    shards that cannot be used, a checkpoint of another config, too many damaged samples, or a loss
    that is not finite.
    """
    device = choose_device(config.run.device)
    torch.manual_seed(config.run.seed)
    loader = PairLoader(shards, config.loader, training_view(config))
    model = Croco(config.model).to(device)
    optimizer = make_optimizer(model, config.optimizer)
    step, earlier_s, used = 0, 0.0, 0.0
    checkpoints = storage.join(out, "checkpoints")
    if list_checkpoints(checkpoints):
        checkpoint = find_checkpoint(out)
        saved = read_progress(checkpoint)
        check_same_config(config, saved.config, out)
        load_weights(checkpoint, model)
        load_training_state(checkpoint, model, optimizer)
        loader.restore(saved.loader)
        step, earlier_s = saved.step, saved.elapsed_s
        used = used_share(config.run, step, earlier_s, loader.num_batches)
        show(used, f"continuing after step {step}")
    storage.write_text(
        storage.join(out, "config.json"), json.dumps(to_dict(config), indent=1) + "\n"
    )
    log = RunLog(out, step)
    held_out = load_held_out(
        shards, config.loader, held_out_view(config), config.evaluate.max_pairs
    )

    batches = iter(loader)
    window = Window()
    started = time.perf_counter()
    while used < 1:
        if held_out and step % config.run.evaluate_every == 0:
            log.add(held_out_row(model, held_out, config, step))
            show(used, format_held_out(log.rows[-1]))
        began = time.perf_counter()
        batch = next(batches).to(device)
        waited_s = time.perf_counter() - began

        rate = learning_rate(config.optimizer, len(batch.metas), used)
        set_learning_rate(optimizer, rate)
        losses = batch_losses(model, batch, config)
        if not torch.isfinite(losses.total):
            raise ValueError(describe_bad_loss(losses.total.item(), step + 1, batch))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        step += 1
        now = time.perf_counter()
        window.add(losses, len(batch.metas), waited_s, now - began)
        elapsed_s = earlier_s + now - started
        used = used_share(config.run, step, elapsed_s, loader.num_batches)

        log.add_damaged(step, loader.damaged)
        if step % config.run.log_every == 0 or used >= 1:
            row = {"step": step, "used": used, "epoch": loader.epoch, "learning_rate": rate}
            log.add({**row, **window.figures(), "damaged_samples": len(loader.damaged)})
            show(used, format_training(log.rows[-1]))
            window = Window()
        if step % config.run.checkpoint_every == 0 or used >= 1:
            progress = Progress(
                step=step, elapsed_s=elapsed_s, loader=loader.state(), config=to_dict(config)
            )
            save_checkpoint(checkpoints, model, optimizer, progress, config.run.keep_last)

    result = PretrainResult(checkpoint=find_checkpoint(out), step=step, log=log.rows)
    if held_out is None:
        return result
    rows = evaluate(model, held_out, config.masking.foreground_share)
    storage.write_text(
        storage.join(out, "held_out.jsonl"), "".join(json.dumps(row) + "\n" for row in rows)
    )
    picture = storage.join(out, "completions.png")
    storage.write_bytes(picture, draw_completions(model, held_out, choose_rows(held_out)))
    return replace(result, rows=rows, picture=picture)


def batch_losses(model: Croco, batch: PairBatch, config: PretrainConfig) -> Losses:
    """Run the model on a batch that is on its device."""
    is_bfloat16 = config.run.precision == "bfloat16"
    with torch.autocast(batch.visible.device.type, torch.bfloat16, enabled=is_bfloat16):
        loss_BM = model(
            normalize_images(batch.images_a),
            normalize_images(batch.images_b),
            batch.visible,
            batch.masked,
        ).loss_BM
    share_BM = batch.foreground.gather(1, batch.masked)
    return combine_losses(
        loss_BM, share_BM >= config.masking.foreground_share, batch.kinds, config.loss
    )


def used_share(run: RunConfig, step: int, elapsed_s: float, batches_per_epoch: int) -> float:
    """Return the share of the run's budget that is used, 0 to 1. Raises ValueError when no budget
    is set.
    """
    if run.num_steps is not None:
        return min(1.0, step / run.num_steps)
    if run.minutes is not None:
        return min(1.0, elapsed_s / (60 * run.minutes))
    if run.epochs is not None:
        return min(1.0, step / math.ceil(run.epochs * batches_per_epoch))
    raise ValueError("the run has no length: set run.num_steps, run.minutes or run.epochs")


def training_view(config: PretrainConfig) -> View:
    """How training samples become arrays."""
    return View(
        image_px=config.model.image_px,
        patch_px=config.model.patch_px,
        augment=config.augment,
        masking=config.masking,
        seed=config.run.seed,
    )


def held_out_view(config: PretrainConfig) -> View:
    """How held-out samples become arrays: the same for every training seed."""
    return replace(training_view(config), seed=config.evaluate.seed, held_out=True)


def config_from_dict(values: dict[str, Any]) -> PretrainConfig:
    """Restore the config that a checkpoint holds. Raises ValueError for keys this version does not
    know.
    """
    return override_from_table(PretrainConfig(), values)


def check_same_config(config: PretrainConfig, saved: dict[str, Any], out: str) -> None:
    """Raise ValueError when a run would continue with a config that makes it another run."""
    old = config_from_dict(saved)
    changed = [
        f"{key} {attrgetter(key)(old)} -> {attrgetter(key)(config)}"
        for key in valid_keys(config)
        if attrgetter(key)(old) != attrgetter(key)(config) and not key.startswith(MAY_CHANGE)
    ]
    if changed:
        raise ValueError(
            f"{out} holds a run with another config ({', '.join(changed)}): "
            "use its values to continue it, or another --out"
        )


def choose_device(name: str) -> torch.device:
    """Return the device a config names; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def held_out_row(
    model: Croco, held_out: PairBatch, config: PretrainConfig, step: int
) -> dict[str, Any]:
    """Evaluate and return one row of the log: foreground losses over all kinds, by second image."""
    rows = evaluate(model, held_out, config.masking.foreground_share)
    chosen = [row for row in rows if row["kind"] == "all" and row["patches"] == "foreground"]
    return {"step": step, **{f"held_out_{row['metric']}": row["value"] for row in chosen}}
