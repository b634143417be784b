"""Start the trainer as a user does, alone or as several ranks, and stop it in the middle."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

MICRO = [
    "model.image_px=32", "model.patch_px=8", "model.encoder_depth=2", "model.encoder_width=32",
    "model.encoder_heads=2", "model.decoder_depth=2", "model.decoder_width=32",
    "model.decoder_heads=2", "run.evaluate_every=100000", "run.pictures_every=100000",
    "run.checkpoint_every=5", "run.log_every=1", "run.tensorboard=false", "run.record_samples=true",
    "evaluate.max_pairs=32", "loss.background_weight=0.5",
]  # fmt: skip


def command(shards: str, out: Path, steps: int, *settings: str, ranks: int = 1) -> list[str]:
    """`ranks` above 1 go through torchrun, on loopback."""
    start = [sys.executable, "-m", "training"]
    if ranks > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start = [
            sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}",
            "--master-addr=127.0.0.1", f"--master-port={port}", "-m", "training",
        ]  # fmt: skip
    options = [f"--set={setting}" for setting in (*MICRO, *settings)]
    return [
        *start, "pretrain", "--shards", shards, "--steps", str(steps), "--out", str(out), *options,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}


def train(shards: str, out: Path, steps: int, *settings: str, ranks: int = 1) -> None:
    """Train to the end."""
    arguments = command(shards, out, steps, *settings, ranks=ranks)
    done = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]


def train_until(
    text: str, number: signal.Signals, shards: str, out: Path, steps: int, *settings: str,
    ranks: int = 1,
) -> int:  # fmt: skip
    """Send a signal once a line of the progress has `text`; return the exit code.

    SIGKILL goes to all processes, which torchrun starts in sessions of their own; any other signal
    it hands on to its ranks itself.
    """
    process = subprocess.Popen(
        command(shards, out, steps, *settings, ranks=ranks),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            ranks_of = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, number)
            for child in ranks_of if number == signal.SIGKILL else []:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            break
    else:
        raise AssertionError("".join(seen)[-3000:])
    process.stderr.read()
    return process.wait(timeout=120)
