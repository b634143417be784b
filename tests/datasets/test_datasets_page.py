"""docs/datasets.md names every adapter and option, and its examples are what the code takes."""

import re
import tomllib
from pathlib import Path

import pytest

from mining.sources.datasets.evaluation import of_file
from mining.sources.datasets.source import ADAPTERS, make_adapter
from mining.sources.registry import make_source, resolve_dataset

PAGE = Path("docs/datasets.md").read_text().split("## Labelled datasets")[0]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_and_option_is_on_the_page(adapter: str) -> None:
    assert PAGE.count(f"\n| `{adapter}` |") >= 2
    for option in make_adapter(adapter).options:
        assert f"| `{adapter}` | `{option}` |" in PAGE


def test_the_examples_are_dataset_files(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert len(examples) == 3
    for example in examples:
        table = tomllib.loads(example)
        path = tmp_path / "set.toml"
        path.write_text(example.replace(table["root"], str(tmp_path)))
        spec, config = resolve_dataset(str(path))
        assert spec.adapter in ADAPTERS
        assert set(spec.options) <= set(make_adapter(spec.adapter).options)
        assert config == table.get("config", {})
        with pytest.raises(ValueError):
            make_source(spec.adapter).captures(spec)  # an empty folder


@pytest.mark.parametrize(
    ("stem", "left_out"),
    [
        ("person_keypoints_val2017", True), ("densepose_coco_2014_minival", True),
        ("image_info_test-dev2017", True), ("coco_wholebody_val_v1.0", True),
        ("person_keypoints_train2017", False), ("values_testing", False), ("contest", False),
    ],
)  # fmt: skip
def test_files_that_say_val_or_test_are_known_by_whole_words(stem: str, left_out: bool) -> None:
    assert (of_file(stem) is not None) == left_out
