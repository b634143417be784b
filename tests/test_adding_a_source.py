"""The worked examples of docs/adding-a-source.md run as they stand there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog import query
from mining.__main__ import run_datasets
from mining.config import MiningConfig
from mining.labelling.run import label
from mining.labelling.source import is_labelled, make_labelled_source
from mining.run import RunOptions
from mining.sources.base import DatasetSpec
from mining.sources.registry import make_source
from tests.labelled_runs import unwatched
from tests.plugins import install_plugin
from tests.videos import write_video

DOCUMENT = Path("docs/adding-a-source.md").read_text()


def block(language: str, start: str) -> str:
    """The page's one block of code that begins like this."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.S)
    [found] = [code for code in blocks if code.startswith(start)]
    return found


def module(name: str) -> str:
    return block("python", f'"""{name}.py:')


def entry_point(name: str) -> str:
    """What the page writes to make the class of a module known."""
    [line] = re.findall(rf'[\w-]+ = "{name}:\w+"', DOCUMENT)
    return line.replace('"', "")


def run_mining(dataset: Path, plugin: Path, root: Path) -> None:
    command = [sys.executable, "-m", "mining", "run", str(dataset), "--root", str(root)]
    result = subprocess.run(
        [*command, "--workers", "0"],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_first_example_is_at_most_30_lines() -> None:
    assert len(module("sports_club").strip().splitlines()) <= 30


def test_the_package_of_the_first_example_names_its_module_and_class() -> None:
    package = tomllib.loads(block("toml", "[project]"))
    assert package["tool"]["setuptools"]["py-modules"] == ["sports_club"]
    name, target = entry_point("sports_club").split(" = ")
    assert package["project"]["entry-points"] == {"crosspairs.sources": {name: target}}


@pytest.mark.slow
def test_the_example_mines_what_its_list_names(tmp_path: Path) -> None:
    entry = f"[crosspairs.sources]\n{entry_point('sports_club')}\n"
    plugin = install_plugin(tmp_path / "site", "sports_club", module("sports_club"), entry)
    (tmp_path / "footage").mkdir()
    write_video(tmp_path / "footage" / "match.mp4", 20)
    (tmp_path / "footage" / "index.csv").write_text(
        "file,player,licence\nmatch.mp4,ann,CC0\nlost.mp4,ben,CC0\n"
    )
    (tmp_path / "club.toml").write_text(block("toml", 'name = "club"'))
    root = str(tmp_path / "data")
    run_mining(tmp_path / "club.toml", plugin, tmp_path / "data")
    [capture] = query.select(root, "SELECT name, subject, licence FROM captures").to_pylist()
    assert capture == {"name": "match", "subject": "ann", "licence": "CC0"}
    [frames] = query.select(root, "SELECT num_kept FROM units WHERE stage = 'decode'").to_pylist()
    assert frames == {"num_kept": 5}
    [failure] = query.select(root, "SELECT id, error FROM failures").to_pylist()
    assert failure == {"id": "lost", "error": "lost.mp4 is not there"}


def test_the_test_of_the_calibrated_example_passes(tmp_path: Path) -> None:
    for name in ("camera_rig", "test_camera_rig"):
        (tmp_path / f"{name}.py").write_text(module(name))
    command = [sys.executable, "-m", "pytest", "-q", str(tmp_path / "test_camera_rig.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout


@pytest.mark.slow
def test_the_calibrated_example_mines_views_with_their_cameras_and_clocks(tmp_path: Path) -> None:
    entry = f"[crosspairs.sources]\n{entry_point('camera_rig')}\n"
    plugin = install_plugin(tmp_path / "site", "camera_rig", module("camera_rig"), entry)
    dataset_file = block("toml", 'name = "rig"')
    rig = tmp_path / tomllib.loads(dataset_file)["root"]
    for camera in ("cam01", "cam02"):
        (rig / camera).mkdir(parents=True)
        write_video(rig / camera / "seq1.mp4", 20)
    (rig / "calibration.yml").write_text("".join(
        f"{camera}: {{K: [[90, 0, 48], [0, 90, 32], [0, 0, 1]], distortion: [0, 0, 0, 0],"
        f" size_px: [96, 64], R: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], t_mm: [{t_mm}, 0, 3000]}}\n"
        for camera, t_mm in (("cam01", 0), ("cam02", -500))
    ))  # fmt: skip
    (tmp_path / "rig.toml").write_text(dataset_file)
    root = str(tmp_path / "data")
    run_mining(tmp_path / "rig.toml", plugin, tmp_path / "data")
    views = query.select(
        root, "SELECT calibration, offset_s, world_from_cam FROM views ORDER BY name"
    ).to_pylist()
    assert [(view["calibration"], view["offset_s"]) for view in views] == [
        ("given", 0.0), ("given", 0.35),
    ]  # fmt: skip
    assert [view["world_from_cam"][3::4][:3] for view in views] == [[0, 0, -3], [0.5, 0, -3]]


def test_the_labelled_example_labels_what_its_folders_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as = entry_point("fists_and_palms")
    name = known_as.split(" = ")[0]
    entry = f"[crosspairs.labelled_sources]\n{known_as}\n"
    plugin = install_plugin(tmp_path / "site", "fists_and_palms", module("fists_and_palms"), entry)
    monkeypatch.syspath_prepend(str(plugin))
    assert is_labelled(name)
    for file in ("fist/ann-0.jpg", "fist/ben-0.jpg", "palm/ann-1.jpg"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / file), np.full((80, 80, 3), 90, np.uint8))
    (tmp_path / "palm" / "cy-0.jpg").write_bytes(b"")
    spec = DatasetSpec(name="hands", adapter=name, root=str(tmp_path), options={"side_px": 80})
    root = str(tmp_path / "data")
    label(spec, MiningConfig(), RunOptions(root=root, workers=0), unwatched)
    found = query.select(root, "SELECT gesture, subject FROM labels ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("fist", "ann"), ("fist", "ben"), ("palm", "ann"),
    ]  # fmt: skip
    [lost] = query.select(root, "SELECT error FROM failures").to_pylist()
    assert "cy-0.jpg" in lost["error"]


def test_a_package_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = "[crosspairs.sources]\nclub = club:Club\n[crosspairs.labelled_sources]\ncards = nil:B\n"
    monkeypatch.syspath_prepend(str(install_plugin(tmp_path, "club", "", entry)))
    with pytest.raises(ValueError, match=r"'club' of crosspairs\.sources .* club:Club"):
        make_source("club")
    with pytest.raises(ValueError, match=r"'cards' .*No module named 'nil'"):
        make_labelled_source("cards")
    with pytest.raises(ValueError, match=r"'freihnad'; there are: .*aistpp.*freihand.*cards"):
        make_source("freihnad")


def test_datasets_lists_the_adapters_of_other_packages_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = "[crosspairs.sources]\nclub = club:Club\n[crosspairs.labelled_sources]\ncards = a:B\n"
    monkeypatch.syspath_prepend(str(install_plugin(tmp_path, "club", "", entry)))
    assert run_datasets(Namespace(format="json")) == 0
    found = [json.loads(line)["what"] for line in capsys.readouterr().out.splitlines()]
    for name, what in (("club", "pairs"), ("aistpp", "pairs"), ("cards", "labels"),
                       ("freihand", "labels")):  # fmt: skip
        assert f'a dataset file with adapter = "{name}": {what}' in found
