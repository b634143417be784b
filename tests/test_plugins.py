"""What other packages add is found by its name; what cannot be had is one sentence."""

from pathlib import Path

import pytest

from mining.decoding.readers import Readers
from mining.decoding.video import DecodeConfig
from mining.detecting.config import DetectConfig
from mining.detecting.people import make_detector
from mining.plugins import find_plugin, plugin_names
from tests.plugins import install_plugin

POINTS = """[crosspairs.readers]
mine = toy_plugin:Reader
broken = toy_plugin:Gone
absent = none_such:Reader
"""


@pytest.fixture(autouse=True)
def toy_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "class Reader: pass\n"
    monkeypatch.syspath_prepend(install_plugin(tmp_path, "toy_plugin", code, POINTS))


def test_a_plugin_is_found_by_its_name() -> None:
    assert plugin_names("crosspairs.readers") == ["mine", "broken", "absent"]
    assert type(Readers(DecodeConfig())["mine"]).__name__ == "Reader"


@pytest.mark.parametrize("name", ["broken", "absent"])
def test_a_plugin_that_cannot_be_imported_names_its_package(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' of crosspairs.readers cannot be loaded from"):
        find_plugin("crosspairs.readers", name, "unknown", [])


def test_an_unknown_name_is_said_with_those_there_are() -> None:
    known = r"unknown reader 'x'; there are: video, .*annotated, mine, broken, absent$"
    with pytest.raises(ValueError, match=known):
        Readers(DecodeConfig())["x"]
    with pytest.raises(ValueError, match=r"detect.detector=x: unknown; there are: ultralytics$"):
        make_detector(DetectConfig(detector="x"))
