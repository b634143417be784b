"""Heads on a frozen encoder: it sees every labelled image a few times, and what it makes of them
trains many heads.

Chance places each image anew for every draw, as in training; but heads meet the same few draws
again, where a whole run would place every image anew in every epoch.

Shapes: N samples encoded, R of them in a batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from training.distributed import Ranks
from training.finetuning.config import FinetuneConfig
from training.finetuning.objective import TaskObjective
from training.initialize import InitConfig
from training.loading.label_batch import LabelBatch
from training.loading.label_batches import LabelLoader, LabelView
from training.loop import stepping_of
from training.models.encoders import make_encoder
from training.optimizer import learning_rate, make_optimizer, set_learning_rate
from training.step import FiniteCheck, Stepper
from training.tasks.task import EncoderSize, Features, Task


@dataclass(kw_only=True)
class EncodedBatch:
    """Labelled samples as a frozen encoder sees them; takes the place of a `LabelBatch`."""

    features: Features  # float16
    targets: Mapping[str, Tensor]  # the task's, (N, ...) each
    metas: list[dict[str, Any]]
    places: list[str]  # shard and position of each sample
    damaged: dict[tuple[int, ...], str] = field(default_factory=dict)  # what was left out

    def __len__(self) -> int:
        return len(self.metas)

    @property
    def sample_ids(self) -> list[str]:
        """The ids of the samples, in order."""
        return [meta["label_id"] for meta in self.metas]

    def inputs(self) -> Features:
        """The features as heads take them, float32."""
        stages = tuple(stage.float() for stage in self.features.stages)
        return Features(self.features.tokens_BNC.float(), stages)

    def to(self, device: torch.device) -> "EncodedBatch":
        """Copy the tensors to a device."""
        stages = tuple(stage.to(device) for stage in self.features.stages)
        return replace(
            self,
            features=Features(self.features.tokens_BNC.to(device), stages),
            targets={name: values.to(device) for name, values in self.targets.items()},
        )

    def chunks(self, size: int) -> Iterator["EncodedBatch"]:
        """Yield the batch in parts of `size` samples, the last one with what is left."""
        for start in range(0, len(self), size):
            yield self.rows(torch.arange(start, min(start + size, len(self))))

    def rows(self, rows_R: Tensor) -> "EncodedBatch":
        """Some of the samples, by number."""
        stages = tuple(stage[rows_R] for stage in self.features.stages)
        numbers = rows_R.tolist()
        return EncodedBatch(
            features=Features(self.features.tokens_BNC[rows_R], stages),
            targets={name: values[rows_R] for name, values in self.targets.items()},
            metas=[self.metas[number] for number in numbers],
            places=[self.places[number] for number in numbers],
        )


def start_encoder(config: FinetuneConfig, task: Task, device: torch.device) -> Any:
    """The encoder that a config starts from, an `Encoder` ready to use.

    Raises ValueError for a source that cannot be read.
    """
    torch.manual_seed(config.run.seed)
    encoder: Any = make_encoder(config.encoder, task.num_images)
    if config.init != InitConfig():
        encoder.load(config.init)
    return encoder.to(device).eval()


def training_draws(
    config: FinetuneConfig, task: Task, shards: Sequence[str], draws: int
) -> Iterator[LabelBatch]:
    """Every training sample, whatever share of the labels the config may use, placed by chance
    `draws` times, each time but for those left over from the last whole batch.

    Raises ValueError for shards that cannot be used.
    """
    view = LabelView(
        image_px=config.encoder.model.image_px, augment=config.augment, seed=config.run.seed
    )
    loader = LabelLoader(shards, task, replace(config.loader, label_share=1.0), view)
    return islice(iter(loader), draws * loader.num_batches)


def reads_stages(task: Task, encoder: Any, images_BV3HW: Tensor) -> bool:
    """Whether a task's head looks at more of an encoder than its last tokens."""
    with torch.no_grad():
        tokens_BNC, stages = encoder(images_BV3HW)
    head = task.make_head(encoder.size).to(tokens_BNC.device)
    leaves = [stage.clone().requires_grad_() for stage in stages]
    outputs = head(Features(tokens_BNC, tuple(leaves)))
    total = torch.stack([output.sum() for output in outputs.values()]).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return any(gradient is not None for gradient in gradients)


@torch.no_grad()
def encode(
    encoder: Any, batches: Iterable[LabelBatch], device: torch.device, with_stages: bool
) -> EncodedBatch:
    """Let an encoder see batches; what comes of them is kept on the CPU: the last tokens, and the
    stages before them where a head reads them.
    """
    tokens, metas, places = [], [], []
    damaged: dict[tuple[int, ...], str] = {}
    stages: list[list[Tensor]] = []
    targets: dict[str, list[Tensor]] = {}
    for batch in batches:
        features = encoder(batch.to(device).inputs())
        tokens.append(features.tokens_BNC.half().cpu())
        if with_stages:
            stages.append([stage.half().cpu() for stage in features.stages])
        for name, values in batch.targets.items():
            targets.setdefault(name, []).append(values)
        metas += batch.metas
        places += batch.places
        damaged.update(batch.damaged)
    return EncodedBatch(
        features=Features(torch.cat(tokens), tuple(map(torch.cat, zip(*stages, strict=True)))),
        targets={name: torch.cat(values) for name, values in targets.items()},
        metas=metas,
        places=places,
        damaged=damaged,
    )


def usable_places(config: FinetuneConfig, task: Task, shards: Sequence[str]) -> set[str]:
    """Where the samples lie that training may use, by the config's share of the labels."""
    view = LabelView(image_px=config.encoder.model.image_px, augment=config.augment, seed=0)
    return LabelLoader(shards, task, config.loader, view).usable_places()


def rows_at(encoded: EncodedBatch, places: set[str]) -> Tensor:
    """The numbers of the samples that lie there, each as often as it was drawn."""
    return torch.tensor([n for n, place in enumerate(encoded.places) if place in places])


def train_head(
    config: FinetuneConfig,
    task: Task,
    encoder: EncoderSize,
    encoded: EncodedBatch,
    rows_N: Tensor,
    device: torch.device,
) -> nn.Module:
    """Train a task's head for `run.num_steps` on some of the samples, by the config's recipe;
    return it ready to use.

    Raises ValueError for no samples, and a loss that is not finite. No running mean of the weights
    is made.
    """
    if not len(rows_N):
        raise ValueError(
            f"none of the labelled samples of loader.label_share = {config.loader.label_share} is "
            "among those encoded: raise frozen_draws or the share"
        )
    assert config.run.num_steps is not None and not config.optimizer.ema, "`cell_config` sees to it"
    torch.manual_seed(config.run.seed)
    head = task.make_head(encoder).to(device)
    optimizer = make_optimizer(head, config.optimizer)
    ranks, objective = Ranks(device=device), TaskObjective(task)
    stepper = Stepper(head, optimizer, None, objective, stepping_of(config), ranks)
    size, steps, finite = config.loader.batch_size, config.run.num_steps, FiniteCheck()
    orders = _orders(rows_N, size, config.run.seed)
    for step in range(steps):
        set_learning_rate(optimizer, learning_rate(config.optimizer, size, step / steps))
        batch = encoded.rows(next(orders)).to(device)
        finite.add(stepper.step(batch), step + 1, batch)
    finite.flush()
    return head.eval()


def _orders(rows_N: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Batches of rows, all of them in a new order again and again."""
    generator = torch.Generator().manual_seed(seed)
    left = rows_N[:0]
    while True:
        while len(left) < size:
            left = torch.cat([left, rows_N[torch.randperm(len(rows_N), generator=generator)]])
        yield left[:size]
        left = left[size:]
