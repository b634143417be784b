"""The speed benchmark runs on any set and records every part; how fast, no test says."""

import json

import numpy as np
import pytest

from catalog.commands import main
from tests.toy_shards import write_toy_shards
from training import bench_loader
from training.__main__ import build_parser
from training.loading.loader import LoaderConfig
from training.loading.reader import decode_jpeg

SMALL = [
    "compile=false", "turns=1", "steps=1", "training_steps=2", "batch_size=8", "num_workers=1",
    "loader_preset=tiny", "loader_batch_size=8", "loader_pairs=16",
]  # fmt: skip
OF_PARTS = {
    "loader": [
        "loader_over_decode", "loader_pairs_per_s", "decode_pairs_per_s", "kept_decode_pairs_per_s",
    ],
    "step": ["step_over_plain", "step_pairs_per_s", "mfu", "plain_step_pairs_per_s"],
    "training": ["pairs_per_s", "data_wait_share", "mfu"],
}  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_toy_shards(tmp_path_factory.mktemp("toy") / "set", (40,), val_size=4, crop_px=64)


def bench(shards: str, root, *settings: str) -> int:
    set_all = [text for setting in (*SMALL, *settings) for text in ("--set", setting)]
    arguments = ["bench", "--size", "cpu", "--shards", shards, "--root", str(root), *set_all]
    return main(build_parser(), arguments)


@pytest.mark.parametrize("parts", [("loader", "step", "training"), ("training",)])
def test_every_part_is_recorded_with_what_it_was_compared_with(parts, shards, tmp_path):
    settings = [f"parts={','.join(parts)}"]
    assert bench(shards, tmp_path, *settings) == 0
    lines = (tmp_path / "reports" / "bench-train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["metric"] for row in rows] == [name for part in parts for name in OF_PARTS[part]]
    for row in rows:
        assert row["compared_with"]
        is_small = row["metric"] in ("mfu", "data_wait_share")  # nobody knows the peak of a CPU
        assert is_small or row["value"] > 0


def test_an_unknown_part_is_named(shards, tmp_path, capsys):
    assert bench(shards, tmp_path, "parts=lodaer") == 1
    assert "unknown part lodaer; choose of loader, step, training" in capsys.readouterr().err


def test_sets_of_several_sizes_are_refused(shards, tmp_path, capsys):
    other = write_toy_shards(tmp_path / "other", (40,), crop_px=48)
    arguments = ["bench", "--size", "cpu", "--shards", shards, other, "--root", str(tmp_path)]
    assert main(build_parser(), [*arguments, "--set", "parts=loader"]) == 1
    assert "images of 48 and 64 px: give sets of one size" in capsys.readouterr().err


def test_kept_images_have_places_of_their_own(shards, monkeypatch):
    monkeypatch.setattr(bench_loader, "_jpegs", [])
    monkeypatch.setattr(bench_loader, "_places", [])
    jpegs = bench_loader._read_jpegs([shards], num_pairs=8)
    bench_loader._prepare(jpegs, LoaderConfig(batch_size=8, num_workers=1), crop_px=64)
    bench_loader._decode_share(0, num_workers=1, keep=True)
    for jpeg, place in zip(jpegs, bench_loader._places, strict=False):
        assert np.array_equal(place, decode_jpeg(jpeg))
    bench_loader._decode_share(0, num_workers=1, keep=False)
    assert np.array_equal(bench_loader._places[0], decode_jpeg(jpegs[-1]))
    assert np.array_equal(bench_loader._places[1], decode_jpeg(jpegs[1]))
