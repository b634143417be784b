"""How every command prints rows: an aligned table for people, JSON lines or CSV for programs."""

import csv
import json
import math
import sys
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, Literal, TextIO

from catalog.measurements import markdown

Format = Literal["table", "json", "csv"]
SHOWN = ("metric", "value", "unit", "goal", "count", "compared_with")  # of measured figures
MAX_CELL = 80  # characters of one cell in a table; the last column is never cut


def print_rows(
    rows: Sequence[dict[str, Any]], style: Format = "table", file: TextIO | None = None
) -> None:
    """Print rows to `file` (standard output).

    JSON is one object a line; bytes are shown as their length.
    """
    out = file or sys.stdout
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    if style == "json":
        for row in plain:
            print(json.dumps(row, ensure_ascii=False), file=out)
    elif style == "csv":
        if plain:
            writer = csv.DictWriter(out, fieldnames=list(plain[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(plain)
    else:
        _print_table(plain, out)


def print_measured(
    rows: Sequence[dict[str, Any]], style: Literal["table", "json", "markdown"], text: str = ""
) -> None:
    """Print recorded figures (catalog/measurements.py); in place of a table `text`, where there is
    one.
    """
    if style == "markdown":
        print(markdown(rows))
    elif style == "json":
        print_rows(rows, "json")
    elif text:
        print(text)
    else:
        print_rows([{name: row[name] for name in SHOWN} for row in rows])


def _print_table(rows: Sequence[dict[str, Any]], out: TextIO) -> None:
    if not rows:
        print("(no rows)", file=out)
        return
    names = list(rows[0])
    cells = [
        [*(_cut(_cell(row[name])) for name in names[:-1]), _cell(row[names[-1]])] for row in rows
    ]
    numeric = [all(isinstance(row[name], int | float | None) for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, ["-" * width for width in widths], *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(padded).rstrip(), file=out)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Decimal):  # what DuckDB's sum() of whole numbers gives
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no word for it
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.3e}"
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
