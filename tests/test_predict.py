"""`predict` on files: what is written, and what is said of inputs that cannot be used."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from catalog.commands import main
from mining.sources.base import Detection
from tests import oracle
from tests.oracle import Oracle
from training.__main__ import build_parser
from training.png import encode_png
from training.prediction.overlay_video import OverlayVideo
from training.prediction.ply import encode_ply
from training.prediction.tracks import Tracks


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    oracle.register(monkeypatch)
    return oracle.save_model(tmp_path / "model")


def predict(tmp_path: Path, model: str, *arguments: str | Path) -> tuple[int, Path]:
    out = tmp_path / "out"
    parts = ["predict", *map(str, arguments), "--checkpoint", model, "--out", str(out)]
    return main(build_parser(), parts), out


def photo(path: Path, width: int = 120, height: int = 90) -> Path:
    rng = np.random.default_rng(0)
    path.write_bytes(encode_png(rng.integers(0, 255, (height, width, 3), np.uint8)))
    return path


def film(path: Path, num_frames: int = 12, width: int = 96, height: int = 64) -> Path:
    with OverlayVideo(str(path), 24.0) as video:
        for frame in range(num_frames):
            picture = np.full((height, width, 3), 40, np.uint8)
            picture[20:50, 10 + 3 * frame : 30 + 3 * frame] = 220
            video.add(picture)
    return path


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    sizes = [int(line.split()[2]) for line in header.decode().splitlines() if "element" in line]
    vertices = np.frombuffer(body, "<f4", 3 * sizes[0]).reshape(-1, 3)
    rows = np.frombuffer(body[12 * sizes[0] :], [("count", "u1"), ("vertices", "<i4", 3)])
    assert len(rows) == sizes[1] and (rows["count"] == 3).all()
    return vertices, rows["vertices"]


def test_an_image_gets_meshes_a_picture_and_json(tmp_path: Path, model: str) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([[10, 10, 50, 80], [60, 5, 110, 85]]))
    code, out = predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", boxes)
    folder = out / "a"
    said = json.loads((folder / "predictions.json").read_text())
    assert code == 0
    assert (said["task"], said["width_px"], said["height_px"]) == ("oracle", 120, 90)
    assert said["pixels_from_cam"] == [[150, 0, 60], [0, 150, 45], [0, 0, 1]]
    people = said["frames"][0]["people"]
    assert [person["person"] for person in people] == [0, 1]
    assert people[1]["box_px"] == [60, 5, 110, 85] and people[1]["joint_names"] == ["head", "foot"]
    for person in people:
        arrays = np.load(folder / person["files"]["npz"])
        assert set(arrays) == {"vertices_m", "faces", "joints_m", "pixels_from_cam", "box_px"}
        vertices, faces = read_ply(folder / person["files"]["ply"])
        np.testing.assert_allclose(vertices, arrays["vertices_m"], rtol=1e-6)
        np.testing.assert_array_equal(faces, arrays["faces"])
        np.testing.assert_allclose(person["joints_m"], arrays["joints_m"], atol=1e-6)
    picture = cv2.imread(str(folder / said["overlay"]))
    assert picture.shape == (90, 120, 3)
    assert (picture != cv2.imread(str(tmp_path / "a.png"))).any()


def test_predictions_are_boxes_for_another_model(tmp_path: Path, model: str) -> None:
    image = photo(tmp_path / "a.png")
    predict(tmp_path, model, image, "--boxes", "none")
    first = tmp_path / "out" / "a" / "predictions.json"
    kept = tmp_path / "boxes.json"
    kept.write_bytes(first.read_bytes())
    assert predict(tmp_path, model, image, "--boxes", kept)[0] == 0
    again = json.loads(first.read_text())["frames"][0]["people"][0]
    assert again["box_px"] == [0, 0, 120, 90]


def test_one_bad_input_is_named_and_the_others_are_done(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG damaged")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "bad.ts").write_bytes(b"no video")
    inputs = [tmp_path / name for name in ("bad.png", "bad.mp4", "gone.jpg", "bad.ts")]
    good = photo(tmp_path / "good.png")
    code, out = predict(tmp_path, model, *inputs, good, "--boxes", "none")
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("python -m training:")]
    assert code == 1 and len(lines) == 4
    assert "bad.png is not an image that can be read" in lines[0]
    assert "bad.mp4 is not a video that can be read" in lines[1]
    assert "gone.jpg is not there" in lines[2]
    assert "bad.ts is not a video that can be read" in lines[3]
    assert (out / "good" / "overlay.png").exists() and "good" in said.out


def test_two_views_have_boxes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle.register(monkeypatch)
    model = oracle.save_model(tmp_path / "model", num_images=2)
    images = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", width=200)
    boxes = tmp_path / "boxes.json"
    views = [[[10, 10, 50, 80]], [[150, 20, 190, 80]]]  # the second lies beside the first image
    frames = [
        {"frame": frame, "people": [{"box_px": box} for box in found]}
        for frame, found in enumerate(views)
    ]
    boxes.write_text(json.dumps({"frames": frames}))
    code, out = predict(tmp_path, model, images[0], "--second", images[1], "--boxes", boxes)
    assert code == 0 and (out / "a" / "overlay.png").exists()
    assert predict(tmp_path, model, images[0], "--boxes", boxes)[0] == 1
    assert "oracle needs a second image" in capsys.readouterr().err


def test_two_views_of_the_demo_are_too_many(
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("mining.sources.demo.demo_footage", lambda: tmp_path)
    assert predict(tmp_path, model, "demo", "--second", photo(tmp_path / "b.png"))[0] == 2
    assert "go with one input, not 2" in capsys.readouterr().err


def test_folders_of_two_views_are_named_as_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle.register(monkeypatch)
    model = oracle.save_model(tmp_path / "model", num_images=2)
    first = photo(tmp_path / ".png")  # a name that is all ending
    code, out = predict(tmp_path, model, first, "--second", first, "--boxes", "none")
    assert code == 0 and (out / ".png" / "overlay.png").exists()


@pytest.mark.parametrize("part", ["hand", "left_hand", None])
def test_boxes_of_what_the_task_is_not_about_are_refused(
    tmp_path: Path, model: str, part: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    people = [{"box_px": [10, 10, 50, 80]}, {"box_px": [60, 5, 110, 85], "part": part}]
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"frames": [{"frame": 3, "people": people}]}))
    assert predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", boxes)[0] == 1
    said = f"has a box of part {part!r} in frame 3, and the task is about body: correct"
    assert said in capsys.readouterr().err


def test_without_a_detector_boxes_are_asked_for(
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mining.detecting.people", None)
    assert predict(tmp_path, model, photo(tmp_path / "a.png"))[0] == 2
    assert "is not installed" in capsys.readouterr().err
    assert predict(tmp_path, model, tmp_path / "a.png", "--boxes", "none")[0] == 0


def test_detections_of_what_the_task_is_not_about_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hands:
        def at_wrists(self, image: np.ndarray, bodies: list) -> tuple[list, list]:
            seen = np.array([[5, 40, 0.9], [99, 99, 0.1]], np.float32)
            found = [
                Detection(
                    box_px=np.array([10, 10, 50, 80], np.float32),
                    keypoints_px=seen,
                    score=score,
                    part=part,
                )
                for score, part in ((0.5, "right_hand"), (0.9, "left_hand"))
            ]
            return found, []

    nobody = SimpleNamespace(detect=lambda image: [])
    monkeypatch.setattr("mining.detecting.people.make_detector", lambda config: nobody)
    monkeypatch.setattr("mining.detecting.hands.make_hand_finder", lambda config: Hands())
    monkeypatch.setattr("mining.detecting.weights.resolve_weights", lambda config: config)
    oracle.register(monkeypatch)
    model = oracle.save_model(tmp_path / "model", parts=("right_hand",))
    code, out = predict(tmp_path, model, photo(tmp_path / "a.png"))
    people = json.loads((out / "a" / "predictions.json").read_text())["frames"][0]["people"]
    assert code == 0 and [person["part"] for person in people] == ["right_hand"]
    assert people[0]["box_px"] == [5, 10, 50, 80]  # the confident keypoint is in it


def test_inputs_of_one_name_do_not_overwrite_each_other(tmp_path: Path, model: str) -> None:
    (tmp_path / "x").mkdir()
    images = photo(tmp_path / "a.png"), photo(tmp_path / "x" / "a.png")
    _, out = predict(tmp_path, model, *images, "--boxes", "none", "--no-meshes")
    assert sorted(path.name for path in out.iterdir()) == ["a", "a-2"]
    assert not list(out.rglob("*.ply")) and len(list(out.rglob("overlay.png"))) == 2


def test_nobody_in_the_image_is_one_sentence(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[]")
    assert predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", boxes)[0] == 1
    assert "nobody was found in" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[[1, 2, 3]]", '[["a", 1, 2, 3]]'])
def test_a_file_without_boxes_is_named(
    tmp_path: Path, model: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(text)
    assert predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", boxes)[0] == 1
    assert "does not hold boxes" in capsys.readouterr().err


def moving_boxes(path: Path, num_frames: int = 12) -> Path:
    """A box that moves with the film's square, and one that stays, in changing order."""
    frames = []
    for frame in range(num_frames):
        boxes = [[10 + 3 * frame, 20, 30 + 3 * frame, 50], [60, 5, 90, 60]]
        people = [{"box_px": box, "score": 0.5} for box in boxes[:: 1 if frame % 2 else -1]]
        frames.append({"frame": frame, "people": people})
    path.write_text(json.dumps({"frames": frames}))
    return path


def test_a_video_gets_a_video_with_steady_people(tmp_path: Path, model: str) -> None:
    boxes = moving_boxes(tmp_path / "boxes.json")
    arguments = (film(tmp_path / "walk.mp4"), "--boxes", boxes, "--every", "2")
    code, out = predict(tmp_path, model, *arguments)
    folder = out / "walk"
    said = json.loads((folder / "predictions.json").read_text())
    assert code == 0 and [frame["frame"] for frame in said["frames"]] == [0, 2, 4, 6, 8, 10]
    assert said["frames"][1]["time_s"] == pytest.approx(2 / 24, abs=1e-4)
    steady = {p["person"] for f in said["frames"] for p in f["people"] if p["box_px"][0] == 60}
    assert len(steady) == 1
    capture = cv2.VideoCapture(str(folder / said["overlay"]))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    assert len(list(folder.glob("frame-*-person-*.ply"))) == 12


def test_what_a_broken_video_still_has_is_done(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = film(tmp_path / "whole.mp4", num_frames=60).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 7 // 10])
    code, out = predict(tmp_path, model, tmp_path / "cut.mp4", "--boxes", "none", "--no-meshes")
    assert code == 1 and "breaks off after" in capsys.readouterr().err
    frames = json.loads((out / "cut" / "predictions.json").read_text())["frames"]
    assert 0 < len(frames) < 60 and (out / "cut" / "overlay.mp4").exists()


def test_a_gesture_is_written_beside_its_hand(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"gesture": "fist", "probabilities": {"fist": 0.9, "palm": 0.1}}
    monkeypatch.setattr(Oracle, "says", [answer])
    _, out = predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", "none")
    person = json.loads((out / "a" / "predictions.json").read_text())["frames"][0]["people"][0]
    assert person["gesture"] == "fist" and person["probabilities"] == answer["probabilities"]
    assert person["files"] == {}


def test_a_dense_map_is_written_as_a_picture_of_the_whole_image(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = np.zeros((16, 16), np.uint8)
    part[4:12, 4:12] = 7
    answer = {"part": part, "uv": np.full((16, 16, 2), 0.2), "sureness": part / 7}
    monkeypatch.setattr(Oracle, "says", [answer])
    _, out = predict(tmp_path, model, photo(tmp_path / "a.png"), "--boxes", "none")
    person = json.loads((out / "a" / "predictions.json").read_text())["frames"][0]["people"][0]
    iuv = cv2.imread(str(out / "a" / person["files"]["iuv"]))[..., ::-1]
    assert iuv.shape == (90, 120, 3)
    assert iuv[45, 60].tolist() == [7, 51, 51] and iuv[0, 0].tolist() == [0, 0, 0]


def test_faces_of_absent_vertices_are_refused() -> None:
    with pytest.raises(ValueError, match="not among the 2"):
        encode_ply(np.zeros((2, 3)), np.array([[0, 1, 2]]))


def test_people_keep_their_numbers_through_a_missed_frame() -> None:
    tracks = Tracks()
    left, right = np.array([0.0, 0, 10, 20]), np.array([50.0, 0, 60, 20])
    assert tracks.number(np.stack([left, right])) == [0, 1]
    assert tracks.number(np.stack([right + 1])) == [1]
    assert tracks.number(np.stack([right, left, left + 100])) == [1, 0, 2]
