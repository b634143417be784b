"""What a run writes down on the way: one JSON object a line, no row twice and none lost over
restarts; and its lines for people.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.distributed import Ranks
from training.step import StepSums


class StepRows:
    """A file of rows that each have a `step`, on a local disk; rows are added at its end."""

    def __init__(self, path: str, resumed_step: int) -> None:
        """Take up the file that is there, less what came after the step the run continues from.

        A run that was killed may have left part of a line: it goes, too.
        """
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".tmp-{file.name}")
        self.last_step = -1  # of the rows in the file
        with temporary.open("w") as kept:
            for line in file.open() if file.exists() else ():
                if line.endswith("\n") and (step := json.loads(line)["step"]) <= resumed_step:
                    kept.write(line)
                    self.last_step = step
        os.replace(temporary, file)
        self._file = file.open("a")

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; it is in the file when this returns."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self.last_step = row["step"]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RunLog(StepRows):
    """`log.jsonl` of a run: figures of training, held-out figures, and damaged samples."""

    def __init__(self, path: str, resumed_step: int) -> None:
        super().__init__(path, resumed_step)
        lines = Path(path).read_text().splitlines()
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._damaged = {row["damaged"] for row in self.rows if "damaged" in row}

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, and keep it in memory, too: there are few."""
        super().add(row)
        self.rows.append(row)

    def add_held_out(self, step: int, figures: Mapping[str, Any]) -> None:
        """Add held-out figures by name, once for each step."""
        if any(row["step"] == step and _is_held_out(row) for row in self.rows):
            return
        self.add({"step": step, **{f"held_out_{name}": x for name, x in figures.items()}})

    def add_damaged(self, step: int, bad: dict[tuple[int, ...], str]) -> None:
        """Name each damaged sample once."""
        for reason in bad.values():
            if reason not in self._damaged:
                self._damaged.add(reason)
                self.add({"step": step, "damaged": reason})


@dataclass
class Window:
    """The steps between two rows of the log; their figures stay on the device until it ends."""

    names: tuple[str, ...]  # of the objective's terms
    sums: list[StepSums] = field(default_factory=list)
    samples: int = 0  # of all ranks
    waited_s: float = 0.0  # for data
    elapsed_s: float = 0.0  # in the steps, waiting included

    def add(self, sums: StepSums, samples: int, waited_s: float, elapsed_s: float) -> None:
        """Take up a step."""
        self.sums.append(sums)
        self.samples += samples
        self.waited_s += waited_s
        self.elapsed_s += elapsed_s

    def figures(self, ranks: Ranks) -> dict[str, Any]:
        """Mean losses over all ranks, and rates; None for what was not there. All must call."""
        steps = [torch.cat([part.reshape(-1).float() for part in step]) for step in self.sums]
        total = ranks.sum(torch.stack(steps).sum(0)).cpu()
        loss, *by_term, grad_norm = total.tolist()
        losses, weights = by_term[: len(self.names)], by_term[len(self.names) :]
        figures: dict[str, Any] = {"loss": loss / len(self.sums)}
        for name, of_term, weight in zip(self.names, losses, weights, strict=True):
            figures[f"loss_{name}"] = of_term / weight if weight else None
        if grad_norm:
            figures["grad_norm"] = grad_norm / len(self.sums) / ranks.world_size
        figures["samples_per_s"] = self.samples / self.elapsed_s
        figures["data_wait_share"] = self.waited_s / self.elapsed_s
        return figures


def format_training(row: dict[str, Any]) -> str:
    """Lay out a training row for people."""
    terms = ", ".join(
        f"{name.removeprefix('loss_')} {'-' if value is None else format(value, '.3f')}"
        for name, value in row.items()
        if name.startswith("loss_")
    )
    mfu = "" if row.get("mfu") is None else f"  MFU {row['mfu']:.0%}"
    damaged = f"  {row['damaged_samples']} damaged samples" if row["damaged_samples"] else ""
    return (
        f"step {row['step']}  loss {row['loss']:.3f} ({terms})  {row['samples_per_s']:.0f} "
        f"samples/s  waiting for data {row['data_wait_share']:.0%}{mfu}{damaged}"
    )


def format_held_out(row: dict[str, Any]) -> str:
    """Lay out a held-out row for people."""
    names = {"held_out_loss_true_second": "true", "held_out_loss_wrong_second": "wrong",
             "held_out_loss_no_second": "none"}  # fmt: skip
    losses = ", ".join(f"{names[name]} {row[name]:.3f}" for name in row if name in names)
    shares = "".join(
        f"  {name.removeprefix('held_out_')} {value:.2f}"
        for name, value in row.items()
        if "_pck" in name and value is not None
    )
    return f"step {row['step']}  held-out foreground loss by second image: {losses}{shares}"


def _is_held_out(row: dict[str, Any]) -> bool:
    return any(name.startswith("held_out") for name in row)
