"""The child process that decodes videos: requests come in on standard input as JSON lines, frames
go out on standard output.

For each frame one JSON line (index, time, shape), then its bytes; at the end one line with `end` or
`error`. It is a process of its own, so that a decoder that hangs or swallows memory can be killed
without losing anything else.
"""

import json
import os
import resource
import sys

from mining.decoders import DECODERS


def serve(memory_gb: float) -> None:
    """Answer decode requests until standard input closes.

    Address space beyond `memory_gb` fails to allocate.
    """
    limit = int(memory_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints must not get among the frames
    for line in sys.stdin:
        request = json.loads(line)
        try:
            decoder = DECODERS[request["decoder"]]()
            for frame in decoder.frames(request["path"], request["times_s"]):
                header = {"index": frame.index, "time_s": frame.time_s, "shape": frame.image.shape}
                out.write(json.dumps(header).encode() + b"\n")
                out.write(frame.image.tobytes())
                out.flush()
            answer: dict[str, object] = {"end": True}
        except (
            Exception
        ) as error:  # whatever a decoder raises becomes its answer, and the next request is served
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    serve(float(sys.argv[1]))
