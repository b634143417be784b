"""The worked example of docs/adding-a-source.md runs as it stands there."""

import json
import os
import re
import subprocess
import sys
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


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.S)


def test_the_example_is_at_most_30_lines() -> None:
    code, _ = blocks("python")
    assert len(code.strip().splitlines()) <= 30


@pytest.mark.slow
def test_the_example_mines_what_its_list_names(tmp_path: Path) -> None:
    code, _ = blocks("python")
    registration, dataset_file = blocks("toml")
    name, target = re.search(r'^([\w-]+) = "(.+)"$', registration, flags=re.M).groups()
    plugin = install_plugin(
        tmp_path / "site", "sports_club", code, f"[crosspairs.sources]\n{name} = {target}\n"
    )
    (tmp_path / "footage").mkdir()
    write_video(tmp_path / "footage" / "match.mp4", 20)
    (tmp_path / "footage" / "index.csv").write_text(
        "file,player,licence\nmatch.mp4,ann,CC0\nlost.mp4,ben,CC0\n"
    )
    (tmp_path / "club.toml").write_text(dataset_file)
    root = str(tmp_path / "data")
    command = [sys.executable, "-m", "mining", "run", str(tmp_path / "club.toml"), "--root", root]
    result = subprocess.run(
        [*command, "--workers", "0"],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    [capture] = query.select(root, "SELECT name, subject, licence FROM captures").to_pylist()
    assert capture == {"name": "match", "subject": "ann", "licence": "CC0"}
    [frames] = query.select(root, "SELECT num_kept FROM units WHERE stage = 'decode'").to_pylist()
    assert frames == {"num_kept": 5}
    [failure] = query.select(root, "SELECT id, error FROM failures").to_pylist()
    assert failure == {"id": "lost", "error": "lost.mp4 is not there"}


def test_the_labelled_example_labels_what_its_folders_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, code = blocks("python")
    [(name, target)] = re.findall(r'`([\w-]+) = "(fists_and_palms:\w+)"`', DOCUMENT)
    entry = f"[crosspairs.labelled_sources]\n{name} = {target}\n"
    plugin = install_plugin(tmp_path / "site", "fists_and_palms", code, entry)
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
