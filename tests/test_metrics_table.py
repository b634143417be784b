"""Rows of samples: their summary, and what SQL finds in them."""

import math
import subprocess
import sys

import duckdb
import pyarrow.parquet as pq
import pytest
import torch

from training.metrics.table import summarize, write_rows

ROWS = {
    "label_id": ["a", "b", "c"],
    "dataset": ["toy"] * 3,
    "subject": ["s1", "s1", "s2"],
    "mpjpe_mm": torch.tensor([10.0, 30.0, torch.nan]),
    "frame": torch.tensor([7, 8, 9]),
    "auc": torch.full((3,), torch.nan),
}


def test_means_are_of_the_samples_that_have_the_metric():
    summary = summarize(ROWS)
    assert summary["mpjpe_mm"] == 20 and summary["mpjpe_mm_count"] == 2
    assert math.isnan(summary["auc"]) and summary["auc_count"] == 0
    assert summary["frame"] == 8 and summary.keys() & {"label_id", "subject_count"} == set()


def test_an_infinite_error_shows_in_the_mean():
    assert summarize({"pve_mm": torch.tensor([1.0, torch.inf])})["pve_mm"] == float("inf")


def test_rows_come_back_from_parquet_with_null_for_what_could_not_be_judged(tmp_path):
    url = str(tmp_path / "evaluation" / "rows.parquet")
    write_rows(url, ROWS)
    assert pq.read_table(url).to_pylist()[1:] == [
        {"label_id": "b", "dataset": "toy", "subject": "s1", "mpjpe_mm": 30, "frame": 8,
         "auc": None},
        {"label_id": "c", "dataset": "toy", "subject": "s2", "mpjpe_mm": None, "frame": 9,
         "auc": None},
    ]  # fmt: skip
    worst = duckdb.sql(
        f"SELECT subject, avg(mpjpe_mm) FROM '{url}' GROUP BY subject ORDER BY subject"
    ).fetchall()
    assert worst == [("s1", 20), ("s2", None)]


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_rows(str(tmp_path / name), ROWS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_that_name_no_sample_are_refused(tmp_path):
    with pytest.raises(ValueError, match="label_id or subject"):
        write_rows(str(tmp_path / "rows"), {"dataset": ["toy"]})
    with pytest.raises(ValueError, match="differ in length"):
        write_rows(str(tmp_path / "rows"), {**ROWS, "pve_mm": torch.zeros(2)})


def test_without_pyarrow_one_sentence_says_what_to_install():
    code = """
import sys
sys.modules["pyarrow"] = None
from training.metrics.table import write_rows
try:
    write_rows("rows.parquet", {})
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install pyarrow" in said.stdout
