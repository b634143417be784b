"""What a fine-tuning run is: its config, and the ready-made ones."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from catalog.config import override_from_table
from training.initialize import InitConfig
from training.loading.label_augment import LabelAugmentConfig
from training.loading.label_batches import LabelLoaderConfig
from training.models.encoders import EncoderConfig, encoder_width, resolve_encoder
from training.optimizer import OptimizerConfig
from training.presets import compose
from training.run_config import MAY_CHANGE as MAY_CHANGE_ALWAYS
from training.run_config import RunConfig
from training.tasks.registry import task_config

# Not where a run started from: another start into the same folder would go on with the old weights.
MAY_CHANGE = (*MAY_CHANGE_ALWAYS, "evaluate.max_samples")
RANDOM = "random"
TIMM = "timm:"


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """How much is evaluated while a run is trained."""

    max_samples: int = 512  # held-out samples, always the same ones


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything a fine-tuning run depends on, apart from the shards."""

    task_name: str  # one of `training/tasks/registry.py`
    task: Any  # the task's own config
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    init: InitConfig = field(default_factory=InitConfig)
    augment: LabelAugmentConfig = field(default_factory=LabelAugmentConfig)
    loader: LabelLoaderConfig = field(default_factory=LabelLoaderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluate: HeldOutConfig = field(default_factory=HeldOutConfig)
    run: RunConfig = field(default_factory=RunConfig)


def tiny(task_name: str) -> FinetuneConfig:
    """The tiny encoder on 64 px images, for two CPU cores; minutes.

    Without layer decay: in few steps it holds a small encoder back.
    """
    return FinetuneConfig(
        task_name=task_name,
        task=task_config(task_name, "tiny"),
        encoder=EncoderConfig(model=compose("tiny").model),
        loader=LabelLoaderConfig(batch_size=32, num_workers=0),
        optimizer=OptimizerConfig(base_lr=8e-3, warmup_share=0.1, cosine_stretch=1.0),
        run=RunConfig(
            minutes=4.0, log_every=50, evaluate_every=400, pictures_every=400, checkpoint_every=400
        ),
    )


def small(task_name: str) -> FinetuneConfig:
    """The small encoder (ViT-S) on 128 px images, for some minutes of one GPU."""
    return FinetuneConfig(
        task_name=task_name,
        task=task_config(task_name, "small"),
        encoder=EncoderConfig(model=compose("small").model, layer_decay=0.8),
        loader=LabelLoaderConfig(batch_size=128, num_workers=12),
        optimizer=OptimizerConfig(
            base_lr=1e-3, warmup_share=0.1, cosine_stretch=1.0, clip_grad_norm=1.0
        ),
        run=RunConfig(minutes=20.0, precision="bfloat16", evaluate_every=1000, pictures_every=2000),
    )


def base(task_name: str) -> FinetuneConfig:
    """A ViT-B encoder on 224 px images, as published methods have it."""
    return FinetuneConfig(
        task_name=task_name,
        task=task_config(task_name, "base"),
        encoder=EncoderConfig(model=compose("croco_v2_base").model, layer_decay=0.75),
        loader=LabelLoaderConfig(batch_size=128),
        optimizer=OptimizerConfig(
            base_lr=5e-4, warmup_share=0.05, cosine_stretch=1.0, clip_grad_norm=1.0, ema=0.9999
        ),
        run=RunConfig(epochs=50, precision="bfloat16"),
    )


PRESETS: dict[str, Callable[[str], FinetuneConfig]] = {
    preset.__name__: preset for preset in (tiny, small, base)
}


def choose_preset(wanted: str | None, task_name: str, source: str) -> tuple[str, str]:
    """The wanted preset; without one that which suits the encoder a run starts from, the first
    whose own is no narrower, or the widest. Also a line that says which it is, and why or whether
    another would suit.

    Raises ValueError for an unknown task, and a source that cannot be read.
    """
    widths = {name: encoder_width(preset(task_name).encoder) for name, preset in PRESETS.items()}
    if source == RANDOM:  # the encoder is the preset's own
        preset = wanted or next(iter(widths))
        return preset, f"preset {preset}"
    width = encoder_width(resolve_encoder(EncoderConfig(), _init_of(source)))
    suited = next((name for name in widths if widths[name] >= width), list(widths)[-1])
    if wanted is None:
        return suited, f"preset {suited}, as suits an encoder of {width} channels"
    other = "" if wanted == suited else f", though {suited} suits an encoder of {width} channels"
    return wanted, f"preset {wanted}{other}"


def make_config(task_name: str, preset: str, source: str = RANDOM) -> FinetuneConfig:
    """The config of a task by names; `source` is where the encoder starts, see `start_from`.

    Raises ValueError, naming the valid ones.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    return start_from(PRESETS[preset](task_name), source)


def start_from(config: FinetuneConfig, source: str) -> FinetuneConfig:
    """Let the encoder start from `random` weights, `timm:NAME`, or the path of a pre-training run,
    a checkpoint of one, or a published CroCo file; it then has that model's sizes.
    """
    init = _init_of(source)
    image_px = config.encoder.model.image_px if init.timm else None
    return replace(config, init=init, encoder=resolve_encoder(config.encoder, init, image_px))


def _init_of(source: str) -> InitConfig:
    if source.startswith(TIMM):
        return InitConfig(timm=source.removeprefix(TIMM))
    return InitConfig() if source == RANDOM else InitConfig(checkpoint=source)


def config_from_dict(values: dict[str, Any]) -> FinetuneConfig:
    """Restore the config that a checkpoint holds.

    Raises ValueError for a checkpoint of pre-training, and for keys this version does not know.
    """
    if "task_name" not in values:
        raise ValueError("it holds a pre-training run, not a fine-tuned model")
    name = values["task_name"]
    empty = FinetuneConfig(task_name=name, task=task_config(name, "tiny"))
    return override_from_table(empty, values)
