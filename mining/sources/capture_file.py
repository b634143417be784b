"""The file `capture.toml`: says that its folder is one capture of several views, and what is known
of it. Everything is optional; an empty file means views that share a clock.

    sync = "given"            # or "estimated" (find offsets from motion), or "none"
    subject = "anna"          # who is filmed, so that nobody is in both train and val
    split = "train"           # or "val"
    licence = "CC0"

    [views.cam02]
    offset_s = 0.35           # the time of its first frame on the capture's clock
    [views.cam03]             # a folder of images:
    fps = 29.97               # its rate, or
    times = "cam03.csv"       # a file beside this one, the time in seconds of each image a line
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from mining.sources.base import Sync

NAME = "capture.toml"
SYNCS: tuple[Sync, ...] = get_args(Sync)
SPLITS = ("train", "val")
KEYS = ("sync", "subject", "split", "licence", "views")
VIEW_KEYS = ("offset_s", "fps", "times")


@dataclass(frozen=True, kw_only=True)
class ViewFacts:
    """What the file says of one view; `times` is the name of a file beside it."""

    offset_s: float = 0.0
    fps: float | None = None
    times: str | None = None


@dataclass(frozen=True, kw_only=True)
class CaptureFacts:
    """What the file says of its capture, None where it says nothing."""

    sync: Sync | None = None
    subject: str | None = None
    split: str | None = None
    licence: str | None = None
    views: Mapping[str, ViewFacts] = field(default_factory=dict)


def parse_capture(text: str) -> CaptureFacts:
    """Parse a capture file. Raises ValueError, in one sentence, naming the entry that is wrong."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    _check_keys("", table, KEYS)
    for key, known in (("sync", SYNCS), ("split", SPLITS)):
        if key in table and table[key] not in known:
            raise ValueError(f"{key} must be one of {', '.join(known)}, got {table[key]!r}")
    for key in ("subject", "licence"):
        if key in table and not (isinstance(table[key], str) and table[key]):
            raise ValueError(f"{key} must be text, got {table[key]!r}")
    tables = table.pop("views", {})
    if not isinstance(tables, dict):
        raise ValueError(f"views must be tables [views.NAME], got {tables!r}")
    views = {name: _view_facts(name, view) for name, view in tables.items()}
    sync = table.get("sync", "given")
    with_offset = [name for name, view in tables.items() if "offset_s" in view]
    if with_offset and sync != "given":
        raise ValueError(f'views.{with_offset[0]}.offset_s is given, but sync is "{sync}"')
    return CaptureFacts(**table, views=views)


def _view_facts(name: str, table: Any) -> ViewFacts:
    where = f"views.{name}"
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table, got {table!r}")
    _check_keys(f"{where}.", table, VIEW_KEYS)
    for key in ("offset_s", "fps"):
        value = table.get(key, 1.0)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ValueError(f"{where}.{key} must be a number, got {value!r}")
    if table.get("fps", 1.0) <= 0:
        raise ValueError(f"{where}.fps must be above 0, got {table['fps']!r}")
    times = table.get("times", "a")
    if not isinstance(times, str) or not times or "/" in times:
        raise ValueError(f"{where}.times must name a file beside {NAME}, got {times!r}")
    if "fps" in table and "times" in table:
        raise ValueError(f"{where} gives both fps and times: keep one")
    return ViewFacts(**table)


def _check_keys(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"unknown key {where}{key}; there are: {', '.join(known)}")
