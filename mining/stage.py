"""What stages take and give: work units in, rows and bytes out.

A stage knows neither Ray nor files nor DuckDB.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

from catalog.parts import PartName, Row

StageName = Literal["probe", "segment", "pair", "label"]


@dataclass(frozen=True, kw_only=True)
class WorkUnit:
    """A piece of work that one worker does at once.

    `name` carries the content key. `payload` is what the stage needs to know, `reads` names the
    parts whose rows of `detections` it needs. `expected` is how many things (`counted`) are lost
    when the unit breaks as a whole.
    """

    stage: StageName
    name: PartName
    dataset: str
    payload: Any
    reads: tuple[PartName, ...] = ()
    counted_stage: str
    counted: str
    expected: int


@dataclass
class Outcome:
    """What a stage made of a unit: rows by table, the tar of its crops, and seconds by what they
    were spent on.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    crops_tar: bytes | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Tally:
    """Counts one stage of one unit, what comes in apart from what becomes of it, and writes its
    rejects and failures. `catalog check` compares: in = kept + rejected + failed.
    """

    def __init__(self, outcome: Outcome, unit: WorkUnit, stage: str, counted: str) -> None:
        self.outcome, self.unit, self.stage, self.counted = outcome, unit, stage, counted
        self.taken = self.kept = self.rejected = self.failed = 0

    def take(self, count: int) -> None:
        """Count things that come in."""
        self.taken += count

    def keep(self, count: int = 1) -> None:
        """Count things that go on."""
        self.kept += count

    def reject(self, id: str, reason: str, detail: str, detection_id: str | None = None) -> None:
        """Drop one thing on purpose, for a reason of `catalog/reasons.py` or another package's own;
        `detection_id` names the crop that shows it.
        """
        self.rejected += 1
        self.outcome.rows["rejects"].append(
            {
                "stage": self.stage,
                "unit": self.unit.name.unit_id,
                "id": id,
                "reason": reason,
                "detail": detail,
                "detection_id": detection_id,
            }
        )

    def fail(
        self, id: str, error: str, count: int = 1, attempt: int = 1, traceback: str | None = None
    ) -> None:
        """Lose `count` things to one fault."""
        self.failed += count
        self.outcome.rows["failures"].append(
            {
                "stage": self.stage,
                "unit": self.unit.name.unit_id,
                "id": id,
                "error": error,
                "attempt": attempt,
                "num_lost": count,
                "traceback": traceback,
            }
        )

    def close(self) -> None:
        """Write the stage's row of `units`."""
        scope = self.unit.name.scope
        self.outcome.rows["units"].append(
            {
                "stage": self.stage,
                "unit": self.unit.name.unit_id,
                "key": self.unit.name.key,
                "capture_id": None if self.stage == "list" else scope,
                "dataset": self.unit.dataset,
                "counted": self.counted,
                "num_in": self.taken,
                "num_kept": self.kept,
                "num_rejected": self.rejected,
                "num_failed": self.failed,
            }
        )
