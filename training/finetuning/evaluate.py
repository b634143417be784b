"""Judge a fine-tuned model on held-out samples: figures of every sample, and their summary."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from training.finetuning.config import FinetuneConfig
from training.finetuning.objective import TaskBatch
from training.loading.label_batch import LabelBatch
from training.loading.label_batches import LabelLoader, LabelView
from training.tasks.task import Task

BATCH_SIZE = 64
KNOWN = ("label_id", "dataset", "subject", "part", "gesture")  # of a sample, beside its figures


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a model is worth on a set of samples."""

    summary: dict[str, float]  # units in the names
    rows: dict[str, Tensor | list[Any]]  # columns, one value for each sample
    num_samples: int


def held_out_batches(
    shards: Sequence[str],
    task: Task,
    config: FinetuneConfig,
    max_samples: int | None,
    split: str = "val",
) -> Iterator[LabelBatch]:
    """Read up to `max_samples` samples of a split (None: all), always the same ones, once.

    Raises ValueError when there are none, or none that can be used.
    """
    size = BATCH_SIZE if max_samples is None else min(BATCH_SIZE, max_samples)
    loading = replace(
        config.loader, batch_size=size, sources=(), kinds=(), parts=(), label_share=1.0
    )
    view = LabelView(
        image_px=config.encoder.model.image_px, augment=config.augment, seed=0, held_out=True
    )
    loader = LabelLoader(shards, task, loading, view, split=split)
    return _first(islice(iter(loader), loader.num_batches), max_samples)


def _first(batches: Iterator[LabelBatch], max_samples: int | None) -> Iterator[LabelBatch]:
    """The batches that have any sample, cut off after so many samples."""
    left, found, damaged = max_samples, False, ""
    for batch in batches:
        damaged = next(iter(batch.damaged.values()), damaged)
        if left is not None and left < len(batch):
            batch = next(batch.chunks(left))
        if len(batch):
            found = True
            yield batch
        if left is not None:
            left -= len(batch)
            if left <= 0:
                break
    if not found:
        raise ValueError(f"no held-out sample can be used; one of them: {damaged}")


@torch.no_grad()
def judge(model: nn.Module, task: Task, batches: Iterable[TaskBatch]) -> Judged:
    """Hold a model against batches of what it takes; it is put into evaluation mode."""
    device = next(model.parameters()).device
    model.eval()
    figures: dict[str, list[Tensor]] = {}
    known: dict[str, list[Any]] = {name: [] for name in KNOWN}
    num_samples = 0
    for batch in batches:
        on_device = batch.to(device)
        outputs = {name: x.float() for name, x in model(on_device.inputs()).items()}
        for name, value_B in task.metrics(outputs, dict(on_device.targets)).items():
            figures.setdefault(name, []).append(value_B.detach().cpu())
        for name in KNOWN:
            known[name] += [meta[name] for meta in batch.metas]
        num_samples += len(batch)
    columns = {name: torch.cat(values) for name, values in figures.items()}
    return Judged(
        summary=task.summarize(columns), rows={**known, **columns}, num_samples=num_samples
    )
