"""Reads video files in a child process with limits on time and memory: decord first, PyAV where it
fails.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mining.decoding.decoders import DECODERS
from mining.sources.base import BrokenOffError, Frame, ViewInfo


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How videos are decoded."""

    decoders: tuple[str, ...] = ("decord", "pyav")  # tried in this order
    frame_timeout_s: float = 30.0  # no new frame for so long: the decoder hangs and is killed
    memory_gb: float = 8.0  # address space of the decoding process

    def __post_init__(self) -> None:
        """Raise ValueError, naming those there are, for an unknown decoder, or for none."""
        if not self.decoders or set(self.decoders) - set(DECODERS):
            raise ValueError(f"decoders are {', '.join(DECODERS)}, got {self.decoders}")


class VideoReader:
    """The Reader for video files. Keeps one child process and starts another when that one had to
    be killed.
    """

    def __init__(self, config: DecodeConfig) -> None:
        self.config = config
        self._child: subprocess.Popen[bytes] | None = None

    def probe(self, uri: str) -> ViewInfo:
        """Read size, rate and length from the container. Raises ValueError in one sentence."""
        for header, _ in self._ask({"path": uri}):
            return ViewInfo(**header["info"])
        raise AssertionError("a probe has one answer")

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield the frame nearest to each time, each once; where one decoder fails, the next goes
        on from there.

        Raises BrokenOffError, naming what each decoder said, when none gets to the last frame.
        """
        wanted = list(times_s)
        errors: list[str] = []
        last_index = -1
        for decoder in self.config.decoders:
            try:
                for header, data in self._ask({"decoder": decoder, "path": uri, "times_s": wanted}):
                    wanted.pop(0)
                    if header["index"] > last_index:
                        last_index = header["index"]
                        image = np.frombuffer(data, np.uint8).reshape(header["shape"])
                        yield Frame(index=last_index, time_s=header["time_s"], image=image)
            except ValueError as error:
                errors.append(f"{decoder}: {error}")
            if not wanted:
                return
        said = "; ".join(errors) or "no decoder gave them"
        message = f"{Path(uri).name} broke {len(wanted)} frames before the end ({said})"
        raise BrokenOffError(message, num_lost=len(wanted))

    def _ask(self, request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Send a request and yield its answers: a header and the bytes of its `shape`, if it has
        one. Raises ValueError for the child's errors, its death, and its silence.
        """
        child = self._running_child()
        assert child.stdin is not None and child.stdout is not None
        finished = False
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            while not finished:
                with _kill_after(child, self.config.frame_timeout_s) as killed:
                    line = child.stdout.readline()
                    header = json.loads(line) if line.endswith(b"\n") else {}
                    num_bytes = int(np.prod(header["shape"])) if "shape" in header else 0
                    data = child.stdout.read(num_bytes)
                if killed.is_set():
                    raise ValueError(f"no frame for {self.config.frame_timeout_s:g} s")
                if not header or len(data) < num_bytes:
                    raise ValueError("the decoding process died, as when memory runs out")
                finished = "shape" not in header and "reading" not in header
                if "error" in header:
                    raise ValueError(header["error"])
                if "end" not in header and "reading" not in header:
                    yield header, data
        except BrokenPipeError:
            raise ValueError("the decoding process died, as when memory runs out") from None
        finally:
            if not finished:
                self._stop_child()

    def _running_child(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            code = str(Path(__file__).resolve().parents[2])
            environment = {
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")]),
            }
            self._child = subprocess.Popen(
                [sys.executable, "-m", "mining.decoding.child", str(self.config.memory_gb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._child

    def _stop_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


@contextlib.contextmanager
def _kill_after(child: "subprocess.Popen[bytes]", seconds: float) -> Iterator[threading.Event]:
    """Kill the child when the block takes longer than `seconds`; the event tells whether that
    happened.
    """
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        child.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield killed
    finally:
        timer.cancel()
