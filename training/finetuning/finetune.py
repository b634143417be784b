"""Fine-tuning as a job of the loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from training.distributed import Ranks, start_ranks
from training.finetuning.config import MAY_CHANGE, FinetuneConfig
from training.finetuning.model import FinetunedModel, freeze_unreached
from training.finetuning.objective import TaskObjective
from training.finetuning.watch import TaskWatcher
from training.initialize import InitConfig
from training.loading.label_batches import LabelLoader, LabelView
from training.loop import Show, TrainResult, run_job, show_nothing
from training.optimizer import make_optimizer
from training.tasks.registry import complete_config, make_task
from training.tasks.task import Task


def finetune(config: FinetuneConfig, shards: Sequence[str], out: str, show: Show) -> TrainResult:
    """Fine-tune in folder `out`; see `run_job`. Under `torchrun` all ranks call this.

    What only the data tell of the task's config is filled in.
    """
    config = replace(config, task=complete_config(config.task_name, config.task, shards))
    task = make_task(config.task_name, config.task)
    with start_ranks(config.run.device) as ranks:
        job = FinetuneJob(config=config, shards=shards, task=task)
        return run_job(job, out, show if ranks.is_main else show_nothing, ranks, MAY_CHANGE)


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """Implements `Job`."""

    config: FinetuneConfig
    shards: Sequence[str]
    task: Task

    def make_loader(self, ranks: Ranks) -> LabelLoader:
        """See Job."""
        view = LabelView(
            image_px=self.config.encoder.model.image_px,
            augment=self.config.augment,
            seed=self.config.run.seed,
        )
        return LabelLoader(
            self.shards,
            self.task,
            self.config.loader,
            view,
            rank=ranks.rank,
            world_size=ranks.world_size,
            pin_memory=ranks.device.type == "cuda",
        )

    def make_model(self) -> FinetunedModel:
        """See Job."""
        model = FinetunedModel(self.config, self.task)
        size = self.config.encoder.model.image_px
        freeze_unreached(model, torch.zeros(1, self.task.num_images, 3, size, size))
        return model

    def initialize(self, model: nn.Module) -> str:
        """See Job."""
        assert isinstance(model, FinetunedModel)
        return "" if self.config.init == InitConfig() else model.encoder.load(self.config.init)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """See Job."""
        assert isinstance(model, FinetunedModel)
        blocks: list[nn.Module] = model.encoder.blocks()
        return blocks

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """See Job: a block learns the slower, the further it is from the head."""
        assert isinstance(model, FinetunedModel)
        decay = self.config.encoder.layer_decay
        depths = {id(parameter): depth for depth, parameter in model.encoder.layers()}
        deepest = max(depths.values())
        scales = {
            name: decay ** (deepest + 1 - depths[id(parameter)])
            for name, parameter in model.named_parameters()
            if id(parameter) in depths
        }
        return make_optimizer(model, self.config.optimizer, scales)

    def make_objective(self, model: nn.Module) -> TaskObjective:
        """See Job."""
        return TaskObjective(self.task)

    def watch(self, out: str, step: int, ranks: Ranks, show: Show) -> TaskWatcher:
        """See Job."""
        return TaskWatcher(self.config, self.task, self.shards, out, step, ranks, show)
