"""What a pre-training run is: its config, its length, and when it may be continued."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal

from catalog.config import override_from_table, valid_keys
from training.evaluate import EvaluateConfig
from training.initialize import InitConfig
from training.loading.augment import AugmentConfig
from training.loading.filling import View
from training.loading.loader import LoaderConfig
from training.loading.masking import MaskingConfig
from training.loading.shard_files import ShardFilesConfig
from training.loss import LossConfig
from training.models.croco import CrocoConfig
from training.optimizer import OptimizerConfig

MAY_CHANGE = (  # when a run is continued: its length and what changes no result
    *("run.num_steps", "run.minutes", "run.epochs", "run.device"),
    *("run.log_every", "run.evaluate_every", "run.pictures_every", "run.checkpoint_every"),
    *("run.keep_last", "run.keep_every", "run.record_samples", "run.tensorboard"),
    *("run.compile", "run.checkpoint_blocks", "run.strategy", "run.accumulate"),
    *("loader.num_workers", "loader.prefetch_batches", "loader.max_bad_share"),
    *(f"loader.{name.name}" for name in fields(ShardFilesConfig)),
    *("evaluate.max_pairs", "evaluate.seed"),
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run is, how it computes, and what it writes on the way.

    The first budget that is set counts.
    """

    num_steps: int | None = None  # the run's length in steps; repeats exactly
    minutes: float | None = None  # its length in time, restarts included, without num_steps
    epochs: float | None = None  # its length in passes through the shards, without either
    seed: int = 0  # of first weights, order, augmentation and masks
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: the rank's GPU where there is one
    precision: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    compile: bool = False  # torch.compile; takes a minute or more before the first step
    strategy: Literal["ddp", "fsdp"] = "ddp"  # how several ranks share the model
    accumulate: int = 1  # parts of a rank's batch that are computed one after the other
    checkpoint_blocks: bool = False  # compute activations again: a third slower, much less memory
    log_every: int = 50  # steps
    evaluate_every: int = 2000  # steps; held-out loss and correspondence
    pictures_every: int = 2000  # steps; completions of the same held-out pairs
    checkpoint_every: int = 1000  # steps
    keep_last: int = 2  # newest checkpoints that stay
    keep_every: int | None = None  # steps: checkpoints of its multiples stay for good
    record_samples: bool = False  # write the ids of every step's pairs, a file for each rank
    tensorboard: bool = True  # curves and pictures for TensorBoard in the run's folder

    def __post_init__(self) -> None:
        for name in ("accumulate", "keep_last", "keep_every"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"run.{name} must be 1 or more, got {number}")
        for name in ("num_steps", "minutes", "epochs"):
            budget = getattr(self, name)
            if budget is not None and budget <= 0:
                raise ValueError(f"run.{name} must be above 0, got {budget}")
        for name in ("log_every", "evaluate_every", "pictures_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"run.{name} must be 1 step or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything a pre-training run depends on, apart from the shards."""

    model: CrocoConfig = field(default_factory=CrocoConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    init: InitConfig = field(default_factory=InitConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    run: RunConfig = field(default_factory=RunConfig)


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


def check_same_config(
    config: Any, saved: dict[str, Any], out: str, may_change: Collection[str]
) -> None:
    """Raise ValueError when a run would continue with a config that makes it another run."""
    try:
        old = override_from_table(config, saved)
    except ValueError as error:
        raise ValueError(
            f"{out} holds a run of another kind ({error}): use another --out"
        ) from None
    changed = [
        f"{key} {attrgetter(key)(old)} -> {attrgetter(key)(config)}"
        for key in valid_keys(config)
        if attrgetter(key)(old) != attrgetter(key)(config) and key not in may_change
    ]
    if changed:
        raise ValueError(
            f"{out} holds a run with another config ({', '.join(changed)}): "
            "use its values to continue it, or another --out"
        )
