"""What a capture lacks is found from a bounded sample of its frames; what it has is kept."""

from types import SimpleNamespace

import numpy as np
import pytest

from mining.calibration.complete import (
    CalibrateConfig,
    complete_capture,
    sample_people,
    sample_times_s,
)
from mining.identity.track import TrackConfig
from mining.notices import silent
from mining.sources.base import BrokenOffError, Capture, Detection, Frame, View, ViewInfo
from mining.sync import SyncConfig
from tests.skeletons import (
    HEIGHT_PX,
    WIDTH_PX,
    boxes_around,
    detect,
    ring_of_cameras,
    walk,
)

FPS = 25.0
TIMES_S = np.arange(100) / FPS
INFO = ViewInfo(width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=FPS, num_frames=len(TIMES_S))
CONFIG = CalibrateConfig(max_moments=24)
IMAGE = np.zeros((1, 1, 3), np.uint8)


class Filmed:
    """A reader of views that see one walker, and a looker that finds nobody in pixels."""

    def __init__(self, cameras, *, breaks_at=None, named=False):
        there = walk(TIMES_S[:50], (-0.9, -0.4), (0.9, 0.3))
        back = walk(TIMES_S[:50], (0.8, 0.2), (-0.5, 0.7), phase=1.0)
        joints_world = np.concatenate([there, back])
        generator = np.random.default_rng(0)
        self.keypoints = [detect(camera, joints_world, generator, 3.0) for camera in cameras]
        self.asked = {}
        self.breaks_at, self.named = breaks_at, named

    def frames(self, uri, times_s):
        self.asked[uri] = list(times_s)
        for k, time_s in enumerate(times_s):
            if self.breaks_at == k:
                raise BrokenOffError("it broke", num_lost=1)
            index = min(round(time_s * FPS), len(TIMES_S) - 1)
            keypoints = self.keypoints[int(uri)][index].astype(np.float32)
            person = Detection(
                box_px=boxes_around(keypoints[None])[0].astype(np.float32),
                keypoints_px=keypoints,
                score=0.9,
                identity="walker" if self.named else None,
            )
            yield Frame(index=index, time_s=index / FPS, image=IMAGE, people=(person,))


def capture(cameras, sync="given", offsets_s=(0.0, 0.0, 0.0)):
    return Capture(
        name="walk", uri="walk", sync=sync, annotated=("body",),
        views=tuple(
            View(name=f"cam{k}", uri=str(k), reader="filmed", fingerprint="", camera=camera,
                 offset_s=offsets_s[k])
            for k, camera in enumerate(cameras)
        ),
    )  # fmt: skip


def complete(filmed, recording, config=CONFIG, say=silent):
    cameras = [view.camera for view in recording.views]
    looker = SimpleNamespace(parts=("body",))
    return complete_capture(
        recording, [INFO] * len(cameras), cameras, {"filmed": filmed}, looker,
        TrackConfig(), SyncConfig(), config, say,
    )  # fmt: skip


def test_missing_cameras_are_estimated_with_their_error():
    cameras, said = ring_of_cameras(3, arc_deg=180, height_m=1.9), []
    found = complete(Filmed(cameras), capture([None] * 3), say=said.append)
    assert [view.calibration for view in found] == ["estimated"] * 3
    steps = list(dict.fromkeys(text.split()[0] for text in said))
    assert steps == ["looking", "comparing", "joining", "adjusting", "judging"]
    assert any("cameras, 2 of 3 pairs of views" in text for text in said)
    for view in found:
        assert 1 < view.calibration_error_px < 6 and view.camera is not None
        assert view.offset_s == 0 and view.offset_error_s is None and view.problems == ()


def test_given_cameras_are_kept_and_nothing_is_decoded():
    cameras = ring_of_cameras(3, arc_deg=180)
    filmed = Filmed(cameras)
    found = complete(filmed, capture(cameras))
    assert [view.camera for view in found] == cameras and filmed.asked == {}
    assert [view.calibration for view in found] == ["given"] * 3


def test_given_cameras_can_be_ignored_to_check_the_estimate():
    cameras = ring_of_cameras(3, arc_deg=180, height_m=1.9)
    config = CalibrateConfig(max_moments=24, use_given=False)
    found = complete(Filmed(cameras), capture(cameras), config)
    assert [view.calibration for view in found] == ["estimated"] * 3


@pytest.mark.parametrize(
    ("recording", "config"),
    [
        (capture([None]), CONFIG),
        (capture([None] * 3, sync="none"), CONFIG),
        (capture([None] * 3), CalibrateConfig(estimate=False)),
    ],
)
def test_what_cannot_or_may_not_be_estimated_is_not_looked_at(recording, config):
    filmed = Filmed(ring_of_cameras(3))
    found = complete(filmed, recording, config)
    assert {view.calibration for view in found} == {"none"} and filmed.asked == {}


def test_a_view_that_breaks_off_gives_what_was_read():
    filmed = Filmed(ring_of_cameras(1), breaks_at=20)
    tracks, problems = sample_people(
        capture([None]).views, [list(TIMES_S)], ("body",), {"filmed": filmed},
        SimpleNamespace(parts=("body",)), TrackConfig(),
    )  # fmt: skip
    assert [len(track.times_s) for track in tracks] == [20]
    assert problems == {0: ("calibrate", "broke_off", "it broke")}


def test_named_people_are_tracked_by_name_across_gaps():
    filmed = Filmed(ring_of_cameras(1), named=True)
    times_s = [0.0, 0.04, 3.0, 3.04]
    tracks, _ = sample_people(
        capture([None]).views, [times_s], ("body",), {"filmed": filmed},
        SimpleNamespace(parts=("body",)), TrackConfig(),
    )  # fmt: skip
    assert [track.times_s.tolist() for track in tracks] == [times_s]


def test_views_are_sampled_at_the_same_moments_of_the_captures_clock():
    views = capture([None] * 3, offsets_s=(0.0, 0.5, 1.0)).views
    infos = [ViewInfo(width_px=9, height_px=9, fps=25.0, num_frames=2500)] * 3
    sampled = sample_times_s(views, infos, CONFIG, own_clocks=False)
    on_clock = [np.array(times) + view.offset_s for times, view in zip(sampled, views, strict=True)]
    np.testing.assert_allclose(on_clock[0], on_clock[1])
    np.testing.assert_allclose(on_clock[0], on_clock[2])
    assert len(on_clock[0]) == 240 and on_clock[0][0] == 1.0 and on_clock[0][-1] < 100
    assert min(min(times) for times in sampled) >= 0


def test_views_without_a_common_clock_are_sampled_from_their_beginning():
    infos = [INFO, ViewInfo(width_px=9, height_px=9, fps=50.0, num_frames=5000)]
    first, second = sample_times_s(capture([None] * 2).views, infos, CONFIG, own_clocks=True)
    assert first[0] == second[0] == 0 and len(first) == 100 and len(second) == 600
