"""What a long unit of work is at, said while it works, to whoever waits for it.

A stage calls `say` at every step, which costs nothing: only a notice every few seconds is passed
on, and none of a unit that is done before the first is due.
"""

import time
from collections.abc import Callable

from catalog.progress import LINE_EVERY_S

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


class Notices:
    """Passes notices of one unit on to `tell`, at most one every `every_s` seconds."""

    def __init__(self, about: str, tell: Say, every_s: float = LINE_EVERY_S) -> None:
        self._about, self._tell, self._every_s = about, tell, every_s
        self._started = self._told = time.monotonic()

    def say(self, text: str) -> None:
        """Pass a notice on, if one is due, with what it is about and for how long that goes on."""
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._tell(f"{self._about}: {text}, {now - self._started:.0f} s")
            self._told = now


class Board:
    """Holds the last notice of any worker until it is taken; between processes, an actor."""

    def __init__(self) -> None:
        self._text = ""

    def put(self, text: str) -> None:
        """Put a notice in place of the one before."""
        self._text = text

    def take(self) -> str:
        """Take the notice off; empty where there is none since the last time."""
        text, self._text = self._text, ""
        return text
