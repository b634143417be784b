"""Whole mining runs over datasets: given cameras, people and names are used, and the catalog says
so.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from catalog import check, query
from catalog.config import override
from mining.config import MiningConfig
from mining.executor import Done
from mining.run import RunOptions, mine
from mining.sources.base import DatasetSpec
from tests.datasets import test_aistpp, test_interhand, test_panoptic

SETTINGS = ["crop.size_px=96", "crop.min_person_px=40", "sample.fps=60"]
SETTINGS += ["candidates.min_time_gap_s=0.01", "redundancy.max_phash_bits=0"]


def unwatched(done: Iterable[Done], total: int, stage: str) -> Iterable[Done]:
    return done


def mine_dataset(adapter: str, root: Path, data: Path, parts: str) -> None:
    spec = DatasetSpec(name="set", adapter=adapter, root=str(root))
    config = override(MiningConfig(), [*SETTINGS, f"detect.parts={parts}"])
    mine(spec, config, RunOptions(root=str(data), workers=0), unwatched)


def rows(data: Path, sql: str) -> list[dict[str, Any]]:
    return query.select(str(data), sql).to_pylist()


@pytest.mark.parametrize(
    ("adapter", "parts", "names"),
    [
        ("aistpp", "body", {"d04"}),
        ("panoptic", "body", {"body 4", "body 0"}),
        ("interhand", "hands", {"subject 5"}),
    ],
)
def test_a_run_takes_what_is_given(
    tmp_path: Path, adapter: str, parts: str, names: set[str]
) -> None:
    root, data = tmp_path / "dataset", tmp_path / "data"
    write = {
        "aistpp": test_aistpp.write_aistpp,
        "panoptic": test_panoptic.write_panoptic,
        "interhand": test_interhand.write_interhand,
    }
    write[adapter](root)
    mine_dataset(adapter, root, data, parts)
    assert [row for row in check.check(str(data)) if row["broken"]] == []
    assert rows(data, "SELECT DISTINCT source FROM detections") == [{"source": "given"}]
    assert rows(data, "SELECT DISTINCT calibration FROM views") == [{"calibration": "given"}]
    assert rows(data, "SELECT DISTINCT identity_source FROM tracks") == [
        {"identity_source": "given"}
    ]
    given = rows(data, "SELECT DISTINCT given_identity AS name FROM detections")
    assert {row["name"] for row in given} == names
    pairs = rows(
        data,
        """SELECT kind, a.part AS part, b.part AS part_b, da.given_identity AS name,
                  db.given_identity AS name_b, view_angle_deg, time_gap_s
           FROM pairs JOIN crops a ON crop_a = a.crop_id JOIN crops b ON crop_b = b.crop_id
           JOIN detections da ON da.detection_id = a.detection_id
           JOIN detections db ON db.detection_id = b.detection_id""",
    )
    assert {pair["kind"] for pair in pairs} == {"cross_view", "cross_pose"}
    assert all(pair["part"] == pair["part_b"] for pair in pairs)
    assert all(pair["name"] == pair["name_b"] for pair in pairs)
    assert all(
        pair["view_angle_deg"] > 0 and pair["time_gap_s"] <= 1 / 60 + 1e-3
        for pair in pairs
        if pair["kind"] == "cross_view"
    )
    excluded = rows(data, "SELECT id, reason FROM rejects WHERE stage = 'list'")
    assert ("evaluation" in {row["reason"] for row in excluded}) == (adapter != "interhand")
