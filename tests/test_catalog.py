"""The catalog: parts are whole and replaceable, SQL is read-only, counts add up, ids lead back."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from catalog import check, parts, query, schemas, storage
from catalog.__main__ import build_parser
from catalog.commands import main
from catalog.config import config_hash, override, override_from_table, to_dict
from catalog.ids import content_id, seed_of
from catalog.parts import PartName
from mining.cropping.crop import CropConfig
from mining.decoding.video import DecodeConfig


def unit_row(num_in: int, kept: int, rejected: int = 0, failed: int = 0) -> dict[str, object]:
    return {
        "stage": "pair", "unit": "scope.pair", "key": "k", "capture_id": "scope",
        "dataset": "toy", "counted": "pairs", "num_in": num_in, "num_kept": kept,
        "num_rejected": rejected, "num_failed": failed,
    }  # fmt: skip


def test_ids_depend_on_content_alone() -> None:
    assert content_id("a", 1, [2.5, None]) == content_id("a", 1, [2.5, None])
    assert content_id("a", "1") != content_id("a", 1)
    assert content_id({"x": 1, "y": 2}) == content_id({"y": 2, "x": 1})
    assert len(content_id("a")) == 16
    assert 0 <= seed_of("a") < 2**63
    with pytest.raises(TypeError):
        content_id(object())


def test_overrides_are_read_as_the_field_is_annotated() -> None:
    assert override(CropConfig(), ["size_px=128"]).size_px == 128
    assert override(DecodeConfig(), ["decoders=pyav"]).decoders == ("pyav",)
    assert override_from_table(CropConfig(), {"margin": 1.5}).margin == 1.5
    assert config_hash(CropConfig()) != config_hash(CropConfig(size_px=128))
    assert to_dict(CropConfig())["size_px"] == 256


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("size=1", "size_px"),
        ("size_px=big", "expected a whole number"),
        ("margin=inf", "margin=inf: expected a finite number"),
        ("margin=nan", "margin=nan: expected a finite number"),
        ("size_px", "section.key=value"),
        ("size_px.x=1", "unknown config key"),
    ],
)
def test_a_wrong_override_names_what_would_be_right(assignment: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        override(CropConfig(), [assignment])


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    name = PartName("scope", "pair", "k")
    row = {"pair_id": "p", "kind": "cross_view", "score": 0.5}
    parts.commit(str(tmp_path), name, {"pairs": [row], "rejects": []})
    [read] = parts.read_rows(str(tmp_path), "pairs", name)
    assert {key: read[key] for key in row} == row
    assert read["view_angle_deg"] is None
    assert parts.list_parts(str(tmp_path), "rejects") == {}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        name = PartName("scope", "pair", "k")
        parts.commit(str(tmp_path / folder), name, {"pairs": [{"pair_id": "p", "score": 0.5}]})
    a, b = (next((tmp_path / f / "catalog" / "pairs").iterdir()).read_bytes() for f in ("a", "b"))
    assert a == b


def test_a_row_with_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column colour"):
        parts.commit(str(tmp_path), PartName("s", "u", "k"), {"pairs": [{"colour": "red"}]})


def test_the_mark_is_written_after_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(storage, "write_bytes", lambda url, data: written.append(url))
    rows = {"units": [unit_row(1, 1)], "pairs": [{"pair_id": "p"}], "tracks": [{"track_id": "t"}]}
    parts.commit(str(tmp_path), PartName("scope", "pair", "k"), rows, crops_tar=b"tar")
    assert "/catalog/units/" in written[-1]
    assert len(written) == 4


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        storage.write_bytes(str(tmp_path / "file"), b"x")
    assert list(tmp_path.iterdir()) == []


def test_storage_works_on_urls_as_on_paths() -> None:
    storage.write_bytes("memory://bucket/a/file.bin", b"0123456789")
    assert storage.read_bytes("memory://bucket/a/file.bin", 2, 3) == b"234"
    assert storage.size_bytes("memory://bucket/a/file.bin") == 10
    assert storage.list_files("memory://bucket/a", ".bin") == ["memory://bucket/a/file.bin"]
    storage.delete("memory://bucket/a/file.bin")
    assert not storage.exists("memory://bucket/a/file.bin")


@pytest.fixture
def root(tmp_path: Path) -> str:
    rows = {
        "pairs": [{"pair_id": "p", "kind": "cross_view", "score": 0.5}],
        "units": [unit_row(1, 1)],
    }
    parts.commit(str(tmp_path), PartName("scope", "pair", "k"), rows)
    return str(tmp_path)


def test_sql_reads_every_table_even_empty_ones(root: str) -> None:
    assert query.select(root, "SELECT kind FROM pairs")["kind"].to_pylist() == ["cross_view"]
    for table in schemas.TABLES:
        assert query.select(root, f"SELECT * FROM {table}").schema.names == [
            column.name for column in schemas.TABLES[table].columns
        ]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO pairs SELECT * FROM pairs",
        "COPY pairs TO '{root}/catalog/stolen.csv'",
        "EXPLAIN ANALYZE COPY pairs TO '{root}/catalog/stolen.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_text('{root}/catalog/../../../../../../etc/hostname')",
        "SELECT * FROM '{outside}'",
        "ATTACH '{root}/catalog/new.db'",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT nothing FROM pairs",
        "not sql at all",
    ],
)
def test_sql_that_writes_or_reaches_out_is_refused_in_one_sentence(
    root: str, tmp_path_factory: pytest.TempPathFactory, sql: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"read-only|the query did not run"):
        query.select(root, sql.format(root=root, outside=outside))
    assert not list(Path(root, "catalog").glob("*.*"))


def test_an_expression_is_evaluated_row_by_row() -> None:
    rows = pa.table({"covisibility": [0.5, None], "kind": ["cross_view", "cross_pose"]})
    assert query.evaluate("covisibility * 2", rows) == [1.0, None]
    with pytest.raises(ValueError, match="the query did not run"):
        query.evaluate("sharpnes", rows)


def test_counts_that_do_not_add_up_are_found(tmp_path: Path) -> None:
    parts.commit(str(tmp_path), PartName("scope", "pair", "k"), {"units": [unit_row(3, 1, 1, 0)]})
    broken = {row["check"]: row["broken"] for row in check.check(str(tmp_path))}
    assert broken["counts add up in every unit: in = kept + rejected + failed"] == 1
    assert broken["every rejected thing is a row of rejects"] == 1
    assert broken["pairs kept are rows of pairs"] == 1
    assert broken["ids are unique"] == 0


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "catalog", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_prints_rows_as_asked(root: str) -> None:
    answer = run("sql", "SELECT pair_id, score FROM pairs", "--root", root, "--format", "json")
    assert [json.loads(line) for line in answer.stdout.splitlines()] == [
        {"pair_id": "p", "score": 0.5}
    ]
    assert "0.5" in run("sql", "FROM pairs", "--root", root).stdout
    assert run("sql", "SELECT 1 AS a", "--root", root, "--format", "csv").stdout == "a\n1\n"


@pytest.mark.parametrize(
    "arguments", [("sql", "SELECT 1 FROM nowhere"), ("trace", "abc"), ("tables", "chairs")]
)
def test_a_users_mistake_is_one_sentence_and_exit_code_1(
    root: str, arguments: tuple[str, ...]
) -> None:
    answer = run(*arguments, "--root", root)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "Traceback" not in answer.stderr


def test_no_catalog_is_said_and_not_made(tmp_path: Path) -> None:
    answer = run("sql", "SELECT 1", "--root", str(tmp_path / "none"))
    assert answer.returncode == 1
    assert "no catalog" in answer.stderr
    assert not (tmp_path / "none").exists()


def test_the_table_reference_is_the_schemas(tmp_path: Path) -> None:
    reference = Path("docs/tables.md").read_text()
    assert schemas.reference_markdown() + "\n" == reference


def test_parts_of_an_earlier_version_are_read_with_null_for_the_new_columns(root: str) -> None:
    old = pa.table({"run_id": ["r"], "stage": ["pair"]})
    parts.write_table(parts.part_url(root, "runs", PartName("r", "pair", "run")), old)
    [row] = query.select(root, "SELECT run_id, num_frames FROM runs").to_pylist()
    assert row == {"run_id": "r", "num_frames": None}


def test_tables_are_all_that_is_listed(root: str) -> None:
    assert set(query.select(root, "SHOW TABLES")["name"].to_pylist()) == set(schemas.TABLES)


def test_a_root_may_have_any_name(tmp_path: Path) -> None:
    strange = str(tmp_path / "it's [1] *odd?")
    parts.commit(strange, PartName("scope", "pair", "k"), {"pairs": [{"pair_id": "p"}]})
    assert query.select(strange, "SELECT pair_id FROM pairs")["pair_id"].to_pylist() == ["p"]


def test_every_kind_of_value_can_be_printed(root: str) -> None:
    sql = """SELECT sum(num_in) AS whole, 0.5::DECIMAL(4, 2) AS part, DATE '2026-01-02' AS day,
             'nan'::DOUBLE AS nothing, [1.5::DECIMAL(3, 1)] AS list
             FROM units"""
    [row] = [json.loads(run("sql", sql, "--root", root, "--format", "json").stdout)]
    assert row == {
        "whole": 1, "part": 0.5, "day": "2026-01-02", "nothing": None, "list": [1.5],
    }  # fmt: skip
    assert run("sql", sql, "--root", root).returncode == 0


def test_leftovers_are_deleted_when_they_are_old(tmp_path: Path) -> None:
    for name, age_s in ((".tmp-old", 7200), (".tmp-new", 0)):
        (tmp_path / name).write_text("half")
        moment = time.time() - age_s
        os.utime(tmp_path / name, (moment, moment))
    (tmp_path / ".tmp-folder").mkdir()
    assert storage.remove_leftovers(str(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-folder", ".tmp-new"]


def test_csv_has_the_line_ends_that_a_shell_expects(root: str) -> None:
    command = [sys.executable, "-m", "catalog", "sql", "SELECT 1 AS a", "--root", root]
    answer = subprocess.run([*command, "--format", "csv"], capture_output=True, check=True)
    assert answer.stdout == b"a\n1\n"


@pytest.mark.parametrize("question", ["", "  "])
def test_no_question_is_wrong_usage_and_says_how_to_ask(
    question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(build_parser(), ["sql", question]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and 'make query SQL="SELECT ' in said
