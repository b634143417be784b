"""Measured figures: rows that say where they come from, one run after the other."""

import json
from pathlib import Path

from catalog.measurements import Measurement, markdown, record

FIGURE = Measurement(
    metric="recall", value=0.5, unit="share", count=1200, compared_with="truth", goal=">= 0.4"
)


def test_runs_are_appended_and_each_row_says_its_origin(tmp_path: Path) -> None:
    first = record(str(tmp_path), "quality", [FIGURE])
    second = record(str(tmp_path), "quality", [FIGURE, FIGURE])
    lines = (tmp_path / "reports" / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [*first, *second]
    assert first[0]["metric"] == "recall" and first[0]["value"] == 0.5
    assert all(row[key] for row in second for key in ("run_id", "date", "machine", "commit"))
    assert len({row["run_id"] for row in second}) == 1


def test_markdown_names_what_was_not_measured(tmp_path: Path) -> None:
    missing = Measurement(metric="angle", value=None, unit="deg", compared_with="nothing found")
    text = markdown(record(str(tmp_path), "quality", [FIGURE, missing]))
    assert "| recall | 0.5 | share | >= 0.4 | 1,200 | truth |" in text
    assert "| angle | not measured | deg |" in text
