"""Time: frames that are paired were taken together, whatever the rates, offsets and gaps of the
views.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from catalog import check, query
from catalog.config import override
from mining.config import MiningConfig
from mining.geometry.instants import group_instants
from mining.run import RunOptions, mine
from mining.sources.base import DatasetSpec
from mining.sync import SyncConfig, own_times, set_clock
from tests.plugins import install_plugin
from tests.videos import write_video

GENERATOR = np.random.default_rng(11)
SHOWN_S = {
    "steady": np.arange(75) / 30,
    "late": np.delete(np.arange(60) / 25, [10, 11, 12, 13, 14, 15, 16, 40]),  # dropped frames
    "uneven": np.cumsum(GENERATOR.uniform(0.015, 0.05, 70)),
}
OFFSETS_S = {"steady": 0.2, "late": 0.513, "uneven": 0.0}
CAPTURE_FILE = """
[views.steady]
offset_s = -0.1
[views.late]
offset_s = 0.213
[views.uneven]
offset_s = -0.3
"""
PLUGIN = '''
import dataclasses
import numpy as np
from mining.decoding.video import DecodeConfig, VideoReader
from mining.sources.base import Detection
from mining.sources.folder import FolderSource
from tests.videos import number_of


class Source:
    """A folder whose views are read by Reader, with one person in every frame."""

    def captures(self, spec):
        listing = FolderSource().captures(spec)
        captures = [
            dataclasses.replace(
                capture, annotated=("body",),
                views=tuple(dataclasses.replace(v, reader="painted") for v in capture.views),
            )
            for capture in listing.captures
        ]
        return dataclasses.replace(listing, captures=tuple(captures))


class Reader(VideoReader):
    """Gives the number painted into a frame as the score of the person in it."""

    def __init__(self):
        super().__init__(DecodeConfig())

    def frames(self, uri, times_s):
        for frame in super().frames(uri, times_s):
            number = number_of(frame.image)
            places = np.random.default_rng(number).uniform((6, 6), (58, 58), (17, 2))
            keypoints = np.concatenate([places, np.ones((17, 1))], axis=1).astype(np.float32)
            person = Detection(
                box_px=np.array([4, 4, 60, 60], np.float32), keypoints_px=keypoints,
                score=(number + 1) / 256, identity="somebody",
            )
            yield dataclasses.replace(frame, people=(person,))
'''
CROPS = """
    SELECT crop_id, views.name AS view, time_s, detector_score * 256 - 1 AS number, frame_index
    FROM crops JOIN views USING (view_id)"""
PAIRS = """
    SELECT crop_a, crop_b, time_gap_s FROM pairs WHERE kind = 'cross_view'
    UNION ALL  -- rejected here for their unknown angles, without cameras
    SELECT crop_a, crop_b, time_gap_s FROM rejected_pairs WHERE kind = 'cross_view'"""


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Path]:
    folder = tmp_path_factory.mktemp("sync")
    (folder / "footage").mkdir()
    for name, times_s in SHOWN_S.items():
        write_video(folder / "footage" / f"{name}.mp4", times_s=times_s, options={"bf": "2"})
    (folder / "footage" / "capture.toml").write_text(CAPTURE_FILE)
    entry_points = (
        "[crosspairs.sources]\npainted = painted:Source\n"
        "[crosspairs.readers]\npainted = painted:Reader\n"
    )
    plugin = install_plugin(folder / "site", "painted", PLUGIN, entry_points)
    settings = [
        "crop.size_px=64", "crop.min_person_px=20", "sample.fps=20", "sample.segment_s=0.7",
        "detect.parts=body",
    ]  # fmt: skip
    spec = DatasetSpec(name="clocks", adapter="painted", root=str(folder / "footage"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(plugin))
        options = RunOptions(root=str(folder / "data"), workers=0)
        mine(spec, override(MiningConfig(), settings), options, lambda done, total, stage: done)
    yield folder / "data"


def truth_s(crop: dict[str, object]) -> float:
    """When the frame that a crop shows was taken, by the number painted into it."""
    view = str(crop["view"])
    shown_s = SHOWN_S[view] - SHOWN_S[view][0]
    return float(OFFSETS_S[view] + shown_s[round(float(str(crop["number"])))])


def test_every_crop_has_the_time_at_which_its_pixels_were_taken(mined: Path) -> None:
    crops = query.select(str(mined), CROPS).to_pylist()
    assert len(crops) > 100
    for crop in crops:
        assert crop["frame_index"] == round(crop["number"])
        assert crop["time_s"] == pytest.approx(truth_s(crop), abs=1e-3)


def test_frames_paired_across_views_were_taken_together(mined: Path) -> None:
    crops = {crop["crop_id"]: crop for crop in query.select(str(mined), CROPS).to_pylist()}
    pairs = query.select(str(mined), PAIRS).to_pylist()
    together = set()
    for pair in pairs:
        a, b = crops[pair["crop_a"]], crops[pair["crop_b"]]
        gap_s = abs(truth_s(a) - truth_s(b))
        assert gap_s <= SyncConfig().max_sync_error_s + 1e-3
        assert pair["time_gap_s"] == pytest.approx(gap_s, abs=1e-3)
        together.add(frozenset((a["view"], b["view"])))
    assert len(together) == 3 and len(pairs) > 40


def test_moments_outside_a_view_are_not_lost_frames(mined: Path) -> None:
    sql = "SELECT sum(num_failed) AS failed FROM units WHERE stage = 'decode'"
    assert query.select(str(mined), sql).to_pylist() == [{"failed": 0}]
    assert query.select(str(mined), "SELECT * FROM failures").to_pylist() == []
    [capture] = query.select(str(mined), "SELECT duration_s, sync FROM captures").to_pylist()
    ends_s = [OFFSETS_S[name] + shown_s[-1] - shown_s[0] for name, shown_s in SHOWN_S.items()]
    assert capture["sync"] == "given"
    assert capture["duration_s"] == pytest.approx(max(ends_s), abs=0.06)
    views = query.select(str(mined), "SELECT name, offset_s FROM views").to_pylist()
    assert {view["name"]: view["offset_s"] for view in views} == pytest.approx(OFFSETS_S)
    assert [row for row in check.check(str(mined)) if row["broken"]] == []


def test_the_clock_begins_with_the_earliest_view() -> None:
    views = [
        {"offset_s": 5.0, "num_frames": 50, "fps": 25.0},
        {"offset_s": -1.5, "num_frames": 30, "fps": 30.0},
    ]
    assert set_clock(views) == pytest.approx(8.5)
    assert [view["offset_s"] for view in views] == [6.5, 0.0]
    assert own_times(views[0], [6.0, 6.5, 7.0, 8.4999, 8.5]) == pytest.approx([0.0, 0.5, 1.9999])
    assert own_times(views[1], [0.0, 0.9, 1.0, 6.0]) == pytest.approx([0.0, 0.9])


def plain_instants(times_s: list[float], bound_s: float) -> list[list[float]]:
    """Joins the two nearest groups again and again, as long as one stays within the bound."""
    groups = [[t] for t in sorted(set(times_s))]
    while len(groups) > 1:
        fitting = [
            (right[0] - left[-1], k)
            for k, (left, right) in enumerate(itertools.pairwise(groups))
            if right[-1] - left[0] <= bound_s + 1e-6
        ]
        if not fitting:
            break
        _, k = min(fitting)
        groups[k : k + 2] = [groups[k] + groups[k + 1]]
    return groups


def test_all_times_of_an_instant_are_close_and_the_nearest_are_together() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        lists = [np.sort(generator.uniform(0, 0.6, generator.integers(1, 12))) for _ in range(3)]
        instants, places = group_instants(lists, 0.02)
        groups = plain_instants(np.concatenate(lists).tolist(), 0.02)
        assert instants.tolist() == [group[0] for group in groups]
        for times_s, place in zip(lists, places, strict=True):
            for time_s, k in zip(times_s, place, strict=True):
                assert time_s in groups[k]


def test_a_gap_of_exactly_the_bound_is_within_it() -> None:
    _, places = group_instants([np.array([0.1]), np.array([0.08])], 0.02)
    assert places[0].tolist() == places[1].tolist() == [0]


def test_a_bound_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sync\.max_sync_error_s must be 0 or more"):
        SyncConfig(max_sync_error_s=-0.1)
