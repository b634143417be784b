"""The demo, from the package index to shards: real footage, the real detector, real Ray workers."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog import check, query
from shards.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # also on busy cores


def run(package: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", package, *arguments], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("demo"))
    run("mining", "run", "demo", "--root", path, "--workers", "2", "--set", "sample.fps=10")
    run("shards", "build", "--dataset", "demo", "--root", path)
    return path


def test_every_check_holds_and_nothing_was_lost(root: str) -> None:
    assert [row for row in check.check(root) if row["broken"]] == []
    assert query.select(root, "SELECT * FROM failures").num_rows == 0


def test_the_person_is_one_identity_in_four_views_and_the_bystander_in_two(root: str) -> None:
    sql = """
        SELECT identity_id, count(DISTINCT tracks.view_id) AS views,
               any_value(identity_source) AS how
        FROM tracks JOIN captures USING (capture_id)
        WHERE captures.name = 'walk' GROUP BY identity_id ORDER BY views"""
    found = query.select(root, sql).to_pylist()
    assert [(row["views"], row["how"]) for row in found] == [(2, "geometry"), (4, "geometry")]


def test_both_kinds_of_pairs_are_there_within_their_bounds(root: str) -> None:
    sql = """
        SELECT kind, count(*) AS n, min(view_angle_deg) AS least_deg,
               max(view_angle_deg) AS most_deg,
               max(time_gap_s) AS gap_s, min(score) AS score
        FROM pairs GROUP BY kind ORDER BY kind"""
    pose, view = query.select(root, sql).to_pylist()
    assert (pose["kind"], view["kind"]) == ("cross_pose", "cross_view")
    assert pose["n"] > 100 and view["n"] > 20
    assert view["gap_s"] < 0.02 and 10 <= view["least_deg"] <= view["most_deg"] <= 90
    assert pose["score"] >= 0 and view["score"] >= 0


def test_the_outdoor_people_are_held_out(root: str) -> None:
    sql = "SELECT DISTINCT name, pairs.split FROM pairs JOIN captures USING (capture_id) ORDER BY 1"
    assert query.select(root, sql).to_pylist() == [
        {"name": "outdoors", "split": "val"},
        {"name": "walk", "split": "train"},
    ]


def test_the_shards_are_sound(root: str) -> None:
    assert list(verify(str(Path(root, "shards", "demo")))) == []
