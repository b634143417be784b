"""A root that is not the dataset's is said in one sentence, and so is an option there is not."""

from pathlib import Path

import pytest

from mining.labelling.dataset import LabelledDataset
from mining.labelling.source import LABELLED, make_labelled_source
from tests.labelling.checks import list_labelled

ADAPTERS = [name for name in LABELLED if isinstance(make_labelled_source(name), LabelledDataset)]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_root_of_something_else_is_said_with_what_it_holds(adapter: str, tmp_path: Path) -> None:
    source = make_labelled_source(adapter)
    assert isinstance(source, LabelledDataset)
    with pytest.raises(ValueError, match="there is nothing at all: give as root"):
        list_labelled(adapter, tmp_path)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError) as raised:
        list_labelled(adapter, tmp_path)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path} holds nothing of {adapter}, which is known by ")
    assert source.known_by in said and "there is holiday/, notes.txt" in said and "\n" not in said


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_unknown_option_is_said_with_those_there_are(adapter: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown option colour; there are: .*licence"):
        list_labelled(adapter, tmp_path, colour="red")
