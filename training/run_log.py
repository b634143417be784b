"""The log of a run: one JSON object a line, no row twice and none lost over restarts, and its lines
for people.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from catalog import storage
from training.loading.batches import PairBatch
from training.loss import Losses


class RunLog:
    """Rows with a `step`, kept in `log.jsonl` of the run's folder."""

    def __init__(self, folder: str, resumed_step: int) -> None:
        """Take up the log that is there, less what was logged after the checkpoint the run
        continues from.
        """
        self._url = storage.join(folder, "log.jsonl")
        lines = storage.read_text(self._url).splitlines() if storage.exists(self._url) else []
        rows = [json.loads(line) for line in lines]
        self.rows: list[dict[str, Any]] = [row for row in rows if row["step"] <= resumed_step]
        self._damaged = {row["damaged"] for row in self.rows if "damaged" in row}

    def add(self, row: dict[str, Any]) -> None:
        """Add a row and write the file anew: it is small, and so it is always whole."""
        self.rows.append(row)
        storage.write_text(self._url, "".join(json.dumps(row) + "\n" for row in self.rows))

    def add_held_out(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Add the foreground losses over all kinds, by second image, once for each step."""
        if any(row["step"] == step and "held_out_loss_true_second" in row for row in self.rows):
            return
        chosen = [row for row in rows if row["kind"] == "all" and row["patches"] == "foreground"]
        self.add({"step": step, **{f"held_out_{row['metric']}": row["value"] for row in chosen}})

    def add_damaged(self, step: int, bad: dict[tuple[int, ...], str]) -> None:
        """Name each damaged sample once."""
        for reason in bad.values():
            if reason not in self._damaged:
                self._damaged.add(reason)
                self.add({"step": step, "damaged": reason})


@dataclass(kw_only=True)
class Window:
    """The steps between two rows of the log."""

    losses: list[Losses] = field(default_factory=list)
    pairs: int = 0
    waited_s: float = 0.0  # for data
    elapsed_s: float = 0.0  # in the steps, waiting included

    def add(self, losses: Losses, pairs: int, waited_s: float, elapsed_s: float) -> None:
        """Take up a step; its losses stay on the device until the window ends."""
        kept = {kind: value.detach() for kind, value in losses.by_kind.items()}
        self.losses.append(Losses(losses.total.detach(), kept))
        self.pairs += pairs
        self.waited_s += waited_s
        self.elapsed_s += elapsed_s

    def figures(self) -> dict[str, Any]:
        """Mean losses (of the steps that had such pairs) and rates; None for what was not there."""
        kinds = self.losses[0].by_kind
        means = {
            f"loss_{kind}": _mean([step.by_kind[kind] for step in self.losses]) for kind in kinds
        }
        return {
            "loss": _mean([step.total for step in self.losses]),
            **means,
            "pairs_per_s": self.pairs / self.elapsed_s,
            "data_wait_share": self.waited_s / self.elapsed_s,
        }


def format_training(row: dict[str, Any]) -> str:
    """Lay out a training row for people."""
    kinds = ", ".join(
        f"{kind} {'-' if row[f'loss_{kind}'] is None else format(row[f'loss_{kind}'], '.3f')}"
        for kind in ("cross_view", "cross_pose")
    )
    damaged = f"  {row['damaged_samples']} damaged samples" if row["damaged_samples"] else ""
    return (
        f"step {row['step']}  loss {row['loss']:.3f} ({kinds})  {row['pairs_per_s']:.0f} pairs/s  "
        f"waiting for data {row['data_wait_share']:.0%}{damaged}"
    )


def format_held_out(row: dict[str, Any]) -> str:
    """Lay out a held-out row for people."""
    values = {
        name.split("_")[3]: value for name, value in row.items() if name.startswith("held_out")
    }
    text = ", ".join(f"{second} {value:.3f}" for second, value in values.items())
    return f"step {row['step']}  held-out foreground loss by second image: {text}"


def describe_bad_loss(loss: float, step: int, batch: PairBatch) -> str:
    """Say which step and samples gave a loss that is not finite."""
    samples = "; ".join(
        f"{i} in {place}" for i, place in zip(batch.pair_ids, batch.places, strict=True)
    )
    advice = "lower optimizer.base_lr, or look at its samples"
    return f"the loss of step {step} is {loss}: {advice}: {samples}"


def _mean(values: list[Tensor]) -> float | None:
    mean = torch.stack(values).nanmean().item()
    return None if mean != mean else mean
