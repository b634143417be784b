"""Measured figures: rows that say where they come from, one run after the other."""

import json
from pathlib import Path

import pytest

from catalog.measurements import Measurement, markdown, record
from catalog.report import print_measured

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


def test_figures_are_printed_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = record(str(tmp_path), "quality", [FIGURE])
    print_measured(rows, "table")
    names, _, figure = capsys.readouterr().out.splitlines()
    assert names.split() == ["metric", "value", "unit", "goal", "count", "compared_with"]
    assert figure.split() == ["recall", "0.5", "share", ">=", "0.4", "1200", "truth"]
    print_measured(rows, "table", "a text of its own")
    assert capsys.readouterr().out == "a text of its own\n"
    print_measured(rows, "json", "not this")
    assert json.loads(capsys.readouterr().out) == rows[0]
    print_measured(rows, "markdown", "not this")
    assert capsys.readouterr().out == markdown(rows) + "\n"
