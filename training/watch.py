"""What a person can watch of a run: its log, held-out losses, matches, pictures, and TensorBoard.

Everything shown of the model is taken from a plain copy of it with the weights gathered (their
running mean where one is kept), so it does not matter how the model is divided among ranks. Rank 0
alone looks; gathering needs them all.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from catalog import storage
from training.board import Board
from training.checkpoint import TrainingState, whole_weights
from training.correspondence import CorrespondenceConfig, correspondence_rows
from training.distributed import Ranks
from training.evaluate import evaluate, load_held_out
from training.flops import flops_per_pair, peak_flops
from training.loading.masking import num_masked
from training.match_pictures import draw_matches
from training.models.croco import Croco
from training.pictures import choose_rows, draw_completions
from training.run_config import PretrainConfig, held_out_view
from training.run_log import RunLog, Window, format_held_out, format_training

PCK = 0.1  # of the image's side: the threshold of matches that the log shows

Show = Callable[[float, str], None]


class CompletionWatcher:
    """Writes and shows what is to be seen of a run, on rank 0; elsewhere it only takes part."""

    def __init__(
        self,
        config: PretrainConfig,
        shards: Sequence[str],
        out: str,
        resumed_step: int,
        ranks: Ranks,
        show: Show,
    ) -> None:
        """Take up the logs of a run in the local folder `out` after a step."""
        self._config, self._out, self._ranks, self._show = config, out, ranks, show
        name = "log.jsonl" if ranks.is_main else f"log-rank{ranks.rank}.jsonl"
        self.log = RunLog(storage.join(out, name), resumed_step)
        self._board = Board(out, resumed_step) if ranks.is_main and config.run.tensorboard else None
        view = held_out_view(config)
        self._held_out = load_held_out(shards, config.loader, view, config.evaluate.max_pairs)
        self._matching = CorrespondenceConfig(untrained_seed=config.run.seed)
        self._copy: Croco | None = None
        peak = peak_flops(ranks.device, config.run.precision)
        hidden = num_masked(config.model.grid**2, config.masking.ratio)
        flops = flops_per_pair(config.model, hidden) if peak else 0.0
        self._mfu_per_rate = flops / (peak * ranks.world_size) if peak else None

    def training(self, row: dict[str, Any], window: Window) -> None:
        """Log the figures of some steps; all ranks must call."""
        figures = window.figures(self._ranks)
        if not self._ranks.is_main:
            return
        row = {**row, **figures}
        if self._mfu_per_rate is not None:
            row["mfu"] = row["samples_per_s"] * self._mfu_per_rate
        self.log.add(row)
        self._plot(row)
        self._show(row["used"], format_training(row))

    def held_out(self, used: float, step: int, state: TrainingState) -> list[dict[str, Any]]:
        """Log held-out figures, where there are held-out pairs; all ranks must call."""
        model = self._gather(state)
        if model is None or self._held_out is None:
            return []
        rows = evaluate(model, self._held_out, self._config.masking.foreground_share)
        if model.config.second_image:
            rows += correspondence_rows(model, self._held_out, self._matching)
        self.log.add_held_out(step, _headlines(rows))
        self._plot(self.log.rows[-1])
        self._show(used, format_held_out(self.log.rows[-1]))
        lines = "".join(json.dumps({**row, "step": step}) + "\n" for row in rows)
        storage.write_text(storage.join(self._out, "held_out.jsonl"), lines)
        return rows

    def pictures(self, step: int, state: TrainingState) -> str | None:
        """Draw completions, and matches, of the same held-out pairs every time; return the URL of
        the first. All ranks must call.
        """
        model = self._gather(state)
        if model is None or self._held_out is None:
            return None
        rows = choose_rows(self._held_out)
        drawn = {"completions": draw_completions(model, self._held_out, rows)}
        if model.config.second_image:
            drawn["matches"] = draw_matches(model, self._held_out, rows, self._matching)
        for name, png in drawn.items():
            url = storage.join(self._out, "pictures", f"{name}-{step:08d}.png")
            storage.write_bytes(url, png)
            if self._board:
                self._board.picture(step, name, png)
        return storage.join(self._out, "pictures", f"completions-{step:08d}.png")

    def close(self) -> None:
        """Close the files."""
        self.log.close()
        if self._board:
            self._board.close()

    def _plot(self, row: dict[str, Any]) -> None:
        if self._board:
            self._board.scalars(row["step"], row)

    def _gather(self, state: TrainingState) -> Croco | None:
        """The model as it is to be looked at, on rank 0."""
        if self._held_out is None:
            return None
        weights = whole_weights(state.model, state.average)
        if not self._ranks.is_main:
            return None
        if self._copy is None:
            self._copy = Croco(self._config.model).to(self._ranks.device).eval()
        self._copy.load_state_dict(weights)
        return self._copy


def _headlines(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures over all kinds of pairs, of losses those on foreground."""
    overall = [row for row in rows if row["kind"] == "all"]
    chosen = [row for row in overall if row.get("patches") == "foreground"]
    chosen += [row for row in overall if row["metric"] == "keypoint_pck"]
    chosen += [row for row in overall if row.get("threshold") == PCK]
    return {row["metric"]: row["value"] for row in chosen}
