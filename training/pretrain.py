"""Pre-training: the loop, from shard sets to checkpoints, a log, held-out losses and a picture.

The learning rate follows the share of the run's budget that is used. So a run by steps or epochs
repeats bit for bit, also over restarts; one by minutes ends in time on any machine, and repeats
only as well as the clock does.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from catalog import storage
from catalog.config import to_dict
from training.checkpoint import (
    Progress,
    find_checkpoint,
    list_checkpoints,
    load_training_state,
    load_weights,
    read_progress,
    save_checkpoint,
)
from training.evaluate import evaluate, load_held_out
from training.loading.augment import normalize_images
from training.loading.batches import PairBatch
from training.loading.loader import PairLoader
from training.loss import Losses, combine_losses
from training.models.croco import Croco
from training.optimizer import learning_rate, make_optimizer, set_learning_rate
from training.pictures import choose_rows, draw_completions
from training.run_config import (
    PretrainConfig,
    check_same_config,
    held_out_view,
    training_view,
    used_share,
)
from training.run_log import RunLog, Window, describe_bad_loss, format_held_out, format_training


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run left behind."""

    checkpoint: str
    step: int
    log: list[dict[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)  # of `evaluate`, if there are pairs
    picture: str | None = None  # URL of the PNG


def pretrain(
    config: PretrainConfig,
    shards: Sequence[str],
    out: str,
    show: Callable[[float, str], None],
) -> PretrainResult:
    """Train until the budget is used, going on from the newest checkpoint in `out` if there is one.

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
    resolved = json.dumps(to_dict(config), indent=1) + "\n"
    storage.write_text(storage.join(out, "config.json"), resolved)
    log = RunLog(out, step)
    held_out = load_held_out(
        shards, config.loader, held_out_view(config), config.evaluate.max_pairs
    )

    batches = iter(loader)
    window = Window()
    started = time.perf_counter()
    while used < 1:
        if held_out and step % config.run.evaluate_every == 0:
            log.add_held_out(step, evaluate(model, held_out, config.masking.foreground_share))
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
    log.add_held_out(step, rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    storage.write_text(storage.join(out, "held_out.jsonl"), lines)
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
    is_foreground_BM = share_BM >= config.masking.foreground_share
    return combine_losses(loss_BM, is_foreground_BM, batch.kinds, config.loss)


def choose_device(name: str) -> torch.device:
    """Return the device a config names; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
