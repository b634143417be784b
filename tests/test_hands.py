"""Hands against truth: rendered people whose hands are known, and real footage whose hands were
looked at.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mining.decoding.video import DecodeConfig, VideoReader
from mining.detecting.config import DetectConfig
from mining.detecting.google_hands import GoogleHandFinder, tiles
from mining.detecting.hand_model import Square, _merge, square_of_points
from mining.detecting.hands import make_hand_finder
from mining.detecting.people import make_detector
from mining.detecting.weights import detector_key, resolve_weights
from mining.detecting.wrists import wrists_of
from mining.sources.base import Detection
from mining.sources.demo import VIEWS
from mining.wheels import Wheel, fetch_wheel
from tests.plugins import install_plugin
from tests.rendered import error, pictures, share_visible

PIANIST = Wheel(  # GPL-3: looked at by this test alone
    "musicalgestures",
    "1.32.0",
    "642dedf4f2562e2cb06c282785f48ce5a71e7288572e36a137a1fe842cb47d38",
    {
        "musicalgestures/examples/pianist.avi": (
            "1b17d27c2aba3a3e52f6bab717cc5afa93b39848e528d3743afb16b34b554d39"
        )
    },
)
SIDES = {"left_hand", "right_hand"}


@pytest.fixture(scope="module")
def config() -> DetectConfig:
    return resolve_weights(DetectConfig())


@pytest.fixture(scope="module")
def finder(config: DetectConfig) -> GoogleHandFinder:
    return GoogleHandFinder(config)


def test_visible_hands_of_rendered_people_are_found_on_the_right_side(
    finder: GoogleHandFinder,
) -> None:
    visible, errors = 0, []
    for image, body, truth in pictures():
        found = {hand.part: hand for hand in finder.at_wrists(image, [body])[0]}
        for part, hand in truth.items():
            if share_visible(hand) >= 0.5:
                visible += 1
                if part in found:
                    errors.append(error(found[part], hand))
    assert visible >= 10
    assert len(errors) >= 0.9 * visible
    assert np.median(errors) < 0.12
    assert np.mean(np.array(errors) < 0.7) >= 0.95  # further away is the other hand, or none


def test_the_model_tells_left_from_right_without_a_body(finder: GoogleHandFinder) -> None:
    right = wrong = 0
    for image, _, truth in pictures()[:6]:
        mirrored = np.ascontiguousarray(image[:, ::-1])
        for seen, is_mirrored in ((image, False), (mirrored, True)):
            for hand in finder.everywhere(seen):
                points = hand.keypoints_px.copy()
                if is_mirrored:
                    points[:, 0] = image.shape[1] - points[:, 0]
                same = replace(hand, keypoints_px=points)
                near = {part: error(same, one) for part, one in truth.items()}
                part = min(near, key=lambda part: near[part], default="")
                if part and near[part] < 0.3:
                    agrees = (hand.part == part) != is_mirrored
                    right, wrong = right + agrees, wrong + (not agrees)
    assert right + wrong >= 8
    assert right >= 0.85 * (right + wrong)


def test_every_wrist_gives_a_hand_or_a_reason(finder: GoogleHandFinder) -> None:
    bodies = [body for _, body, _ in pictures()[:2]]
    for image in (pictures()[0][0], np.full((512, 512, 3), 128, np.uint8)):
        hands, rejects = finder.at_wrists(image, bodies)
        places = [(one.body, one.part) for one in (*hands, *rejects)]
        assert sorted(places) == sorted((wrist.body, wrist.part) for wrist in wrists_of(bodies))
        assert all(reject.detail for reject in rejects)
    assert not hands and {reject.reason for reject in rejects} == {"no_hand"}


def test_one_hand_is_not_given_to_two_wrists(finder: GoogleHandFinder) -> None:
    reasons = []
    for image, body, truth in pictures():
        if "left_hand" not in truth or share_visible(truth["left_hand"]) < 0.6:
            continue
        both = body.keypoints_px.copy()
        both[[8, 10]] = both[[7, 9]]  # the right arm is said to be where the left one is
        hands, rejects = finder.at_wrists(image, [replace(body, keypoints_px=both)])
        assert len(hands) <= 1
        assert all(hand.part == "left_hand" for hand in hands)
        reasons += [reject.reason for reject in rejects if reject.part == "right_hand"]
    others = [reason for reason in reasons if reason != "no_hand"]
    assert len(others) >= 3 and {"handedness", "same_hand"} >= set(others)


def test_hands_of_few_pixels_are_not_guessed(finder: GoogleHandFinder) -> None:
    image, body, _ = pictures()[0]
    scale = 0.1
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    points = body.keypoints_px * (scale, scale, 1)
    hands, rejects = finder.at_wrists(small, [replace(body, keypoints_px=points)])
    assert not hands
    assert {reject.reason for reject in rejects} == {"small_hand"}


def test_answers_do_not_depend_on_what_was_looked_at_before(
    finder: GoogleHandFinder, config: DetectConfig
) -> None:
    image, body, _ = pictures()[2]
    for seen in (pictures()[1], pictures()[2]):
        later = finder.at_wrists(seen[0], [seen[1]])[0]
    fresh = GoogleHandFinder(config).at_wrists(image, [body])[0]
    assert len(fresh) == len(later) >= 1
    for a, b in zip(fresh, later, strict=True):
        assert (a.keypoints_px == b.keypoints_px).all() and a.score == b.score


def test_the_hands_of_the_demos_walker_are_found(
    finder: GoogleHandFinder, config: DetectConfig
) -> None:
    detector = make_detector(config)
    reader = VideoReader(DecodeConfig())
    found = []
    for member, path in fetch_wheel(VIEWS).items():
        if member.endswith(".mp4"):
            for frame in reader.frames(str(path), (1.0,)):
                bodies = detector.detect(frame.image)[:1]
                hands, _ = finder.at_wrists(frame.image, bodies)
                found += [(member[-9:], hand.part) for hand in hands]
                for hand in hands:
                    wrist = bodies[0].keypoints_px[9 if hand.part == "left_hand" else 10, :2]
                    assert np.linalg.norm(hand.keypoints_px[0, :2] - wrist) < 80
    assert len(found) >= 5  # of the 8, some of which are behind the body
    assert {part for _, part in found} == SIDES


def test_a_pianists_two_hands_are_found_without_a_body(finder: GoogleHandFinder) -> None:
    (path,) = fetch_wheel(PIANIST).values()
    parts = []
    for frame in VideoReader(DecodeConfig()).frames(str(path), (10.0, 25.0, 35.0)):
        found = finder.everywhere(frame.image)
        assert len(found) == 2
        for hand in found:
            assert 25 < np.ptp(hand.keypoints_px[:, :2], axis=0).max() < 80
            assert hand.body is None
        parts += [hand.part for hand in sorted(found, key=lambda hand: -hand.box_px[0])]
    truth = ["left_hand", "right_hand"] * 3  # he faces the camera
    assert sum(part == true for part, true in zip(parts, truth, strict=True)) >= 5


def test_no_network_is_loaded_before_a_frame_needs_it() -> None:
    code = """
import sys
from mining.detecting.look import Looker
from mining.detecting.config import DetectConfig
Looker(DetectConfig())
assert not {"ai_edge_litert", "ultralytics", "torch"} & set(sys.modules)"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_square_is_turned_with_its_fingers_upwards() -> None:
    square = Square((100.0, 50.0), 40.0, up_rad=0.0)  # fingers to the right
    corners = np.array([[100, 50], [120, 50], [100, 70]])
    matrix = square.to_pixels(200)
    assert np.allclose(corners @ matrix[:, :2].T + matrix[:, 2], [[100, 100], [100, 0], [200, 100]])


def test_the_square_of_a_hand_turns_and_grows_with_it() -> None:
    points = np.random.default_rng(0).normal(size=(21, 2)) * 30 + 100
    turn, scale = 0.7, 3.0
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    before, after = square_of_points(points), square_of_points(points @ rotation.T + (5, 9))
    assert np.allclose(rotation @ before.centre_px + (5, 9), after.centre_px)
    assert np.isclose(after.side_px, scale * before.side_px)
    assert np.isclose(np.cos(after.up_rad - before.up_rad), np.cos(turn))


def test_overlapping_palms_are_joined_to_their_weighted_mean() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], float)
    points = np.zeros((3, 7, 2))
    first, second = _merge(boxes, points, np.array([0.9, 0.3, 0.8]))
    assert np.allclose(first[0], [0.5, 0, 10.5, 10]) and first[2] == 0.9
    assert np.allclose(second[0], boxes[2]) and second[2] == 0.8


@pytest.mark.parametrize("size", [(640, 480), (1080, 1920), (300, 200), (4000, 400)])
def test_tiles_of_each_size_cover_the_frame(size: tuple[int, int]) -> None:
    squares = tiles(*size)
    for side in {square.side_px for square in squares}:
        seen = np.zeros(size[::-1], bool)
        for square in squares:
            if square.side_px == side:
                x0, y0 = (max(0, round(middle - side / 2)) for middle in square.centre_px)
                x1, y1 = (round(middle + side / 2) for middle in square.centre_px)
                seen[y0:y1, x0:x1] = True
        assert seen.all()


def test_a_hand_finder_of_another_package_is_used_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "class Finder:\n    def __init__(self, config): self.wanted = config.hand_confidence\n"
    points = "[crosspairs.hand_finders]\nmine = other_hands:Finder\n"
    monkeypatch.syspath_prepend(install_plugin(tmp_path, "other_hands", code, points))
    made = make_hand_finder(DetectConfig(hand_model="mine", hand_confidence=0.7))
    assert vars(made) == {"wanted": 0.7}
    with pytest.raises(ValueError, match=r"detect.hand_model=yours: unknown; there are: .*mine"):
        make_hand_finder(DetectConfig(hand_model="yours"))


def test_a_file_that_is_no_hand_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.task"
    path.write_bytes(b"nothing")
    found = make_hand_finder(DetectConfig(hand_model=str(path)))
    with pytest.raises(ValueError, match="is no hand model: no hand_detector"):
        found.everywhere(np.zeros((64, 64, 3), np.uint8))


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"detect.parts is body, hands or both"):
        DetectConfig(parts=())
    with pytest.raises(ValueError, match="hand_confidence between 0 and 1"):
        DetectConfig(hand_confidence=1.5)


def test_the_key_follows_what_shapes_the_answers_and_not_where_files_lie(tmp_path: Path) -> None:
    here, there = tmp_path / "a.task", tmp_path / "b.task"
    here.write_bytes(b"one")
    there.write_bytes(b"one")
    hands = DetectConfig(parts=("hands",), hand_model=str(here))
    assert detector_key(hands) == detector_key(replace(hands, hand_model=str(there)))
    assert detector_key(hands) == detector_key(replace(hands, confidence=0.9, masks="other"))
    there.write_bytes(b"two")
    for other in (
        replace(hands, hand_model=str(there)),
        replace(hands, hand_confidence=0.9),
        replace(hands, min_hand_px=99),
        replace(hands, parts=("body", "hands")),
    ):
        assert detector_key(hands) != detector_key(other)


def test_an_arm_seen_end_on_is_taken_for_as_long_as_the_other_one() -> None:
    points = np.zeros((17, 3), np.float32)
    points[[7, 8, 9, 10], 2] = 1
    points[9, :2], points[8, :2], points[10, :2] = (2, 0), (100, 0), (100, 60)
    body = Detection(box_px=np.zeros(4, np.float32), keypoints_px=points, score=1.0)
    left, right = wrists_of([body])
    assert (left.part, right.part) == ("left_hand", "right_hand")
    assert left.reach_px == right.reach_px == 60
