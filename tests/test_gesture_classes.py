"""The classes of a labelled set are read from its labels alone."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
import webdataset as wds

from shards.format import ShardEntry, ShardIndex
from shards.groups import Group, encode_groups
from shards.labels import encode_label
from tests.task_samples import make_sample
from training.tasks.gesture_classes import gather_classes


def write_set(folder: Path, gestures: dict[str, list[str | None]]) -> str:
    """A shard set with one tar for each split, whose samples have these gestures."""
    folder.mkdir()
    entries = []
    for split, names in gestures.items():
        file = io.BytesIO()
        with wds.TarWriter(file, encoder=False, mtime=0) as tar:
            for number, name in enumerate(names):
                label = replace(make_sample(number, "right_hand")[0], gesture=name)
                tar.write(
                    {"__key__": f"{split}{number}", "a.jpg": b"", "json": encode_label(label)}
                )
        data = file.getvalue()
        (folder / f"{split}-000000.tar").write_bytes(data)
        entries.append(
            ShardEntry(
                name=f"{split}-000000.tar",
                split=split,
                samples=len(names),
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                groups=encode_groups([0] * len(names)),
            )
        )
    num = sum(map(len, gestures.values()))
    index = ShardIndex(
        name="made",
        query="",
        seed=0,
        num_samples=num,
        samples_by_kind={"single": num},
        crop_px=64,
        groups=(Group(dataset="made", kind="single", part="right_hand"),),
        shards=tuple(entries),
        contents="labels",
    )
    (folder / "index.json").write_text(index.to_json())
    return str(folder)


def test_classes_of_training_samples_are_gathered_over_all_sets_and_sorted(tmp_path):
    one = write_set(tmp_path / "one", {"train": ["palm", "fist", None], "val": ["wave"]})
    two = write_set(tmp_path / "two", {"train": ["point", "palm"]})
    assert gather_classes([one, two]) == ("fist", "palm", "point")


def test_a_set_without_gestures_is_named(tmp_path):
    url = write_set(tmp_path / "none", {"train": [None, None]})
    with pytest.raises(ValueError, match="no sample of split 'train'"):
        gather_classes([url])
