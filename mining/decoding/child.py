"""The child process that reads videos: requests come in on standard input as JSON lines, answers go
out on standard output.

A request to decode is answered, for each frame, with a JSON line (index, time, shape) and its
bytes, and in the end with a line with `end` or `error`; one to probe with `info` or `error`. A line
with `reading` says that a large file is still being read through. It is a process of its own, so
that a decoder that hangs or swallows memory can be killed without losing anything else.
"""

import ctypes
import dataclasses
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

from mining.decoding.decoders import DECODERS, probe_video
from mining.decoding.timeline import Timeline, Timelines

PR_SET_PDEATHSIG = 1  # of Linux's prctl


def serve(memory_gb: float) -> None:
    """Answer requests until standard input closes; die with the parent process.

    Address space beyond `memory_gb` fails to allocate.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    limit = int(memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    timelines = Timelines()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints must not get among the frames

    def answer(header: dict[str, Any], data: bytes = b"") -> None:
        out.write(json.dumps(header).encode() + b"\n" + data)
        out.flush()

    for line in sys.stdin:
        try:
            request = json.loads(line)
            timeline = timelines.read(request["path"], lambda: answer({"reading": True}))
            for header, data in _answers(request, timeline):
                answer(header, data)
        except Exception as error:  # whatever a decoder raises is its answer; the next is served
            said = (
                str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            )
            answer({"error": " ".join(said.split())[:300]})


def _answers(request: dict[str, Any], timeline: Timeline) -> Iterator[tuple[dict[str, Any], bytes]]:
    path = request["path"]
    if "decoder" not in request:
        yield {"info": dataclasses.asdict(probe_video(path, timeline))}, b""
        return
    decoder = DECODERS[request["decoder"]]()
    for frame in decoder.frames(path, timeline, request["times_s"]):
        header = {"index": frame.index, "time_s": frame.time_s, "shape": frame.image.shape}
        yield header, frame.image.tobytes()
    yield {"end": True}, b""


if __name__ == "__main__":
    serve(float(sys.argv[1]))
