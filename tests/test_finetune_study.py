"""The study: every cell once, rows that add up, a table and a plot."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.commands import main
from catalog.config import override
from tests.toy_labels import write_toy_labels
from tests.toy_shards import write_toy_shards
from training.__main__ import build_parser
from training.finetuning.config import make_config
from training.finetuning.frozen import usable_places
from training.finetuning.study import headline_values, run_study, summarize
from training.finetuning.study_cells import limit_steps, shards_id, unit_of
from training.finetuning.study_config import STUDIES, StudyConfig
from training.tasks.registry import TASKS, make_task

SIZES = [
    "image_px=32", "patch_px=8", "encoder_depth=2", "encoder_width=32", "encoder_heads=2",
    "decoder_depth=2", "decoder_width=32", "decoder_heads=2",
]  # fmt: skip


def row(init: str, share: float, seed: int, value: float) -> dict[str, object]:
    return {
        "task": "keypoints", "init": init, "label_share": share, "seed": seed,
        "metric": "pck_0.1", "value": value, "headline": True, "larger_is_better": True,
    }  # fmt: skip


def test_the_table_has_mean_and_spread_over_seeds():
    study = override(
        STUDIES["cpu"](), ["tasks=keypoints", "inits=random,both", "label_shares=0.1,1"]
    )
    rows = [row("both", 1.0, seed, value) for seed, value in enumerate((0.4, 0.5, 0.6))]
    rows += [row("random", 0.1, 0, 0.2), {**row("both", 1.0, 0, 9.0), "headline": False}]
    table = {line["init"]: line for line in summarize(study, rows)}
    assert table["both"]["100% of labels"] == "0.5 ± 0.1"
    assert table["random"]["10% of labels"] == "0.2 ± 0" and table["both"]["metric"] == "pck_0.1"
    assert headline_values(rows, "keypoints", "both", 1.0) == [0.4, 0.5, 0.6]


def test_units_are_told_by_the_names():
    found = [unit_of(name) for name in ("pve_mm", "pck_0.1", "angle_deg", "error_px")]
    assert found == ["mm", "share", "deg", "px"]


@pytest.mark.parametrize("size", STUDIES)
def test_the_ready_made_studies_name_what_there_is(size):
    study = STUDIES[size]()
    assert isinstance(study, StudyConfig) and set(study.tasks) <= set(TASKS)
    assert {"random", "mae", "both"} <= set(study.inits) and len(study.seeds) >= 3


@pytest.mark.parametrize(("max_passes", "steps"), [(2, 6), (20, 50), (None, 50)])
def test_few_labels_are_gone_through_no_more_than_so_often(tmp_path, max_passes, steps):
    labels = [write_toy_labels(tmp_path / "labels")]  # 48 images
    study = replace(STUDIES["cpu"](), finetune_steps=50, max_passes=max_passes)
    config = override(
        make_config("keypoints", "tiny"), ["loader.batch_size=8", "loader.label_share=0.5"]
    )
    places = usable_places(config, make_task("keypoints", config.task), labels)
    assert limit_steps(study, config, len(places)).run.num_steps == steps


@pytest.mark.slow
@pytest.mark.parametrize("frozen_draws", [0, 2])
def test_a_study_runs_every_cell_once_and_goes_on_where_it_stopped(tmp_path, capsys, frozen_draws):
    pairs = write_toy_shards(tmp_path / "pairs", (16, 16), val_size=4, crop_px=40)
    labels = write_toy_labels(tmp_path / "labels")
    sizes = [f"model.{size}" for size in SIZES]
    small = ",".join(["loader.batch_size=8", *sizes])
    of_head = ",".join(["loader.batch_size=8", *(f"encoder.model.{size}" for size in SIZES)])
    settings = [
        "inits=random,both", "tasks=keypoints", "label_shares=0.5,1", "seeds=0",
        "pretrain_steps=2", "finetune_steps=3", "max_samples=8",
        f"frozen_draws={frozen_draws}", f"pretrain_set={small}", f"finetune_set={of_head}",
    ]  # fmt: skip
    asked = [part for setting in settings for part in ("--set", setting)]
    command = ["study", "--size", "cpu", "--shards", pairs, "--labels", labels,
               "--root", str(tmp_path / "root")]  # fmt: skip
    assert main(build_parser(), [*command, *asked]) == 0
    out = capsys.readouterr().out
    assert "50% of labels" in out and "keypoints.png" in out
    plot = tmp_path / "root" / "reports" / "study" / "keypoints.png"
    assert plot.read_bytes()[:4] == b"\x89PNG"
    report = tmp_path / "root" / "reports" / "study.jsonl"
    first = [json.loads(line) for line in report.read_text().splitlines()]
    heads = [row for row in first if row["headline"]]
    assert {(row["init"], row["label_share"]) for row in heads} == {
        ("random", 0.5), ("random", 1.0), ("both", 0.5), ("both", 1.0),
    }  # fmt: skip
    assert {"init", "task", "label_share", "seed", "metric", "value", "unit"} <= set(heads[0])
    results = list((tmp_path / "root" / "studies").rglob("result.json"))
    before = {path: path.stat().st_mtime_ns for path in results}
    assert main(build_parser(), [*command, *asked]) == 0
    assert {path: path.stat().st_mtime_ns for path in results} == before and len(before) == 4
    lost = results[0]
    figures = values_of(lost)
    lost.unlink()  # one cell alone is done again, and comes to the same
    shutil.rmtree(tmp_path / "root" / "reports")
    assert main(build_parser(), [*command, *asked]) == 0
    assert values_of(lost) == figures
    assert [path.stat().st_mtime_ns for path in results[1:]] == list(before.values())[1:]


def values_of(result: Path) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in json.loads(result.read_text())}


def test_other_labels_have_cells_of_their_own(tmp_path):
    some, others = (write_toy_labels(tmp_path / name, sizes) for name, sizes in
                    (("some", (24, 24)), ("others", (24, 16))))  # fmt: skip
    again = write_toy_labels(tmp_path / "again", (24, 24))
    assert shards_id([some]) == shards_id([again]) != shards_id([others])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["max_passes=0"], "max_passes must be 1 or more"),
        (["tasks=keypoint"], "unknown task 'keypoint'; there are"),
        (["label_shares=2"], r"label_share must lie in"),
        (["finetune_set=encoder.frozen=false"], "set frozen_draws=0"),
        (["finetune_set=optimizer.ema=0.99"], "set frozen_draws=0"),
        (["inits=random,boht"], "unknown init 'boht'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        study = override(STUDIES["cpu"](), settings)
        run_study(study, ["nowhere"], ["nowhere"], str(tmp_path / "out"), lambda share, text: None)
    assert not (tmp_path / "out").exists()
