"""What a study is: which cells there are, and how long each; and the ready-made ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from training.finetuning.config import RANDOM

# Encoders see people before such backgrounds, and as large, as in fine-tuning.
PRETRAIN_SET = ("augment.background=keep",)
FINETUNE_SET = ("augment.margin_zoom=1.3",)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Which cells there are, and how long each."""

    preset: str
    inits: tuple[str, ...]  # `random`, or methods of pre-training
    tasks: tuple[str, ...]
    label_shares: tuple[float, ...]
    seeds: tuple[int, ...]
    pretrain_steps: int
    finetune_steps: int
    max_samples: int  # held-out ones that a cell is judged on
    workers: int  # processes side by side
    # Heads alone are trained, on what the frozen encoder makes of every labelled image placed by
    # chance so many times (`frozen.py`); 0: the encoder is trained as well.
    frozen_draws: int = 0
    max_passes: int | None = None  # through a cell's labelled images: it takes fewer steps then
    pretrain_set: tuple[str, ...] = ()  # overrides of the recipes
    finetune_set: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frozen_draws < 0 or self.workers < 1:
            raise ValueError(
                f"a study needs frozen_draws of 0 or more and 1 worker or more, but has "
                f"{self.frozen_draws} and {self.workers}"
            )
        if self.max_passes is not None and self.max_passes < 1:
            raise ValueError(f"max_passes must be 1 or more, or none, got {self.max_passes}")


def cpu_study() -> StudyConfig:
    """Tiny models on two cores: meshes and keypoints from frozen encoders, in 20 minutes.

    Heads alone are trained: in so short a time a tiny encoder that is trained as well learns as
    much from random weights (docs/fine-tuning.md).
    """
    return StudyConfig(
        preset="tiny",
        inits=(RANDOM, "mae", "cross_view", "cross_pose", "both"),
        tasks=("body_mesh", "keypoints"),
        label_shares=(0.01, 0.1, 1.0),
        seeds=(0, 1, 2),
        pretrain_steps=600,
        finetune_steps=400,
        max_samples=512,
        workers=2,
        frozen_draws=1,
        max_passes=40,  # beyond, heads know the images of a small share by heart
        pretrain_set=PRETRAIN_SET,
        finetune_set=("optimizer.base_lr=1e-2", *FINETUNE_SET),
    )


def long_study() -> StudyConfig:
    """As `cpu`, with five times as much pre-training and longer heads: some two hours."""
    return replace(cpu_study(), pretrain_steps=3000, finetune_steps=1000, frozen_draws=2)


def gpu_study() -> StudyConfig:
    """Small models at 128 px on one large GPU: three tasks, sized for 25 minutes."""
    return StudyConfig(
        preset="small",
        inits=(RANDOM, "mae", "siammae", "cross_view", "cross_pose", "both"),
        tasks=("body_mesh", "keypoints", "dense_pose"),
        label_shares=(0.01, 0.1, 1.0),
        seeds=(0, 1, 2),
        pretrain_steps=2000,
        finetune_steps=250,
        max_samples=1024,
        workers=3,
        pretrain_set=PRETRAIN_SET,
        finetune_set=FINETUNE_SET,
    )


STUDIES: dict[str, Callable[[], StudyConfig]] = {
    "cpu": cpu_study,
    "long": long_study,
    "gpu": gpu_study,
}
