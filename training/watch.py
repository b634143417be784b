"""What a person can watch of pre-training: its log, held-out losses, matches and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from catalog import storage
from training.checkpoint import TrainingState
from training.correspondence import correspondence_rows
from training.distributed import Ranks
from training.evaluate import evaluate, load_held_out
from training.flops import flops_per_pair, peak_flops
from training.loading.masking import num_masked
from training.loop import Show
from training.match_pictures import draw_matches
from training.models.croco import Croco
from training.pictures import choose_rows, draw_completions
from training.run_config import PretrainConfig, held_out_view
from training.run_log import StepRows, format_held_out
from training.watcher import RunWatcher

PCK = 0.1  # of the image's side: the threshold of matches that the log shows


class CompletionWatcher(RunWatcher[Croco]):
    """Implements `Watcher` for pre-training."""

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
        self._config = config
        view = held_out_view(config)
        self._held_out = load_held_out(shards, config.loader, view, config.evaluate.max_pairs)
        looks = self._held_out is not None
        super().__init__(
            out, resumed_step, ranks, show, tensorboard=config.run.tensorboard, looks=looks
        )
        self._rows_url = storage.join(out, "held_out.jsonl")
        self._rows = StepRows(self._rows_url, resumed_step) if looks and ranks.is_main else None
        peak = peak_flops(ranks.device, config.run.precision)
        hidden = num_masked(config.model.grid**2, config.masking.ratio)
        flops = flops_per_pair(config.model, hidden) if peak else 0.0
        self._mfu_per_rate = flops / (peak * ranks.world_size) if peak else None

    def make_copy(self) -> Croco:
        """See RunWatcher."""
        return Croco(self._config.model)

    def rates(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Model FLOPs utilization, where the device's peak is known."""
        if self._mfu_per_rate is None:
            return {}
        return {"mfu": row["samples_per_s"] * self._mfu_per_rate}

    def held_out(self, used: float, step: int, state: TrainingState) -> list[dict[str, Any]]:
        """Log held-out figures, where there are held-out pairs; all ranks must call."""
        model = self.gather(state)
        if model is None or self._held_out is None or self._rows is None:
            return []
        rows = evaluate(model, self._held_out, self._config.masking.foreground_share)
        if model.config.second_image:
            rows += correspondence_rows(model, self._held_out, self._config.run.seed)
        self._show(used, format_held_out(self.log_held_out(step, _headlines(rows))))
        if self._rows.last_step == step:  # judged before the run was stopped, perhaps in part
            self._rows.close()
            self._rows = StepRows(self._rows_url, step - 1)
        for row in rows:
            self._rows.add({**row, "step": step})
        return rows

    def close(self) -> None:
        """See Watcher."""
        super().close()
        if self._rows:
            self._rows.close()

    def pictures(self, step: int, state: TrainingState) -> str | None:
        """Draw completions, and matches, of the same held-out pairs every time; return the URL of
        the first. All ranks must call.
        """
        model = self.gather(state)
        if model is None or self._held_out is None:
            return None
        rows = choose_rows(self._held_out)
        completions = draw_completions(model, self._held_out, rows)
        if model.config.second_image:
            matches = draw_matches(model, self._held_out, rows)
            self.keep_picture(step, "matches", matches)
        return self.keep_picture(step, "completions", completions)


def _headlines(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures over all kinds of pairs, of losses those on foreground."""
    overall = [row for row in rows if row["kind"] == "all"]
    chosen = [row for row in overall if row.get("patches") == "foreground"]
    chosen += [row for row in overall if row["metric"] == "keypoint_pck"]
    chosen += [row for row in overall if row.get("threshold") == PCK]
    return {row["metric"]: row["value"] for row in chosen}
