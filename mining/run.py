"""One mining run: list the captures of a dataset, find the work units that are not done, and do
them stage by stage.

list -> probe (unit: a capture) -> segment (unit: a time window of a capture) -> pair (unit: a
capture)

A unit's key is the hash of all that goes into it. A unit whose key is marked done in the catalog is
not done again; when a key has changed, the unit is done again and what the old key left is deleted.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from catalog import parts, query, storage
from catalog.config import config_hash, to_dict
from catalog.ids import content_id
from catalog.parts import PartName
from catalog.rescore import check_score, rescore
from catalog.runs import record_run
from catalog.schemas import TABLES
from mining import pair, probe, segment
from mining.config import MiningConfig
from mining.detecting.look import Looker, needs_models
from mining.detecting.weights import detector_key, resolve_weights, tracker_key
from mining.executor import Done, RayPool, run_here
from mining.notices import Say, silent
from mining.sources.base import Capture, DatasetSpec, Listing, SourceProblem
from mining.sources.registry import make_source
from mining.stage import Outcome, Tally, WorkUnit
from mining.sync import own_times

BROKEN = """
    SELECT count(DISTINCT unit) AS broken FROM units WHERE dataset = $dataset AND num_failed > 0"""
OLD_CAPTURES = """
    SELECT DISTINCT units.capture_id, coalesce(captures.name, labels.capture) AS name
    FROM units LEFT JOIN captures USING (capture_id) LEFT JOIN labels USING (capture_id)
    WHERE units.dataset = $dataset AND units.capture_id IS NOT NULL"""
PAIRED = ("tracks", "crops", "pairs", "rejected_pairs")  # tables that the pair stage writes
Watch = Callable[[Iterable[Done], int, str], Iterable[Done]]


class Named(Protocol):
    """A capture, or a unit of a labelled dataset."""

    @property
    def name(self) -> str:
        """Its name, unique within the dataset."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; none of this changes what it writes."""

    root: str
    workers: int | None = None  # None: one for each core; 0: in this process, without Ray
    address: str | None = None  # of a Ray cluster; None: a local one
    limit: int | None = None  # captures to mine at most
    prune: bool = False  # delete what was mined from captures that the source no longer has

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that mean nothing."""
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be 0 (no Ray) or more, got {self.workers}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be 1 or more, got {self.limit}")


@dataclass
class RunReport:
    """What a run did; `num_broken` units of this dataset have lost something, now or before."""

    num_captures: int = 0
    num_listed: int = 0
    num_broken: int = 0
    num_gone: int = 0  # captures of earlier runs that the source no longer has, and that stay
    num_done: int = 0
    num_skipped: int = 0
    num_failed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def mine(
    spec: DatasetSpec,
    config: MiningConfig,
    options: RunOptions,
    watch: Watch,
    tell: Say = silent,
) -> RunReport:
    """Mine a dataset into the catalog below `options.root`; `watch` is given each stage's stream of
    finished units, `tell` what a unit is at that takes long.

    Raises ValueError when there is nothing to mine or a setting is wrong.
    """
    root = storage.absolute(options.root)
    check_expression(config.score.expression)
    Looker(config.detect)
    listing = make_source(spec.adapter).captures(spec)
    check_names(spec.name, listing)
    captures = listing.captures[: options.limit]
    if any(needs_models(capture.annotated, config.detect) for capture in captures):
        config = replace(config, detect=resolve_weights(config.detect))
    names = [capture.name for capture in listing.captures]
    commit_listing(root, spec.name, names, listing.problems, listing.excluded)
    run = Run(root, spec.name, config, options, watch, tell)
    with run:
        listed = {probe.capture_id_of(spec.name, capture): capture for capture in listing.captures}
        scopes = dict(itertools.islice(listed.items(), options.limit))
        run.remove_old_captures(listed, {name for name, _, _ in listing.excluded})
        probes = [run.probe_unit(scope, capture) for scope, capture in scopes.items()]
        run.do("probe", probes)
        segments = {unit.name.scope: run.segment_units(unit) for unit in probes}
        run.do("segment", [unit for units in segments.values() for unit in units])
        pairs = [
            run.pair_unit(unit, segments[unit.name.scope])
            for unit in probes
            if segments[unit.name.scope]
        ]
        run.do("pair", pairs)
        run.sweep()
    rescore(root, spec.name, config.score.expression)
    run.report.num_captures, run.report.num_listed = len(captures), len(listing.captures)
    run.report.num_broken = num_broken(root, spec.name)
    return run.report


def num_broken(root: str, dataset: str) -> int:
    """Units of a dataset that lost something, in this run or before."""
    rows = query.select(root, BROKEN, {"dataset": dataset}).to_pylist()
    return int(rows[0]["broken"])


class Run:
    """The state of one run: what the catalog held at its start, the pool of workers, and the
    report.
    """

    def __init__(
        self,
        root: str,
        dataset: str,
        config: MiningConfig,
        options: RunOptions,
        watch: Watch,
        tell: Say = silent,
    ) -> None:
        self.root, self.dataset, self.config, self.options = root, dataset, config, options
        self.watch, self.tell = watch, tell
        self.report = RunReport()
        self._run_id = content_id(dataset, config_hash(config), datetime.now(UTC).isoformat())
        for folder in parts.output_folders(root):
            storage.remove_leftovers(folder)
        self._outputs = parts.all_outputs(root)
        self._done = set(parts.list_parts(root, "units"))
        self._planned: dict[tuple[str, str], str] = {}  # scope and unit to key
        self._pool: RayPool | None = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.__exit__()

    def probe_unit(self, scope: str, capture: Capture) -> WorkUnit:
        """The unit that reads a capture's containers."""
        cameras = [
            view.camera
            and [
                view.camera.intrinsics.tolist(),
                view.camera.distortion.tolist(),
                view.camera.world_from_cam.tolist(),
            ]
            for view in capture.views
        ]
        config = self.config
        estimate: list[str] = []  # what shapes cameras and clocks that are found from people
        if config.calibrate.estimate and len(capture.views) > 1 and capture.sync != "none":
            estimate = [
                config_hash(config.decode, config.sync, config.track),
                tracker_key(config.detect, capture.annotated),
            ]
        key = content_id(
            "probe",
            probe.VERSION,
            config_hash(config.split, config.calibrate),
            estimate,
            capture.uri,
            capture.sync,
            capture.subject,
            capture.split,
            capture.licence,
            capture.annotated,
            [[view.name, view.uri, view.reader, view.offset_s] for view in capture.views],
            cameras,
        )
        return WorkUnit(
            stage="probe",
            name=PartName(scope, "probe", key),
            dataset=self.dataset,
            payload=capture,
            counted_stage="probe",
            counted="views",
            expected=len(capture.views),
        )

    def segment_units(self, probed: WorkUnit) -> list[WorkUnit]:
        """The units that look at a capture's frames; none when no view of it could be read."""
        views = parts.read_rows(self.root, "views", probed.name)
        captures = parts.read_rows(self.root, "captures", probed.name)
        if not captures:
            return []
        config, capture = self.config, probed.payload
        look = [
            capture.annotated,
            config.detect.parts,
            detector_key(config.detect) if needs_models(capture.annotated, config.detect) else None,
        ]
        units = []
        for piece in segment.plan_segments(
            captures[0]["duration_s"], views, config.sample, capture.annotated
        ):
            key = content_id(
                "segment",
                segment.VERSION,
                TABLES["detections"].schema.names,
                config_hash(config.decode, config.crop),
                look,
                list(piece.times_s),
                [[v["view_id"], v["uri"], v["reader"], v["offset_s"]] for v in views],
            )
            units.append(
                WorkUnit(
                    stage="segment",
                    name=PartName(probed.name.scope, f"segment-{piece.index:05d}", key),
                    dataset=self.dataset,
                    payload=piece,
                    counted_stage="decode",
                    counted="frames",
                    expected=sum(len(own_times(view, piece.times_s)) for view in views),
                )
            )
        return units

    def pair_unit(self, probed: WorkUnit, segments: Sequence[WorkUnit]) -> WorkUnit:
        """The unit that finds identities and pairs among a capture's detections."""
        config = self.config
        capture = parts.read_rows(self.root, "captures", probed.name)[0]
        views = parts.read_rows(self.root, "views", probed.name)
        reads = tuple(unit.name for unit in segments)
        sections = (
            config.sync,
            config.track,
            config.associate,
            config.redundancy,
            config.candidates,
        )
        key = content_id(
            "pair",
            pair.VERSION,
            [TABLES[table].schema.names for table in PAIRED],
            config_hash(config.crop, *sections, replace(config.score, expression="")),
            [name.stem for name in reads],
            capture,
            views,
        )
        counts = [
            row["num_kept"]
            for name in reads
            for row in parts.read_rows(self.root, "units", name)
            if row["stage"] == "detect"
        ]
        return WorkUnit(
            stage="pair",
            name=PartName(probed.name.scope, "pair", key),
            dataset=self.dataset,
            payload=pair.CaptureRows(
                capture=capture, views=tuple(views), crop_size_px=config.crop.size_px
            ),
            reads=reads,
            counted_stage="identify",
            counted="people",
            expected=sum(counts),
        )

    def do(self, stage: str, units: Sequence[WorkUnit]) -> None:
        """Do the units that are not done, remove what their earlier keys left, and record the stage
        in `runs`.
        """
        self._planned |= {(unit.name.scope, unit.name.unit): unit.name.key for unit in units}
        pending = [unit for unit in units if unit.name not in self._done]
        self.report.num_skipped += len(units) - len(pending)
        if not pending:
            return
        started, clock = datetime.now(UTC), time.perf_counter()
        num_failed = num_frames = 0
        seconds: dict[str, float] = {}
        for done in self.watch(self._execute(pending), len(pending), stage):
            self._remove_stale(done.unit.name)
            num_failed += bool(done.num_failed)
            num_frames += sum(row["num_kept"] for row in done.counts if row["stage"] == "decode")
            for what, spent in done.seconds.items():
                seconds[what] = round(seconds.get(what, 0.0) + spent, 3)
        wall_s = time.perf_counter() - clock
        self.report.num_done += len(pending)
        self.report.num_failed += num_failed
        self.report.seconds[stage] = wall_s
        record_run(
            self.root,
            self._run_id,
            stage,
            dataset=self.dataset,
            config=to_dict(self.config),
            started=started,
            wall_s=wall_s,
            num_units=len(pending),
            num_frames=num_frames,
            num_skipped=len(units) - len(pending),
            num_failed=num_failed,
            worker_seconds=seconds,
        )

    def remove_old_captures(self, listed: Mapping[str, Named], excluded: Set[str]) -> None:
        """Delete what was mined from earlier contents of the listed captures, what earlier failures
        left, and captures that are left out on purpose now (by name); captures that are gone from
        the source stay, unless the run prunes.
        """
        names = {capture.name for capture in listed.values()}
        rows = query.select(self.root, OLD_CAPTURES, {"dataset": self.dataset}).to_pylist()
        for row in rows:
            if row["capture_id"] in listed:
                continue
            gone = row["name"] is not None and row["name"] not in names | excluded
            if gone and not self.options.prune:
                self.report.num_gone += 1
                continue
            for key in [key for key in self._outputs if key[0] == row["capture_id"]]:
                parts.remove([url for _, url in self._outputs.pop(key)])
            self._done = {name for name in self._done if name.scope != row["capture_id"]}

    def sweep(self) -> None:
        """Delete what the planned captures hold beyond the planned units: parts of other keys, as a
        run leaves that was killed between writing and deleting, and units they no longer have.
        """
        scopes = {scope for scope, _ in self._planned}
        for (scope, unit), outputs in parts.all_outputs(self.root).items():
            if scope in scopes:
                planned = self._planned.get((scope, unit))
                parts.remove([url for key, url in outputs if key != planned])

    def _execute(self, units: Sequence[WorkUnit]) -> Iterator[Done]:
        if self.options.workers == 0:
            return run_here(self.root, self.config, units, self.tell)
        if self._pool is None:
            options = self.options
            self._pool = RayPool(
                self.root, self.config, options.workers, options.address, self.tell
            )
        return self._pool.run(units)

    def _remove_stale(self, name: PartName) -> None:
        outputs = self._outputs.pop((name.scope, name.unit), [])
        parts.remove([url for key, url in outputs if key != name.key])


def check_names(dataset: str, listing: Listing) -> None:
    """Raise ValueError when two captures, or two views of one, have the same name."""
    names = [capture.name for capture in listing.captures]
    views = [f"{c.name}/{view.name}" for c in listing.captures for view in c.views]
    for name, count in Counter([*names, *views]).items():
        if count > 1 and (names.count(name) > 1 or views.count(name) > 1):
            raise ValueError(
                f"dataset {dataset} has {count} captures or views called {name!r}: rename one"
            )


def check_expression(expression: str) -> None:
    """Raise ValueError when a score is neither a preset nor SQL over the terms of `pairs`."""
    try:
        check_score(expression)
    except ValueError as error:
        raise ValueError(f"score.expression: {error}") from None


def commit_listing(
    root: str,
    dataset: str,
    names: Sequence[str],
    problems: Sequence[SourceProblem],
    excluded: Sequence[tuple[str, str, str]],
) -> None:
    """Write what a source could not use as rows of `failures`, and what it left out on purpose as
    rows of `rejects`; the count of captures goes into `units`.
    """
    lost = [[problem.unit, problem.error] for problem in problems]
    lost += [list(left_out) for left_out in excluded]
    name = PartName(f"dataset-{dataset}", "list", content_id(sorted(names), lost))
    unit = WorkUnit(
        stage="probe",
        name=name,
        dataset=dataset,
        payload=None,
        counted_stage="list",
        counted="captures",
        expected=0,
    )
    outcome = Outcome()
    tally = Tally(outcome, unit, "list", "captures")
    tally.take(len(names) + len(problems) + len(excluded))
    tally.keep(len(names))
    for problem in problems:
        tally.fail(problem.unit, problem.error)
    for left_out in excluded:
        tally.reject(*left_out)
    tally.close()
    stale = [
        url
        for key, url in parts.all_outputs(root).get((name.scope, name.unit), [])
        if key != name.key
    ]
    parts.commit(root, name, outcome.rows)
    parts.remove(stale)


def check_name_is_free(root: str, spec: DatasetSpec) -> None:
    """Raise ValueError when the catalog has a dataset of this name from another place."""
    for row in parts.read_table_rows(root, "captures"):
        elsewhere = spec.adapter == "folder" and not row["uri"].startswith(spec.root)
        if row["dataset"] == spec.name and elsewhere:
            raise ValueError(
                f"the catalog's dataset {spec.name!r} came from {row['uri']}; give this one another"
                f' name with a dataset file: name = "other", root = "{spec.root}"'
            )
