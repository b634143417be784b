"""A polite stop: SIGTERM, which schedulers send before they kill, ends a run at a checkpoint."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM  # what a shell reports of a process that SIGTERM ended


@dataclass
class StopRequest:
    """Whether somebody asked the run to stop."""

    asked: bool = False


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Turn SIGTERM into a request for as long as the context lasts; needs the main thread."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        request.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
