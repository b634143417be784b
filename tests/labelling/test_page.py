"""docs/datasets.md names every labelled dataset and option, and its example works."""

import re
import tomllib
from pathlib import Path

import pytest

from mining.labelling.dataset import LabelledDataset
from mining.labelling.source import make_labelled_source
from mining.sources.registry import resolve_dataset
from tests.labelling.test_wrong_root import ADAPTERS

PAGE = Path("docs/datasets.md").read_text().split("## Labelled datasets")[1]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_dataset_and_option_is_on_the_page(adapter: str) -> None:
    source = make_labelled_source(adapter)
    assert isinstance(source, LabelledDataset)
    _, layout, *_ = re.findall(rf"^\| `{adapter}` \|(.*)$", PAGE, re.M)
    assert source.known_by.split("/")[0] in layout
    for option in source.options:
        assert f"| `{adapter}` | `{option}` |" in PAGE


def test_the_example_is_a_dataset_file(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    table = tomllib.loads(example)
    path = tmp_path / "set.toml"
    path.write_text(example.replace(table["root"], str(tmp_path)))
    spec, _ = resolve_dataset(str(path))
    source = make_labelled_source(spec.adapter)
    assert isinstance(source, LabelledDataset) and set(spec.options) <= set(source.options)
