"""Reads the frames of video files: decord in a child process with limits on time and memory, PyAV
where it fails.
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

import numpy as np

from mining.decoders import probe_video
from mining.sources.base import Frame, ViewInfo


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How videos are decoded."""

    decoders: tuple[str, ...] = ("decord", "pyav")  # tried in this order
    frame_timeout_s: float = 30.0  # no new frame for so long: the decoder hangs and is killed
    memory_gb: float = 8.0  # address space of the decoding process


class VideoReader:
    """The Reader for video files.

    Keeps one child process and starts another when that one had to be killed.
    """

    def __init__(self, config: DecodeConfig) -> None:
        self.config = config
        self._child: subprocess.Popen[bytes] | None = None

    def probe(self, uri: str) -> ViewInfo:
        """Read size, rate and length from the container. Raises ValueError in one sentence."""
        return probe_video(uri)

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield the frame nearest to each time, each once; where one decoder fails, the next goes
        on from there.

        Raises ValueError, naming what each decoder said, when none gets to the last frame.
        """
        wanted = list(times_s)
        errors: list[str] = []
        last_index = -1
        for decoder in self.config.decoders:
            try:
                for frame in self._decode(decoder, uri, wanted):
                    wanted.pop(0)
                    if frame.index > last_index:
                        last_index = frame.index
                        yield frame
                return
            except ValueError as error:
                errors.append(f"{decoder}: {error}")
        raise ValueError(
            f"{Path(uri).name} broke {len(wanted)} frames before the end ({'; '.join(errors)})"
        )

    def _decode(self, decoder: str, path: str, times_s: list[float]) -> Iterator[Frame]:
        child = self._running_child()
        assert child.stdin is not None and child.stdout is not None
        request = {"decoder": decoder, "path": path, "times_s": times_s}
        finished = False
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            while True:
                with _kill_after(child, self.config.frame_timeout_s) as killed:
                    header = json.loads(child.stdout.readline() or b"{}")
                    data = (
                        child.stdout.read(int(np.prod(header["shape"])))
                        if "shape" in header
                        else b""
                    )
                if "shape" not in header:
                    break
                image = np.frombuffer(data, np.uint8).reshape(header["shape"])
                yield Frame(index=header["index"], time_s=header["time_s"], image=image)
            finished = bool(header)
        except (BrokenPipeError, ValueError) as error:
            raise ValueError(f"the decoding process broke ({error})") from None
        finally:
            if not finished:
                self._stop_child()
        if killed.is_set():
            raise ValueError(f"no frame for {self.config.frame_timeout_s:g} s")
        if not finished:
            raise ValueError("the decoding process died")
        if "error" in header:
            raise ValueError(header["error"])

    def _running_child(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            code = str(Path(__file__).resolve().parent.parent)
            environment = {
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")]),
            }
            self._child = subprocess.Popen(
                [sys.executable, "-m", "mining.decode_child", str(self.config.memory_gb)],
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
