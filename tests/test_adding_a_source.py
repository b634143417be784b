"""The worked example of docs/adding-a-source.md runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import query
from tests.plugins import install_plugin
from tests.videos import write_video

DOCUMENT = Path("docs/adding-a-source.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.S)


def test_the_example_is_at_most_30_lines() -> None:
    [code] = blocks("python")
    assert len(code.strip().splitlines()) <= 30


@pytest.mark.slow
def test_the_example_mines_what_its_list_names(tmp_path: Path) -> None:
    [code] = blocks("python")
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
