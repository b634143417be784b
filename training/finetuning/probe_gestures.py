"""Probe an encoder, frozen as it is, for gestures: features of every image once, then a linear
classifier and nearest neighbours on held-out people.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from training.distributed import choose_device
from training.finetuning.config import FinetuneConfig
from training.finetuning.evaluate import held_out_batches
from training.finetuning.frozen import start_encoder
from training.finetuning.probes import knn_probe, linear_probe, mean_tokens
from training.loading.label_batch import LabelBatch
from training.metrics.classes import (
    confusion_matrix,
    correct_classes,
    mean_class_accuracy,
)
from training.tasks.registry import complete_config, make_task

Watch = Callable[[str, Iterable[LabelBatch]], Iterable[LabelBatch]]


def probe_gestures(
    config: FinetuneConfig, shards: Sequence[str], watch: Watch
) -> list[dict[str, Any]]:
    """Probe the encoder of a config of the task `gesture`; return a row for each figure.

    `watch` is given what is read and the stream of batches. Raises ValueError for sets without
    gestures or held-out people.
    """
    task_config = complete_config("gesture", config.task, shards)
    task: Any = make_task("gesture", task_config)
    device = choose_device(config.run.device)
    encoder = start_encoder(config, task, device)
    found = {}
    for split in ("train", "val"):
        batches = held_out_batches(shards, task, config, None, split)
        found[split] = _features(encoder, watch(split, batches), device)
    train_ND, train_classes_N, people_N = found["train"]
    test_BD, test_classes_B, _ = found["val"]
    count = len(task_config.classes)
    linear = linear_probe(
        train_ND, train_classes_N, test_BD, count, train_groups_N=people_N, seed=config.run.seed
    )
    nearest_B = knn_probe(train_ND, train_classes_N, test_BD, count)
    rows = []
    for probe, classes_B in (("linear", linear.classes_B), ("nearest", nearest_B)):
        confusion_KK = confusion_matrix(classes_B, test_classes_B, count)
        figures = {
            "accuracy": correct_classes(classes_B, test_classes_B).float().mean().item(),
            "mean_class_accuracy": mean_class_accuracy(confusion_KK),
        }
        rows += [
            {"probe": probe, "metric": name, "value": value, "samples": len(test_classes_B)}
            for name, value in figures.items()
        ]
    return rows


@torch.no_grad()
def _features(
    encoder: Any, batches: Iterable[LabelBatch], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, D) of all samples, their classes (N,) and a number for each person (N,)."""
    features, classes, people = [], [], []
    numbers: dict[Any, int] = {}
    for batch in batches:
        on_device = batch.to(device)
        features.append(mean_tokens(encoder(on_device.inputs())).cpu())
        classes.append(batch.targets["class"])
        people += [numbers.setdefault(meta["subject"], len(numbers)) for meta in batch.metas]
    return torch.cat(features), torch.cat(classes), torch.tensor(people)
