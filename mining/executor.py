"""Runs stages over work units, in this process or on Ray, and commits each unit when it is done.
The only module that imports ray.

Workers commit by themselves: rows and crops go from the worker that made them straight to the root,
which on a cluster must be a folder or object store that every node reaches. A unit whose worker
dies is tried again on a fresh one; a unit that raises becomes a row of `failures`. At most one unit
is in flight per worker, so memory stays bounded. While no unit is done for a while, the last notice
of any worker (notices.py) is told.
"""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from catalog import parts
from catalog.parts import Row
from catalog.progress import LINE_EVERY_S
from mining.config import MiningConfig
from mining.decoding.readers import Readers
from mining.detecting.look import Looker
from mining.labelling.label import label_unit
from mining.labelling.source import make_labelled_source
from mining.notices import Board, Notices, Say, silent
from mining.pair import pair_capture
from mining.probe import probe_capture
from mining.segment import mine_segment
from mining.stage import Outcome, Tally, WorkUnit

MAX_ATTEMPTS = 2  # of a unit whose worker dies


@dataclass(frozen=True)
class Done:
    """What became of a unit: its counts by stage, and seconds by what they were spent on."""

    unit: WorkUnit
    counts: tuple[Row, ...]
    seconds: dict[str, float]

    @property
    def num_failed(self) -> int:
        """Things lost in this unit."""
        return sum(row["num_failed"] for row in self.counts)


class Worker:
    """Does units one after the other; keeps its readers and its models between them."""

    def __init__(self, root: str, config: MiningConfig, tell: Say = silent) -> None:
        self.root, self.config, self.tell = root, config, tell
        self.readers = Readers(config.decode)

    @cached_property
    def looker(self) -> Looker:
        """The models; what they lack on this machine is a failure of the units that need them."""
        return Looker(self.config.detect)

    def work(self, unit: WorkUnit, attempt: int = 1) -> Done:
        """Run a unit's stage and commit what it made; whatever it raises becomes a row of
        `failures`.
        """
        try:
            outcome = self._run(unit)
            parts.commit(self.root, unit.name, outcome.rows, outcome.crops_tar)
        except Exception as error:  # the stage boundary: one unit that breaks stops no other
            text = " ".join(f"{type(error).__name__}: {error}".split())
            outcome = commit_broken(self.root, unit, text, attempt, traceback.format_exc())
        return Done(unit, tuple(outcome.rows["units"]), outcome.seconds)

    def _run(self, unit: WorkUnit) -> Outcome:
        config = self.config
        if unit.stage == "probe":
            notices = Notices(f"{unit.stage}: {unit.payload.name}", self.tell)
            return probe_capture(unit, self.readers, self.looker, config, notices.say)
        if unit.stage == "segment":
            return mine_segment(unit, self.readers, self.looker, config.crop)
        if unit.stage == "label":
            source = make_labelled_source(unit.payload.adapter)
            return label_unit(unit, source, config.label, config.split)
        detections = [
            row for name in unit.reads for row in parts.read_rows(self.root, "detections", name)
        ]
        return pair_capture(unit, detections, config)


def commit_broken(
    root: str, unit: WorkUnit, error: str, attempt: int, trace: str | None
) -> Outcome:
    """Commit a unit that broke as a whole: everything expected of it counts as lost, and what it
    wrote before it broke is deleted.
    """
    outcome = Outcome()
    tally = Tally(outcome, unit, unit.counted_stage, unit.counted)
    tally.take(unit.expected)
    tally.fail(unit.name.unit_id, error, count=unit.expected, attempt=attempt, traceback=trace)
    tally.close()
    parts.discard(root, unit.name)
    parts.commit(root, unit.name, outcome.rows)
    return outcome


def run_here(
    root: str, config: MiningConfig, units: Sequence[WorkUnit], tell: Say
) -> Iterator[Done]:
    """Do the units in this process, in order: for debugging and small tests."""
    worker = Worker(root, config, tell)
    for unit in units:
        yield worker.work(unit)


def share_out(nodes: Sequence[tuple[int, int]], workers: int | None) -> tuple[int, float]:
    """How many workers there are, at most as many as asked for, and each one's share of a GPU.

    `nodes` are the CPUs and GPUs of each node. A worker takes one CPU. Where some nodes have GPUs,
    workers run there alone, with equal shares: the fewest on a GPU that make room for all.
    """
    with_gpus = [node for node in nodes if node[0] and node[1]]
    cpus = max(1, sum(cpu for cpu, _ in with_gpus or nodes))
    size = min(workers or cpus, cpus)
    if not with_gpus:
        return size, 0.0
    on_each = next(n for n in range(1, size + 1) if _room(with_gpus, n) >= size)
    return size, 1 / on_each


def _room(nodes: Sequence[tuple[int, int]], on_each_gpu: int) -> int:
    return sum(min(cpus, gpus * on_each_gpu) for cpus, gpus in nodes)


class RayPool:
    """A pool of Ray actors, started once for all stages of a run. Use as a context manager."""

    def __init__(
        self, root: str, config: MiningConfig, workers: int | None, address: str | None, tell: Say
    ) -> None:
        import ray

        code = str(Path(__file__).resolve().parent.parent)
        environment = {"PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")])}
        local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
        try:
            ray.init(
                address=address or "local",
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level="ERROR",
                **local,
            )
        except ConnectionError:
            raise ValueError(
                f"no Ray cluster answers at {address}: start one with `ray start --head`; one that "
                "asks for a token needs RAY_AUTH_MODE=token set here too"
            ) from None
        self.size, num_gpus = share_out(
            [
                (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
                for node in ray.nodes()
                if node["Alive"]
            ],
            workers,
        )
        options = {"num_cpus": 1, "num_gpus": num_gpus, "max_restarts": 0}
        self._idle: list[Any] = []
        self._board = ray.remote(num_cpus=0)(Board).remote()
        put = partial(_put, self._board)
        self._make: Callable[[], Any] = lambda: ray.remote(**options)(Worker).remote(
            root, config, put
        )
        self._root, self._ray, self._tell = root, ray, tell

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, units: Sequence[WorkUnit]) -> Iterator[Done]:
        """Do the units, yielding each when it is done, in any order; what is written does not
        depend on the order.
        """
        waiting = [(unit, 1) for unit in reversed(units)]
        idle = self._idle
        idle += [self._make() for _ in range(min(self.size, len(units)) - len(idle))]
        flying: dict[Any, tuple[WorkUnit, int, Any]] = {}
        while waiting or flying:
            while waiting and idle:
                (unit, attempt), actor = waiting.pop(), idle.pop()
                flying[actor.work.remote(unit, attempt)] = (unit, attempt, actor)
            done_refs, _ = self._ray.wait(list(flying), num_returns=1, timeout=LINE_EVERY_S)
            if not done_refs:
                self._tell_notice()
            for ready in done_refs:
                unit, attempt, actor = flying.pop(ready)
                try:
                    done = self._ray.get(ready)
                except (
                    self._ray.exceptions.RayActorError,
                    self._ray.exceptions.OutOfMemoryError,
                ) as error:
                    idle.append(self._make())
                    if attempt < MAX_ATTEMPTS:
                        waiting.append((unit, attempt + 1))
                        continue
                    done = self._give_up(unit, attempt, error)
                else:
                    idle.append(actor)
                yield done

    def _tell_notice(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):  # nothing depends on a notice
            if text := self._ray.get(self._board.take.remote(), timeout=LINE_EVERY_S):
                self._tell(text)

    def _give_up(self, unit: WorkUnit, attempt: int, error: Exception) -> Done:
        said = " ".join(str(error).split())[:200]
        reason = f"the worker died {attempt} times, as when memory runs out: {said}"
        outcome = commit_broken(self._root, unit, reason, attempt, None)
        return Done(unit, tuple(outcome.rows["units"]), {})


def _put(board: Any, text: str) -> None:
    """Put a worker's notice on the board; it is not waited for."""
    board.put.remote(text)
