"""Pre-training: complete one image of a pair with the help of the other, as a job of the loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from training.distributed import Ranks, start_ranks
from training.initialize import InitConfig, initialize
from training.loading.loader import PairLoader
from training.loop import Show, TrainResult, run_job, show_nothing
from training.loss import CompletionObjective
from training.models.croco import Croco
from training.optimizer import make_optimizer
from training.run_config import MAY_CHANGE, PretrainConfig, training_view
from training.watch import CompletionWatcher


def pretrain(config: PretrainConfig, shards: Sequence[str], out: str, show: Show) -> TrainResult:
    """Pre-train in folder `out`; see `run_job`. Under `torchrun` all ranks call this."""
    if config.loss.keypoint_weight and not config.model.keypoint_head:
        raise ValueError("loss.keypoint_weight needs model.keypoint_head=true")
    with start_ranks(config.run.device) as ranks:
        job = PretrainJob(config=config, shards=shards)
        return run_job(job, out, show if ranks.is_main else show_nothing, ranks, MAY_CHANGE)


@dataclass(frozen=True, kw_only=True)
class PretrainJob:
    """Implements `Job`."""

    config: PretrainConfig
    shards: Sequence[str]

    def make_loader(self, ranks: Ranks) -> PairLoader:
        """See Job."""
        return PairLoader(
            self.shards,
            self.config.loader,
            training_view(self.config),
            rank=ranks.rank,
            world_size=ranks.world_size,
            pin_memory=ranks.device.type == "cuda",
            lend=True,
        )

    def make_model(self) -> Croco:
        """See Job."""
        model = Croco(self.config.model)
        model.checkpoint_blocks = self.config.run.checkpoint_blocks
        return model

    def initialize(self, model: nn.Module) -> str:
        """See Job."""
        assert isinstance(model, Croco)
        return "" if self.config.init == InitConfig() else initialize(model, self.config.init)

    def blocks(self, model: nn.Module) -> list[nn.Module]:
        """See Job."""
        assert isinstance(model, Croco)
        return [*model.enc_blocks, *model.dec_blocks]

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """See Job."""
        return make_optimizer(model, self.config.optimizer)

    def make_objective(self, model: nn.Module) -> CompletionObjective:
        """See Job."""
        return objective_of(self.config)

    def watch(self, out: str, step: int, ranks: Ranks, show: Show) -> CompletionWatcher:
        """See Job."""
        return CompletionWatcher(self.config, self.shards, out, step, ranks, show)


def objective_of(config: PretrainConfig) -> CompletionObjective:
    """What a run minimizes."""
    return CompletionObjective(
        config.loss, config.masking, config.model.keypoint_head, config.run.compile
    )
