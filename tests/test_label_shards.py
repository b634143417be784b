"""Shard sets of labelled samples: what is in the catalog is in the tars, and damage is named."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from catalog import check, parts, summary, trace
from catalog.commands import main
from shards.__main__ import build_parser
from shards.build import BuildReport, build_shards, contents_of, part_groups
from shards.format import ShardEntry, read_index
from shards.label_check import check_label
from shards.labels import decode_label
from shards.plan import ShardsConfig
from shards.read import draw_sheet, peek, summary_row
from shards.verify import verify
from tests.labelled_runs import DATASET, labels_of, mine_labels, rows


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    mine_labels(root, num_captures=2)
    return root


@pytest.fixture
def root(mined: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", str(mined), str(tmp_path / "copy")], check=True)
    return tmp_path / "copy"


def build(root: Path, where: str | None = None) -> BuildReport:
    return build_shards(str(root), DATASET, None, where, ShardsConfig(samples_per_shard=7))


def test_a_set_of_labels_holds_every_sample_as_the_catalog_does(root: Path) -> None:
    report = build(root)
    assert verify(report.url) == []
    index = read_index(report.url)
    found = {label.label_id: row for row, label in labels_of(root)}
    assert index.contents == "labels" and index.num_samples == len(found)
    tars = [f"{report.url}/{shard.name}" for shard in index.shards]
    for sample in wds.WebDataset(tars, shardshuffle=False, empty_check=False):
        row = found.pop(sample["__key__"])
        assert sample["json"] == row["label"].encode()
        label = decode_label(json.loads(sample["json"]))
        tar = (root / row["file"]).read_bytes()
        assert sample["a.jpg"] == tar[row["offset_a"] :][: row["length_a"]]
        assert ("b.jpg" in sample) == (label.kind == "two_view")
        assert ("a.iuv.png" in sample) == (label.images[0].dense_chart is not None)
    assert not found


def test_the_groups_of_the_index_are_those_of_the_samples(root: Path) -> None:
    groups = {(group.kind, group.part) for group in read_index(build(root).url).groups}
    assert groups == {(row["kind"], row["part"]) for row, _ in labels_of(root)}


def test_bodies_and_hands_are_sets_of_their_own(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert contents_of(str(root), DATASET) == "labels"
    assert part_groups(str(root), DATASET, None) == ["body", "hands"]
    arguments = ["build", "--root", str(root), "--dataset", DATASET, "--part", "each"]
    assert main(build_parser(), arguments) == 0
    bodies, hands = (read_index(f"{root}/shards/{DATASET}{end}") for end in ("", "-hands"))
    assert {group.part for group in bodies.groups} == {"body"}
    assert {group.part for group in hands.groups} == {"left_hand", "right_hand"}
    assert "labelled samples written" in capsys.readouterr().out
    assert [row for row in check.check(str(root)) if row["broken"]] == []
    lines = summary.summarize(str(root), DATASET)
    assert sum(int(row["amount"]) for row in lines if row["what"].startswith("labelled")) == sum(
        index.num_samples for index in (bodies, hands)
    )
    assert sum("labelled samples, " in (row["detail"] or "") for row in lines) == 2


def test_a_condition_is_over_the_columns_of_labels(root: Path) -> None:
    report = build(root, where="kind = 'single' AND gesture IS NOT NULL AND has_joints")
    assert set(read_index(report.url).samples_by_kind) == {"single"}
    with pytest.raises(ValueError, match="not a condition over the columns of labels"):
        build(root, where="score > 0")
    with pytest.raises(ValueError, match=f"no labelled sample of dataset '{DATASET}' fulfils"):
        build(root, where="false")


def test_the_same_build_again_writes_nothing_and_other_order_is_another_seed(root: Path) -> None:
    first = build(root)
    assert not first.skipped and build(root).skipped
    other = build_shards(str(root), DATASET, None, None, ShardsConfig(seed=1))
    assert other.index.plan != first.index.plan


def test_a_person_in_both_splits_is_refused(root: Path) -> None:
    name = min(parts.list_parts(str(root), "labels"))
    table = parts.read_rows(str(root), "labels", name)
    table[0]["split"] = {"train": "val", "val": "train"}[table[0]["split"]]
    parts.write_table(parts.part_url(str(root), "labels", name), parts.to_arrow("labels", table))
    with pytest.raises(ValueError, match="in both train and val"):
        build(root)


def test_a_damaged_image_costs_its_samples_and_is_named(root: Path) -> None:
    row, label = labels_of(root, "dense = 'map'")[0]
    file = root / row["file"]
    data = bytearray(file.read_bytes())
    data[row["iuv_offset_a"] : row["iuv_offset_a"] + 8] = bytes(8)
    file.write_bytes(data)
    report = build(root)
    assert report.num_failed == 1
    [lost] = rows(root, "SELECT id, error FROM failures WHERE stage = 'shards'")
    assert lost["id"] == label.label_id and "no whole JPEG or PNG" in lost["error"]
    assert [row for row in check.check(str(root)) if row["broken"]] == []


def test_a_part_that_the_chart_does_not_have_is_found(root: Path) -> None:
    url = build(root, where="dense = 'map'").url
    [sample] = peek(url, 1)
    meta = sample.meta
    meta["a"]["dense_chart"] = None
    sample.files["json"] = json.dumps(meta).encode()
    shard = ShardEntry(name="", split=meta["split"], samples=1, bytes=0, sha256="", groups="00")
    problems = list(check_label(sample, shard, None, read_index(url)))
    assert problems == ["a.iuv.png has no dense_chart in the JSON"]


def test_a_sheet_draws_every_sample_with_its_labels_beside_it(root: Path) -> None:
    samples = peek(build(root).url, 5)
    sheet = draw_sheet(samples)
    assert sheet.shape == (2 * 210, 4 * 2 * 192, 3)
    left, right = sheet[18:210, :192], sheet[18:210, 192:384]
    assert np.abs(left.astype(int) - right).max() > 50
    assert [summary_row(sample)["label_id"] for sample in samples] == [s.key for s in samples]


def test_from_a_sample_the_trace_leads_to_its_image_and_frame(root: Path) -> None:
    build(root)
    row, label = labels_of(root, "kind = 'two_view'")[0]
    found = trace.trace(str(root), f"{label.label_id}.a.jpg")
    assert [one["what"] for one in found] == ["sample", "label", "image", "image"]
    assert found[0]["shard"].startswith(f"shards/{DATASET}/")
    assert [one["source"] for one in found[2:]] == [row["source_a"], row["source_b"]]
    assert found[2]["frame"] == row["frame_a"]
