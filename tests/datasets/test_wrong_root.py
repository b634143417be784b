"""A root that is not the dataset's is said in one sentence: what it holds, and what was looked for.

The same for all adapters.
"""

from pathlib import Path

import pytest

from mining.sources.datasets.source import ADAPTERS, make_adapter
from tests.datasets.world import list_dataset


@pytest.mark.parametrize("evaluation", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_empty_root_is_said(adapter: str, evaluation: bool, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing at all") as raised:
        list_dataset(adapter, tmp_path, include_evaluation=evaluation)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path} holds nothing of {adapter}") and "\n" not in said
    assert make_adapter(adapter).known_by in said and "give as root" in said


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_root_of_something_else_is_said_with_what_it_holds(adapter: str, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(ValueError, match=r"there is holiday/, 0\.txt, .*3\.txt and 3 more: give"):
        list_dataset(adapter, tmp_path)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_files_a_dataset_is_known_by_are_on_the_page(adapter: str) -> None:
    """What the sentence names is among what docs/datasets.md says to download."""
    [row] = [
        line
        for line in Path("docs/datasets.md").read_text().split("## What to download")[1].split("\n")
        if line.startswith(f"| `{adapter}` |")
    ][:1]
    first = make_adapter(adapter).known_by.split("/")[0].split(",")[0]
    assert first.replace("S1", "S*") in row
