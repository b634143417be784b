"""Stage label: images cut, labels mapped into them, and what is wrong costs only itself; the same
bytes however it is run.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import check, parts
from catalog.parts import PartName
from mining.config import SplitConfig
from mining.labelling import synthetic
from mining.labelling.config import LabelConfig
from mining.labelling.cutting import find_box, store, stored_from_image
from mining.labelling.label import LabelPiece, label_unit
from mining.labelling.source import (
    Found,
    LabelledImage,
    LabelledSample,
    LabelledUnit,
    LeftOut,
    is_labelled,
    make_labelled_source,
)
from mining.sources.base import SourceProblem
from mining.stage import Outcome, WorkUnit
from tests.labelled_runs import OPTIONS, SETTINGS, labels_of, mine_labels, rows
from tests.test_run import contents

CONFIG = LabelConfig(size_px=64, margin=1.0, min_person_px=20)


def make_image(**changes: object) -> LabelledImage:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[20:80, 50:110] = (200, 100, 50)
    keypoints_px = np.zeros((17, 3))
    keypoints_px[:2] = [[50, 20, 1], [80, 50, 0.5]]
    image = LabelledImage(
        source="picture.jpg", image=pixels, box_px=np.array([50.0, 20, 110, 80]),
        keypoints_px=keypoints_px,
    )  # fmt: skip
    return replace(image, **changes)


class Pictures:
    """A source whose unit holds what it was made with."""

    def __init__(self, *found: Found) -> None:
        self.found = found

    def labelled(self, unit: LabelledUnit) -> Iterator[Found]:
        yield from self.found


def run_stage(*found: Found, config: LabelConfig = CONFIG) -> Outcome:
    unit = LabelledUnit(name="all", payload={}, fingerprint="0", num_samples=len(found))
    work = WorkUnit(
        stage="label", name=PartName("scope", "label", "key"), dataset="pictures",
        payload=LabelPiece(adapter="pictures", unit=unit), counted_stage="label",
        counted="samples", expected=len(found),
    )  # fmt: skip
    return label_unit(work, Pictures(*found), config, SplitConfig())


def sample(name: str, *images: LabelledImage, **more: object) -> LabelledSample:
    return LabelledSample(name=name, part="body", images=images or (make_image(),), **more)


def test_labels_move_with_the_pixels_into_the_stored_image() -> None:
    iuv = np.zeros((100, 200, 3), np.uint8)
    iuv[20:80, 50:110] = (3, 10, 20)
    camera = np.array([[300.0, 0, 100], [0, 300, 50], [0, 0, 1]])
    image = make_image(
        iuv=iuv, pixels_from_cam=camera, dense_points=np.array([[80.0, 50, 3, 0.1, 0.2]]),
        dense_chart="densepose",
    )  # fmt: skip
    box_px = find_box(image, "body", CONFIG)
    assert box_px == (50, 20, 110, 80)
    label = store(image, box_px, CONFIG).label
    np.testing.assert_allclose(label.keypoints_px[:2], [[0, 0, 1], [32, 32, 0.5]])
    np.testing.assert_allclose(label.person_box_px, [0, 0, 64, 64])
    np.testing.assert_allclose(label.dense_points, [[32, 32, 3, 0.1, 0.2]])
    point_cam = np.array([0.2, -0.1, 2.0])
    full, stored = camera @ point_cam, label.pixels_from_cam @ point_cam
    expected = stored_from_image(box_px, 64) @ (full / full[2])
    np.testing.assert_allclose(stored[:2] / stored[2], expected[:2])


def test_a_sample_is_rejected_with_its_reason_and_counted() -> None:
    small = make_image(box_px=np.array([0.0, 0, 10, 10]), keypoints_px=np.zeros((17, 3)))
    outside = make_image(box_px=np.array([180.0, 80, 300, 200]), keypoints_px=np.zeros((17, 3)))
    outcome = run_stage(
        sample("good"),
        sample("small", small, gesture="fist"),
        sample("outside", replace(outside, dense_points=np.zeros((0, 5)))),
        sample("bare", make_image(keypoints_px=np.zeros((17, 3)))),
        sample("one of two", make_image(), small),
        LeftOut(name="hidden", reason="hidden", detail="behind a wall"),
    )
    reasons = [row["reason"] for row in outcome.rows["rejects"]]
    assert reasons == ["small", "outside_frame", "no_label", "small", "hidden"]
    [units] = outcome.rows["units"]
    counts = [units[f"num_{what}"] for what in ("in", "kept", "rejected", "failed")]
    assert counts == [6, 1, 5, 0]


def test_what_is_broken_costs_only_itself() -> None:
    def missing() -> np.ndarray:
        raise FileNotFoundError("picture.jpg is not there")

    outcome = run_stage(
        sample("good"),
        sample("gone", make_image(image=missing)),
        sample("grey", make_image(image=np.zeros((100, 200), np.uint8))),
        sample("wrong", make_image(joints_cam_m=np.full((17, 4), np.nan))),
        SourceProblem(unit="annotation 7", error="it has no box"),
        sample("also good"),
    )
    assert [row["num_lost"] for row in outcome.rows["failures"]] == [1] * 4
    assert "is not there" in outcome.rows["failures"][0]["error"]
    assert len(outcome.rows["labels"]) == 2


def test_an_image_that_samples_share_is_stored_once() -> None:
    outcome = run_stage(sample("one"), sample("two"), sample("both", make_image(), make_image()))
    places = {(row["offset_a"], row["length_a"]) for row in outcome.rows["labels"]}
    assert len(places) == 1 and outcome.rows["labels"][2]["offset_b"] == places.pop()[0]


def test_what_is_rejected_by_its_box_is_not_read() -> None:
    def read() -> np.ndarray:
        raise AssertionError("it was read")

    image = make_image(image=read, box_px=np.array([0.0, 0, 9, 9]), keypoints_px=np.zeros((17, 3)))
    assert run_stage(sample("small", image)).rows["rejects"][0]["reason"] == "small"


def test_the_split_follows_the_subject_where_the_source_gives_none() -> None:
    outcome = run_stage(
        *(sample(f"{k}-{n}", subject=f"subject {k}") for k in range(40) for n in range(2)),
        sample("given", subject="subject 0", split="val"),
    )
    labels = outcome.rows["labels"]
    splits = {row["subject"]: row["split"] for row in labels[:-1]}
    assert all(row["split"] == splits[row["subject"]] for row in labels[:-1])
    assert set(splits.values()) == {"train", "val"} and labels[-1]["split"] == "val"


def test_an_adapter_says_whether_pairs_or_labels_are_mined() -> None:
    assert is_labelled("synthetic-labelled") and not is_labelled("synthetic")
    with pytest.raises(ValueError, match="unknown labelled adapter 'none'"):
        make_labelled_source("none")


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    mine_labels(root)
    return root


def copy(root: Path, to: Path) -> Path:
    subprocess.run(["cp", "-r", str(root), str(to)], check=True)
    return to


def test_a_second_run_has_nothing_to_do(mined: Path) -> None:
    before = contents(mined)
    assert mine_labels(mined).num_done == 0
    assert contents(mined) == before


def test_a_run_that_was_killed_goes_on_and_writes_the_same_bytes(
    mined: Path, tmp_path: Path
) -> None:
    root = copy(mined, tmp_path / "copy")
    first, *_ = sorted(name for name in parts.list_parts(str(root), "labels"))
    for table in ("units", "labels"):  # written last: it was killed before
        Path(parts.part_url(str(root), table, first)).unlink()
    assert mine_labels(root).num_done == 1
    assert contents(root) == contents(mined)


def test_other_settings_replace_what_earlier_ones_made(mined: Path, tmp_path: Path) -> None:
    root = copy(mined, tmp_path / "copy")
    mine_labels(root, ["label.min_hand_px=1000"])
    assert {row["part"] for row, _ in labels_of(root)} == {"body"}
    assert rows(root, "SELECT DISTINCT reason FROM rejects WHERE detail LIKE '%1000%'")
    assert [row for row in check.check(str(root)) if row["broken"]] == []


def test_captures_that_are_gone_stay_until_they_are_pruned(mined: Path, tmp_path: Path) -> None:
    report = mine_labels(copy(mined, tmp_path / "copy"), num_hand_captures=1)
    assert (report.num_gone, report.num_done) == (1, 0)


def test_a_unit_that_breaks_costs_only_itself(
    tmp_path: Path, mined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = synthetic.SyntheticLabelled.labelled

    def labelled(source: synthetic.SyntheticLabelled, unit: LabelledUnit) -> Iterator[Found]:
        if unit.name == "hands-00000":
            raise ValueError("this capture is broken")
        return whole(source, unit)

    monkeypatch.setattr(synthetic.SyntheticLabelled, "labelled", labelled)
    report = mine_labels(tmp_path)
    assert report.num_failed == report.num_broken == 1
    [lost] = rows(tmp_path, "SELECT num_lost, error FROM failures")
    assert lost["num_lost"] == 6 and "this capture is broken" in lost["error"]
    left = [row["label_id"] for row, _ in labels_of(mined, "capture <> 'hands-00000'")]
    assert [row["label_id"] for row, _ in labels_of(tmp_path)] == left
    assert [row for row in check.check(str(tmp_path)) if row["broken"]] == []


@pytest.mark.slow
def test_two_ray_workers_write_the_same_bytes(mined: Path, tmp_path: Path) -> None:
    options = "\n".join(f"{name} = {value}" for name, value in OPTIONS.items())
    dataset = tmp_path / "people.toml"
    dataset.write_text(
        f'name = "people"\nadapter = "synthetic-labelled"\nroot = "."\n[options]\n{options}\n'
    )
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    run = [sys.executable, "-m", "mining", "run", str(dataset), "--workers", "2", *settings]
    subprocess.run([*run, "--root", str(tmp_path / "root")], check=True)
    assert contents(tmp_path / "root") == contents(mined)
