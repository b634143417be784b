"""Measured figures: rows of `ROOT/reports/<name>.jsonl`, one JSON object a line, newest run last.

Every row says what was measured, with its unit, what it was compared with, and the run, date,
machine and commit that it came from; so any figure in docs/ can be found again.
"""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog import storage
from catalog.ids import content_id


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One figure: `value` is None where it could not be measured, and `compared_with` says why."""

    metric: str
    value: float | None
    unit: str
    compared_with: str
    count: int | None = None  # of what the figure was taken over
    goal: str = ""


def record(root: str, name: str, measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Append one run's figures to the report `name` below a root; return the rows written."""
    return record_rows(root, name, [asdict(row) for row in measurements])


def record_rows(root: str, name: str, measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Append one run's rows, of any columns, to the report `name` below a root; return them with
    run, date, machine and commit.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    origin = {"date": date, "machine": machine(), "commit": commit()}
    run_id = content_id(name, date, list(measured))
    rows = [{**row, "run_id": run_id, **origin} for row in measured]
    url = storage.join(storage.absolute(root), "reports", f"{name}.jsonl")
    try:
        before = storage.read_text(url)
    except FileNotFoundError:
        before = ""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    storage.write_bytes(url, (before + lines).encode())
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of one run as a table for docs/, with their origin below."""
    lines = ["| metric | value | unit | goal | over | compared with |", "|---|---|---|---|---|---|"]
    for row in rows:
        value = "not measured" if row["value"] is None else f"{row['value']:.4g}"
        over = "" if row["count"] is None else f"{row['count']:,}"
        cells = (row["metric"], value, row["unit"], row["goal"], over, row["compared_with"])
        lines.append("| " + " | ".join(cells) + " |")
    if rows:
        lines += ["", f"{rows[0]['date'][:10]}, commit {rows[0]['commit']}, {rows[0]['machine']}."]
    return "\n".join(lines)


def machine() -> str:
    """The processor, its cores that this process may use, and the GPU where there is one."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {gpu() or 'no GPU'}"


def gpu() -> str | None:
    """The name of the first NVIDIA GPU, as its driver's own tool gives it; None without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return names.splitlines()[0].strip() if names.strip() else None


def commit() -> str:
    """The commit of the code, with `+` where files differ from it; `unknown` outside a checkout."""
    folder = Path(__file__).resolve().parent.parent
    try:
        head = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()
