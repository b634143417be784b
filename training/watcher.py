"""What the watchers of all jobs share: log, TensorBoard, pictures, and a plain copy of the model.

Everything shown of the model is taken from that copy, with the weights gathered (their running mean
where one is kept), so it does not matter how the model is divided among ranks. Rank 0 alone looks;
gathering needs them all.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from torch import nn

from catalog import storage
from training.board import Board
from training.checkpoint import TrainingState, whole_weights
from training.distributed import Ranks
from training.loop import Show
from training.run_log import RunLog, Window, format_training

Model = TypeVar("Model", bound=nn.Module)


class RunWatcher(ABC, Generic[Model]):
    """The base of watchers: implements all of `Watcher` but what is looked at."""

    def __init__(
        self,
        out: str,
        resumed_step: int,
        ranks: Ranks,
        show: Show,
        *,
        tensorboard: bool,
        looks: bool,
    ) -> None:
        """Take up the logs of a run in the local folder `out` after a step; `looks`, the same on
        all ranks, says whether there are held-out samples to look at.
        """
        self._out, self._ranks, self._show, self._looks = out, ranks, show, looks
        name = "log.jsonl" if ranks.is_main else f"log-rank{ranks.rank}.jsonl"
        self.log = RunLog(storage.join(out, name), resumed_step)
        self._board = Board(out, resumed_step) if ranks.is_main and tensorboard else None
        self._copy: Model | None = None

    @abstractmethod
    def make_copy(self) -> Model:
        """A model like the one that is trained, on the CPU."""

    def rates(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Further figures that follow from those of some steps."""
        return {}

    def training(self, row: dict[str, Any], window: Window) -> None:
        """See Watcher."""
        figures = window.figures(self._ranks)
        if not self._ranks.is_main:
            return
        row = {**row, **figures}
        row |= self.rates(row)
        self.log.add(row)
        self._plot(row)
        self._show(row["used"], format_training(row))

    def close(self) -> None:
        """See Watcher."""
        self.log.close()
        if self._board:
            self._board.close()

    def log_held_out(self, step: int, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Log held-out figures; return the log's row."""
        self.log.add_held_out(step, figures)
        self._plot(self.log.rows[-1])
        return self.log.rows[-1]

    def keep_picture(self, step: int, name: str, png: bytes) -> str:
        """Write a picture; return its URL."""
        url = storage.join(self._out, "pictures", f"{name}-{step:08d}.png")
        storage.write_bytes(url, png)
        if self._board:
            self._board.picture(step, name, png)
        return url

    def gather(self, state: TrainingState) -> Model | None:
        """The model as it is to be looked at, on rank 0; None elsewhere, and where nothing is."""
        if not self._looks:
            return None
        weights = whole_weights(state.model, state.average)
        if not self._ranks.is_main:
            return None
        if self._copy is None:
            self._copy = self.make_copy().to(self._ranks.device).eval()
        self._copy.load_state_dict(weights)
        return self._copy

    def _plot(self, row: dict[str, Any]) -> None:
        if self._board:
            self._board.scalars(row["step"], row)
