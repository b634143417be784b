"""Settings are shown with the comments at their fields, and docs/settings.md is current."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from catalog.commands import main
from catalog.config import override, value_text
from catalog.settings import Setting, as_lines, list_settings
from mining.__main__ import build_parser as mining_parser
from mining.config import MiningConfig
from shards.__main__ import build_parser as shards_parser
from shards.plan import ShardsConfig
from training.__main__ import build_parser as training_parser
from training.run_config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Base:
    inherited: int = 1  # of the base


@dataclass(frozen=True, kw_only=True)
class Inner(Base):
    # Above,
    # in two lines.
    above: float | None = None
    split: tuple[str, ...] = (
        "a",
        "b",  # within its value
    )
    bare: bool = True

    # of nothing: a blank line follows

    kind: Literal["x", "y"] = "x"
    hashes: str = "# no comment"  # behind a text

    def method(self) -> None:
        local: int = 0  # of no field
        del local


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    last: int = 3  # the last


def test_a_setting_has_the_comment_at_its_field() -> None:
    assert list_settings(Outer()) == [
        Setting("inner.inherited", "1", "of the base"),
        Setting("inner.above", "none", "Above, in two lines."),
        Setting("inner.split", "a,b", "within its value"),
        Setting("inner.bare", "true", ""),
        Setting("inner.kind", "x", "one of x, y"),
        Setting("inner.hashes", "# no comment", "behind a text"),
        Setting("last", "3", "the last"),
    ]


@pytest.mark.parametrize("config", [MiningConfig(), ShardsConfig(), PretrainConfig()])
def test_what_is_listed_can_be_set(config: object) -> None:
    for setting in list_settings(config):
        assert override(config, [f"{setting.key}={setting.value}"]) == config, setting


def test_values_are_written_as_they_are_set() -> None:
    assert [value_text(value) for value in (None, False, (1, 2), "a\n b", 0.5)] == [
        "none", "false", "1,2", "a b", "0.5",
    ]  # fmt: skip


def test_lines_have_the_meaning_behind_the_value() -> None:
    lines = as_lines([Setting("a.b", "1", "what it is"), Setting("a.c", "", "")]).splitlines()
    assert lines[0].startswith("a.b = 1 ") and lines[0].endswith("  # what it is")
    assert lines[1] == "a.c ="


def test_every_package_shows_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for parser, arguments, line in (
        (mining_parser, ["settings", "--set", "sample.fps=5"], "sample.fps = 5.0 "),
        (shards_parser, ["settings"], "samples_per_shard = 500 "),
        (training_parser, ["presets", "tiny"], "masking.ratio = 0.9 "),
        (training_parser, ["presets", "tiny", "--task", "gesture"], "task.pool = "),
    ):
        assert main(parser(), arguments) == 0
        [found] = [one for one in capsys.readouterr().out.splitlines() if one.startswith(line)]
        assert "  # " in found


def test_the_reference_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    for parser, command in (
        (mining_parser, "settings"), (shards_parser, "settings"), (training_parser, "presets"),
    ):  # fmt: skip
        assert main(parser(), [command, "--format", "markdown"]) == 0
    assert capsys.readouterr().out == Path("docs/settings.md").read_text()
