"""What a person can watch of a fine-tuning run: its log, held-out figures and pictures."""

from collections.abc import Sequence
from typing import Any

from shards.format import read_index
from training.checkpoint import TrainingState
from training.distributed import Ranks
from training.finetuning.config import FinetuneConfig
from training.finetuning.evaluate import held_out_batches, judge
from training.finetuning.model import FinetunedModel
from training.finetuning.pictures import draw_samples
from training.loading.label_batch import LabelBatch
from training.loop import Show
from training.tasks.task import Task
from training.watcher import RunWatcher

NUM_DRAWN = 8  # samples of a picture


class TaskWatcher(RunWatcher[FinetunedModel]):
    """Implements `Watcher`."""

    def __init__(
        self,
        config: FinetuneConfig,
        task: Task,
        shards: Sequence[str],
        out: str,
        resumed_step: int,
        ranks: Ranks,
        show: Show,
    ) -> None:
        """Take up the logs of a run in the local folder `out` after a step."""
        looks = any(read_index(url).of_split("val") for url in shards)
        super().__init__(
            out, resumed_step, ranks, show, tensorboard=config.run.tensorboard, looks=looks
        )
        self._config, self._task = config, task
        self._held_out: list[LabelBatch] = []
        if ranks.is_main and looks:
            count = config.evaluate.max_samples
            self._held_out = list(held_out_batches(shards, task, config, count))

    def make_copy(self) -> FinetunedModel:
        """See RunWatcher."""
        return FinetunedModel(self._config, self._task)

    def held_out(self, used: float, step: int, state: TrainingState) -> list[dict[str, Any]]:
        """See Watcher."""
        model = self.gather(state)
        if model is None:
            return []
        judged = judge(model, self._task, self._held_out)
        self.log_held_out(step, judged.summary)
        name = self._task.headline
        self._show(used, f"step {step}  held-out {name} {judged.summary[name]:.4g}")
        return [
            {"metric": name, "value": value, "samples": judged.num_samples}
            for name, value in judged.summary.items()
        ]

    def pictures(self, step: int, state: TrainingState) -> str | None:
        """See Watcher."""
        model = self.gather(state)
        if model is None:
            return None
        png = draw_samples(model, self._task, self._held_out[0], NUM_DRAWN)
        return self.keep_picture(step, self._task.name, png)
