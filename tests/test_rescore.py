"""A new ranking changes the scores and nothing else, to the byte what mining would have written,
and comes only from SQL that looks at one row.
"""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from catalog import parts, query, rescore
from catalog.__main__ import build_parser
from catalog.commands import main
from catalog.parts import PartName
from catalog.schemas import PAIRS
from catalog.scores import PRESETS
from tests.catalog_fixture import write_catalog


@pytest.fixture
def root(tmp_path):
    write_catalog(str(tmp_path), num_captures=3)
    return str(tmp_path)


def files(root, table="pairs"):
    return sorted(Path(root, "catalog", table).glob("*.parquet"))


def scores(root):
    rows = query.select(root, "SELECT pair_id, score FROM pairs").to_pylist()
    return {row["pair_id"]: row["score"] for row in rows}


def test_only_the_scores_change(root):
    before = {file.name: pq.read_table(file).drop_columns("score") for file in files(root)}
    change = rescore.rescore(root, "tiny", "covisibility + time_gap_s")
    after = {file.name: pq.read_table(file).drop_columns("score") for file in files(root)}
    assert before == after
    wrong = "SELECT 1 FROM pairs WHERE score IS DISTINCT FROM covisibility + time_gap_s"
    assert query.select(root, wrong).num_rows == 0
    assert change.num_pairs == change.num_changed == len(scores(root))
    assert change.num_parts == len(before) == 3
    assert change.median_before != change.median_after


def test_another_score_changes_the_ranking(root):
    orders = []
    for score in ("covisibility", "-covisibility"):
        rescore.rescore(root, None, score)
        found = scores(root)
        orders.append(sorted(found, key=lambda pair: found[pair]))
    assert orders[0] == orders[1][::-1]


@pytest.mark.parametrize("score", ["default", "easy", "exp(sharpness_min) / 0 -- a comment"])
def test_a_rescored_part_is_to_the_byte_what_mining_writes(root, tmp_path, score):
    name = min(parts.list_parts(root, "pairs"))
    rows = parts.read_rows(root, "pairs", name)
    for row in rows:
        del row["score"]
    expression = PRESETS[score].sql if score in PRESETS else score
    values = query.evaluate(expression, parts.to_arrow("pairs", rows))
    mined = [{**row, "score": value} for row, value in zip(rows, values, strict=True)]
    other = tmp_path / "mined"
    parts.commit(str(other), name, {"pairs": mined})
    rescore.rescore(root, "tiny", score)
    url = parts.part_url(root, "pairs", name)
    assert Path(url).read_bytes() == Path(parts.part_url(str(other), "pairs", name)).read_bytes()


def test_where_nothing_changes_nothing_is_written(root):
    rescore.rescore(root, "tiny", "easy")
    before = [(file.name, file.stat().st_mtime_ns) for file in [*files(root), *files(root, "runs")]]
    change = rescore.rescore(root, "tiny", "easy")
    assert change.num_parts == change.num_changed == 0
    after = [(file.name, file.stat().st_mtime_ns) for file in [*files(root), *files(root, "runs")]]
    assert after == before


def test_only_parts_whose_scores_change_are_written(root):
    rescore.rescore(root, None, "1.0")
    times = {file.name: file.stat().st_mtime_ns for file in files(root)}
    name = max(parts.list_parts(root, "pairs"))
    score = f"CASE capture_id WHEN '{name.scope}' THEN 2.0 ELSE 1.0 END"
    assert rescore.rescore(root, None, score).num_parts == 1
    changed = [file.name for file in files(root) if file.stat().st_mtime_ns != times[file.name]]
    assert changed == [f"{name.stem}.parquet"]


def test_other_datasets_keep_their_scores(root):
    write_catalog(root, num_captures=1, dataset="other")
    before = scores(root)
    rescore.rescore(root, "other", "2.0")
    changed = {pair for pair, score in scores(root).items() if score != before[pair]}
    others = query.select(root, "SELECT pair_id FROM pairs WHERE dataset = 'other'")
    assert changed == set(others["pair_id"].to_pylist())


def test_what_was_killed_half_way_is_finished_by_the_same_command(root, monkeypatch):
    write, done = parts.write_table, []

    def write_one(url, table):
        if done:
            raise KeyboardInterrupt
        done.append(url)
        write(url, table)

    monkeypatch.setattr(parts, "write_table", write_one)
    with pytest.raises(KeyboardInterrupt):
        rescore.rescore(root, "tiny", "covisibility")
    monkeypatch.undo()
    assert rescore.rescore(root, "tiny", "covisibility").num_parts == 2
    wrong = "SELECT 1 FROM pairs WHERE score IS DISTINCT FROM covisibility"
    assert query.select(root, wrong).num_rows == 0


def test_a_part_of_an_earlier_version_gets_the_columns_it_lacks(root):
    file = files(root)[0]
    parts.write_table(str(file), pq.read_table(file).drop_columns("occlusion_max"))
    rescore.rescore(root, "tiny", "coalesce(occlusion_max, 0.25)")
    assert pq.read_table(file).schema == PAIRS.schema
    assert set(scores(root).values()) == {0.25}


def test_a_new_ranking_is_a_row_of_runs(root):
    rescore.rescore(root, "tiny", "hard")
    rows = query.select(root, "SELECT * FROM runs").to_pylist()
    assert [(row["stage"], row["dataset"], row["num_units"]) for row in rows] == [
        ("rescore", "tiny", 3)
    ]
    assert '"score": "hard"' in rows[0]["config"]
    assert None not in rows[0].values()


@pytest.mark.parametrize(
    "score",
    [
        "no_such_column * 2",
        "covisibility +",
        "'text'",
        "score * 2",
        "avg(covisibility)",
        "count(*)",
        "rank() OVER (ORDER BY covisibility)",
        "(SELECT max(covisibility) FROM terms)",
        "(SELECT count(*) FROM read_text('/etc/passwd'))",
        "random()",
        "epoch(now())",
        "1) AS DOUBLE) AS score FROM terms; DROP TABLE terms; SELECT ((1",
        "1) AS DOUBLE), CAST((2",
    ],
)
def test_what_is_no_score_is_refused(score):
    with pytest.raises(ValueError):
        rescore.check_score(score)


def test_a_wrong_score_changes_nothing(root):
    before = [file.read_bytes() for file in files(root)]
    with pytest.raises(ValueError, match="window"):
        rescore.rescore(root, "tiny", "rank() OVER (ORDER BY covisibility)")
    assert [file.read_bytes() for file in files(root)] == before


def test_presets_are_scores_between_0_and_1(root):
    for preset in PRESETS:
        assert rescore.check_score(preset) == PRESETS[preset].sql
        rescore.rescore(root, "tiny", preset)
        found = scores(root).values()
        assert min(found) >= 0 and max(found) <= 1 and len(set(found)) > 3


def test_the_default_preset_is_the_default_score():
    assert rescore.check_score("default") == PRESETS["default"].sql


def test_the_command_says_what_it_did_and_what_was_wrong(root, capsys):
    parser = build_parser()
    assert main(parser, ["rescore", "--score", "easy", "--dataset", "tiny", "--root", root]) == 0
    assert "scores changed in 3 parts; median" in capsys.readouterr().out
    assert main(parser, ["rescore", "--score", "easier", "--root", root]) == 1
    error = capsys.readouterr().err
    assert "easier" in error and len(error.splitlines()) == 1
    assert main(parser, ["rescore", "--score", "easy", "--dataset", "x", "--root", root]) == 1


def test_a_catalog_without_pairs_has_nothing_to_rank(tmp_path):
    parts.commit(str(tmp_path), PartName("c", "probe", "k"), {"captures": [{"capture_id": "c"}]})
    assert rescore.rescore(str(tmp_path), "tiny", "default").num_pairs == 0
    assert not os.path.exists(tmp_path / "catalog" / "runs")
