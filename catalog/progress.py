"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere; and
lines beside it, that say what is going on.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LINE_EVERY_S = 10.0


def show_progress(items: Iterable[Item], total: int, label: str, counted: str) -> Iterator[Item]:
    """Pass items through and show on standard error how many of `total` came."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=label, unit=f" {counted}")
        return
    started = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - shown >= LINE_EVERY_S:
            print(
                f"{label}: {done} of {total} {counted}, {now - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            shown = now


def show_line(text: str) -> None:
    """Show a line on standard error, above the bar where there is one."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()
