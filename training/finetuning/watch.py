"""What a person can watch of a fine-tuning run: its log, held-out figures, pictures, TensorBoard.

Rank 0 alone looks, at a plain copy of the model with the weights gathered (their running mean where
one is kept); gathering needs all ranks.
"""

from collections.abc import Sequence
from typing import Any

from catalog import storage
from shards.format import read_index
from training.board import Board
from training.checkpoint import TrainingState, whole_weights
from training.distributed import Ranks
from training.finetuning.config import FinetuneConfig
from training.finetuning.evaluate import held_out_batches, judge
from training.finetuning.model import FinetunedModel
from training.finetuning.pictures import draw_samples
from training.loading.label_batch import LabelBatch
from training.loop import Show
from training.run_log import RunLog, Window, format_training
from training.tasks.task import Task

NUM_DRAWN = 8  # samples of a picture


class TaskWatcher:
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
        self._config, self._task, self._ranks, self._show = config, task, ranks, show
        self._out = out
        name = "log.jsonl" if ranks.is_main else f"log-rank{ranks.rank}.jsonl"
        self.log = RunLog(storage.join(out, name), resumed_step)
        self._board = Board(out, resumed_step) if ranks.is_main and config.run.tensorboard else None
        self._held_out: list[LabelBatch] = []
        if ranks.is_main and any(read_index(url).of_split("val") for url in shards):
            count = config.evaluate.max_samples
            self._held_out = list(held_out_batches(shards, task, config, count))
        self._copy: FinetunedModel | None = None

    def training(self, row: dict[str, Any], window: Window) -> None:
        """See Watcher."""
        figures = window.figures(self._ranks)
        if not self._ranks.is_main:
            return
        row = {**row, **figures}
        self.log.add(row)
        self._plot(row)
        self._show(row["used"], format_training(row))

    def held_out(self, used: float, step: int, state: TrainingState) -> list[dict[str, Any]]:
        """See Watcher."""
        model = self._gather(state)
        if model is None:
            return []
        judged = judge(model, self._task, iter(self._held_out))
        self.log.add_held_out(step, judged.summary)
        self._plot(self.log.rows[-1])
        name = self._task.headline
        self._show(used, f"step {step}  held-out {name} {judged.summary[name]:.4g}")
        return [
            {"metric": name, "value": value, "samples": judged.num_samples}
            for name, value in judged.summary.items()
        ]

    def pictures(self, step: int, state: TrainingState) -> str | None:
        """See Watcher."""
        model = self._gather(state)
        if model is None:
            return None
        png = draw_samples(model, self._task, self._held_out[0], NUM_DRAWN)
        url = storage.join(self._out, "pictures", f"{self._task.name}-{step:08d}.png")
        storage.write_bytes(url, png)
        if self._board:
            self._board.picture(step, self._task.name, png)
        return url

    def close(self) -> None:
        """See Watcher."""
        self.log.close()
        if self._board:
            self._board.close()

    def _plot(self, row: dict[str, Any]) -> None:
        if self._board:
            self._board.scalars(row["step"], row)

    def _gather(self, state: TrainingState) -> FinetunedModel | None:
        """The model as it is to be looked at, on rank 0 where there is something to look at."""
        weights = whole_weights(state.model, state.average)
        if not self._held_out:
            return None
        if self._copy is None:
            copy = FinetunedModel(self._config, self._task)
            self._copy = copy.to(self._ranks.device).eval()
        self._copy.load_state_dict(weights)
        return self._copy
