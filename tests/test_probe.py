"""Stage probe: what is known of cameras and clocks, and what stays unknown."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from catalog.config import override
from catalog.parts import PartName
from mining.config import MiningConfig
from mining.decoding.readers import Readers
from mining.detecting.look import Looker
from mining.executor import Worker
from mining.geometry.cameras import Camera
from mining.notices import Board, Notices
from mining.probe import probe_capture
from mining.run import Run, RunOptions
from mining.segment import Segment, mine_segment
from mining.sources.base import Capture, Frame, View, ViewInfo
from mining.stage import Outcome, WorkUnit


class Grey:
    """Views of ten grey frames a second for two seconds, with nobody in them; `lost` frames cannot
    be read.
    """

    def __init__(self, lost: Sequence[int] = ()) -> None:
        self.lost = lost

    def probe(self, uri: str) -> ViewInfo:
        return ViewInfo(width_px=64, height_px=48, fps=10.0, num_frames=20)

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        for index in dict.fromkeys(round(time_s * 10) for time_s in times_s):
            if index not in self.lost:
                image = np.full((48, 64, 3), 128, np.uint8)
                yield Frame(index=index, time_s=index / 10, image=image, people=())


def readers(reader: Grey, config: MiningConfig) -> Readers:
    made = Readers(config.decode)
    made._made["grey"] = reader
    return made


def unit(stage: str, payload: object) -> WorkUnit:
    return WorkUnit(
        stage=stage, name=PartName("capture", stage, "key"), dataset="grey", payload=payload,
        counted_stage=stage, counted="views", expected=2,
    )  # fmt: skip


def probe(capture: Capture, config: MiningConfig) -> Outcome:
    looker = Looker(config.detect)
    return probe_capture(unit("probe", capture), readers(Grey(), config), looker, config)


VIEWS = tuple(View(name=name, uri=name, reader="grey", fingerprint=name) for name in "ab")
CAPTURE = Capture(
    name="grey", uri="grey", views=VIEWS, annotated=("body", "hands"), sync="estimated"
)


def test_clocks_that_are_not_found_stay_unknown() -> None:
    outcome = probe(CAPTURE, MiningConfig())
    assert [view["offset_s"] for view in outcome.rows["views"]] == [None, None]
    assert [capture["sync"] for capture in outcome.rows["captures"]] == ["none"]
    sought = [row for row in outcome.rows["rejects"] if row["stage"] == "sync"]
    assert len(sought) == 2 and all(row["detail"] for row in sought)


def test_clocks_that_are_not_sought_stay_unknown() -> None:
    config = MiningConfig()
    config = replace(config, calibrate=replace(config.calibrate, estimate=False))
    outcome = probe(CAPTURE, config)
    assert [view["offset_s"] for view in outcome.rows["views"]] == [None, None]
    assert [capture["sync"] for capture in outcome.rows["captures"]] == ["none"]
    assert {row["reason"] for row in outcome.rows["rejects"]} == {"not_sought"}


@pytest.mark.parametrize(("apart", "lost"), [(900.0, 0), (2500.0, 2)])
def test_cameras_whose_places_are_not_in_metres_are_left_out(apart: float, lost: int) -> None:
    intrinsics = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    places = (np.eye(4), np.eye(4))
    places[1][0, 3] = apart
    views = tuple(
        replace(view, camera=Camera(intrinsics=intrinsics, world_from_cam=place))
        for view, place in zip(VIEWS, places, strict=True)
    )
    outcome = probe(replace(CAPTURE, views=views, sync="given"), MiningConfig())
    errors = [row["error"] for row in outcome.rows["failures"]]
    assert len(errors) == lost and all("2,500 m apart" in error for error in errors)
    given = [view["calibration"] == "given" for view in outcome.rows["views"]]
    assert given == [lost == 0] * 2


def test_looking_for_people_says_in_which_view_and_how_far_it_is() -> None:
    said: list[str] = []
    config = MiningConfig()
    probe_capture(
        unit("probe", CAPTURE), readers(Grey(), config), Looker(config.detect), config, said.append
    )
    places = [re.findall(r"\d+", text) for text in said if text.startswith("looking for people")]
    assert {(view, views) for view, views, _, _ in places} == {("1", "2"), ("2", "2")}
    first = [int(moment) for view, _, moment, _ in places if view == "1"]
    assert first[0] == 1 and first == sorted(set(first)) and first[-1] <= int(places[0][3])


def test_of_what_is_said_a_notice_every_few_seconds_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([100.0, 104.0, 111.0, 115.0, 120.9, 122.0])
    monkeypatch.setattr("mining.notices.time.monotonic", lambda: next(clock))
    told: list[str] = []
    notices = Notices("probe: walk", told.append, every_s=10.0)
    for step in range(5):
        notices.say(f"step {step}")
    assert told == ["probe: walk: step 1, 11 s", "probe: walk: step 4, 22 s"]


def test_a_worker_tells_what_its_unit_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mining.executor.Notices", partial(Notices, every_s=0.0))
    told: list[str] = []
    worker = Worker(str(tmp_path), MiningConfig(), told.append)
    worker.readers._made["grey"] = Grey()
    worker.work(unit("probe", CAPTURE))
    assert told[0].startswith("probe: grey: looking for people in view 1 of 2")


def test_the_board_holds_the_last_notice_until_it_is_taken() -> None:
    board = Board()
    board.put("first")
    board.put("second")
    assert [board.take(), board.take()] == ["second", ""]


def key(tmp_path: Path, capture: Capture, *settings: str) -> str:
    """The content key of a capture's probe unit under these settings."""
    config = override(MiningConfig(), settings)
    options = RunOptions(root=str(tmp_path), workers=0)
    with Run(str(tmp_path), "grey", config, options, lambda done, total, stage: done) as run:
        return run.probe_unit("scope", capture).name.key


BARE = replace(CAPTURE, annotated=())
HANDS = "detect.parts=hands"


@pytest.mark.parametrize(
    ("capture", "before", "change"),
    [
        (BARE, [], "detect.hand_confidence=0.9"),
        (BARE, [], "detect.min_hand_px=99"),
        (BARE, [], "detect.hand_model=another.task"),
        (BARE, [], "detect.masks=another.pt"),
        (BARE, [], "detect.parts=body"),
        (BARE, [HANDS], "detect.confidence=0.9"),
        (BARE, [], "crop.size_px=99"),
        (CAPTURE, [], "detect.confidence=0.9"),
        (replace(BARE, sync="none"), [], "detect.confidence=0.9"),
    ],
)
def test_settings_that_probing_does_not_use_leave_its_key(
    tmp_path: Path, capture: Capture, before: list[str], change: str
) -> None:
    assert key(tmp_path, capture, *before) == key(tmp_path, capture, *before, change)


@pytest.mark.parametrize(
    ("capture", "before", "change"),
    [
        (BARE, [], "detect.confidence=0.9"),
        (BARE, [], "detect.input_px=320"),
        (BARE, [], "detect.detector=another"),
        (BARE, [], "detect.weights=another.pt"),
        (BARE, [], HANDS),
        (BARE, [HANDS], "detect.hand_confidence=0.9"),
        (BARE, [], "calibrate.max_moments=99"),
        (BARE, [], "track.max_gap_s=9.0"),
        (CAPTURE, [], "sync.max_sync_error_s=0.5"),
        (CAPTURE, [], HANDS),
    ],
)
def test_settings_that_shape_what_probing_finds_change_its_key(
    tmp_path: Path, capture: Capture, before: list[str], change: str
) -> None:
    assert key(tmp_path, capture, *before) != key(tmp_path, capture, *before, change)


def test_a_lost_last_frame_of_one_segment_takes_none_from_the_next() -> None:
    config = MiningConfig()
    views = probe(replace(CAPTURE, sync="given"), config).rows["views"][:1]
    segment = Segment(
        index=1, views=tuple(views), previous_s=0.9, annotated=("body", "hands"),
        times_s=tuple(k / 10 for k in range(10, 20)),
    )  # fmt: skip
    for lost in ((), (9,)):
        outcome = mine_segment(
            unit("segment", segment),
            readers(Grey(lost), config),
            Looker(config.detect),
            config.crop,
        )
        [decoded] = [row for row in outcome.rows["units"] if row["stage"] == "decode"]
        assert (decoded["num_in"], decoded["num_kept"]) == (10, 10)
