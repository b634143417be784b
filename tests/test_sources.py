"""Sources: what lies in a folder becomes captures; what cannot be used is said, and costs only
itself.
"""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog.commands import main
from catalog.footage import VIDEO_SUFFIXES
from mining.__main__ import build_parser
from mining.decoding.images import ImageSequenceReader
from mining.sources.base import DatasetSpec, Listing
from mining.sources.calibration import read_toml
from mining.sources.registry import make_source, resolve_dataset
from tests.videos import write_video

CAMERA = """
[cameras.{name}]
size_px = [96, 64]
intrinsics = [[100.0, 0.0, 48.0], [0.0, 100.0, 32.0], [0.0, 0.0, 1.0]]
world_from_cam = [[1.0, 0.0, 0.0, {x}], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -3.0],
                  [0.0, 0.0, 0.0, 1.0]]
"""


def listing(path: Path) -> Listing:
    spec, _ = resolve_dataset(str(path))
    return make_source(spec.adapter).captures(spec)


def names(path: Path) -> dict[str, list[str]]:
    return {
        capture.name: [view.name for view in capture.views] for capture in listing(path).captures
    }


def test_a_video_is_a_capture(tmp_path: Path) -> None:
    assert names(write_video(tmp_path / "walk.mp4", 4)) == {"walk": ["walk"]}


def test_each_video_of_a_folder_is_its_own_capture(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("a.mp4", "b.mkv", "deeper/c.mp4"):
        write_video(tmp_path / name, 4)
    (tmp_path / "notes.txt").write_text("not footage")
    assert names(tmp_path) == {"a": ["a"], "b": ["b"], "deeper/c": ["c"]}


def test_videos_of_every_kind_are_found(tmp_path: Path) -> None:
    for suffix in VIDEO_SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").write_bytes(b"not read yet")
    assert set(names(tmp_path)) == {f"a{suffix.upper()}" for suffix in VIDEO_SUFFIXES}
    assert {".ts", ".wmv"} < set(VIDEO_SUFFIXES)


def test_a_calibration_makes_one_capture_of_its_folder(tmp_path: Path) -> None:
    for name in ("left", "right"):
        write_video(tmp_path / f"{name}.mp4", 4)
    text = CAMERA.format(name="left", x=-1.0) + CAMERA.format(name="right", x=1.0)
    (tmp_path / "calibration.toml").write_text(text)
    found = listing(tmp_path)
    [capture] = found.captures
    assert [view.name for view in capture.views] == ["left", "right"]
    assert [view.camera.centre_world[0] for view in capture.views if view.camera] == [-1.0, 1.0]
    assert found.problems == ()


def test_a_camera_may_have_a_folder_with_a_video_or_with_images(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "right").mkdir()
    write_video(tmp_path / "left" / "anything.mp4", 4)
    cv2.imwrite(str(tmp_path / "right" / "0.png"), np.zeros((64, 96, 3), np.uint8))
    text = CAMERA.format(name="left", x=-1.0) + CAMERA.format(name="right", x=1.0)
    (tmp_path / "calibration.toml").write_text(text)
    [capture] = listing(tmp_path).captures
    assert [(view.name, view.reader) for view in capture.views] == [
        ("left", "video"),
        ("right", "images"),
    ]


def test_views_and_cameras_that_do_not_match_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    for name in ("left", "extra"):
        write_video(tmp_path / f"{name}.mp4", 4)
    text = CAMERA.format(name="left", x=-1.0) + CAMERA.format(name="gone", x=1.0)
    (tmp_path / "calibration.toml").write_text(text)
    found = listing(tmp_path)
    [capture] = found.captures
    assert {view.name: view.camera is not None for view in capture.views} == {
        "left": True,
        "extra": False,
    }
    errors = " ".join(problem.error for problem in found.problems)
    assert "no camera 'extra'" in errors and "'gone'" in errors


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cameras", "not TOML"),
        ("fps = 30", r"no table \[cameras.NAME\]"),
        ("[cameras.a]\nintrinsics = 3", "has no world_from_cam"),
        (CAMERA.format(name="a", x="'far'"), "world_from_cam must be 4 rows of 4 numbers"),
        (CAMERA.format(name="a", x=0).replace("[96, 64]", "96"), "size_px must be"),
        (CAMERA.format(name="a", x=0) + "distortion = {}", "distortion must be"),
        (
            CAMERA.format(name="a", x=0).replace("1.0, 0.0, 0.0, 0]", "2.0, 0.0, 0.0, 0]"),
            "no rotation",
        ),
    ],
)
def test_a_wrong_calibration_is_said_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_toml(text)


def test_a_wrong_calibration_costs_only_the_cameras(tmp_path: Path) -> None:
    write_video(tmp_path / "left.mp4", 4)
    (tmp_path / "calibration.toml").write_text("nonsense")
    found = listing(tmp_path)
    assert [view.camera for view in found.captures[0].views] == [None]
    assert "mined without calibration" in found.problems[0].error


@pytest.mark.parametrize(
    "file", ["calib.yaml", "Calibration.XML", "cameras.json", "take1/extrinsics.npz", "calib.txt"]
)
@pytest.mark.parametrize("capture_file", [False, True])
def test_a_calibration_in_another_format_is_named_and_costs_nothing(
    tmp_path: Path, file: str, capture_file: bool
) -> None:
    for name in ("left", "right", "take1"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "video.mp4", 4)
    if capture_file:
        (tmp_path / "capture.toml").touch()
    found = listing(tmp_path)
    assert found.problems == ()
    (tmp_path / file).write_text("fx: 1200")
    again = listing(tmp_path)
    assert again.captures == found.captures
    [problem] = again.problems
    assert problem.unit == ("take1" if "/" in file else tmp_path.name)
    assert f"a format that is not read ({Path(file).name}): its footage is" in problem.error
    assert "are named *calibration.toml or *.qca.txt" in problem.error


def test_ordinary_files_and_calibrations_that_are_read_are_no_problem(tmp_path: Path) -> None:
    write_video(tmp_path / "camera1.mp4", 4)
    for name in (
        "camera1.csv",
        "camera.txt",
        "notes.txt",
        "scene.json",
        "my.toml",
        "camera_settings.json",
    ):
        (tmp_path / name).write_text("anything")
    assert listing(tmp_path).problems == ()
    (tmp_path / "calib.yaml").write_text("of another program")
    (tmp_path / "calibration.toml").write_text(CAMERA.format(name="camera1", x=0.0))
    assert listing(tmp_path).problems == ()


def test_a_folder_with_nothing_in_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds neither videos nor images: give a video"):
        listing(tmp_path)


def test_no_dataset_is_wrong_usage_and_not_the_current_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(build_parser(), ["run", ""]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "make mine DATASET=demo" in said


def test_a_name_that_is_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="no such file or folder, and not one of demo, synthetic"):
        resolve_dataset("no-such-thing")


def test_a_dataset_file_names_adapter_root_options_and_config(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    write_video(tmp_path / "footage" / "a.mp4", 4)
    file = tmp_path / "my.toml"
    file.write_text(
        'name = "Studio 1"\nroot = "footage"\n'
        '[options]\nlicence = "CC0"\n[config.sample]\nfps = 5\n'
    )
    spec, config = resolve_dataset(str(file))
    assert (spec.name, spec.adapter, config) == ("studio-1", "folder", {"sample": {"fps": 5}})
    assert make_source("folder").captures(spec).captures[0].licence == "CC0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name =", "is not TOML"),
        ('colour = "red"', "unknown key colour"),
        ('root = "nowhere"', "does not exist"),
        ("options = 3", "must be tables"),
    ],
)
def test_a_wrong_dataset_file_is_said_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        resolve_dataset(str(file))


def test_an_unknown_adapter_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="there are: folder, demo, synthetic"):
        make_source("kinect")


def test_captures_of_one_name_stay_apart(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.mkv", "2024.01.01.mp4"):
        write_video(tmp_path / name, 4)
    for day in ("2024.02.01", "2024.02.02"):
        (tmp_path / day).mkdir()
        cv2.imwrite(str(tmp_path / day / "0.png"), np.zeros((64, 96, 3), np.uint8))
    found = set(names(tmp_path))
    assert found == {"clip.mp4", "clip.mkv", "2024.01.01", "2024.02.01", "2024.02.02"}


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "footage").mkdir()
    write_video(tmp_path / "elsewhere" / "a.mp4", 4)
    (tmp_path / "footage" / "b.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    (tmp_path / "footage" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "footage")
    assert set(names(tmp_path / "footage")) == {"b", "folder/a"}


def test_two_files_of_one_camera_are_named(tmp_path: Path) -> None:
    for name in ("left.mp4", "left.mkv"):
        write_video(tmp_path / name, 4)
    (tmp_path / "calibration.toml").write_text(CAMERA.format(name="left", x=-1.0))
    found = listing(tmp_path)
    assert [view.name for view in found.captures[0].views] == ["left"]
    assert "are of one name" in found.problems[0].error


@pytest.mark.parametrize(
    "options",
    ["image_fps = 0", "image_fps = 'fast'", "licence = 3", "layout = 'heap'", "sync = true"],
)
def test_options_of_the_wrong_type_are_said(tmp_path: Path, options: str) -> None:
    write_video(tmp_path / "a.mp4", 4)
    (tmp_path / "my.toml").write_text(f"[options]\n{options}\n")
    with pytest.raises(ValueError, match="must be"):
        listing(tmp_path / "my.toml")


def footage_of(folder: Path, capture_file: str | None = "") -> Path:
    """Two videos and a folder of images, and what a capture file says of them."""
    (folder / "walk" / "third").mkdir(parents=True)
    for name in ("left", "right"):
        write_video(folder / "walk" / f"{name}.mp4", 4)
    for k in range(3):
        cv2.imwrite(str(folder / "walk" / "third" / f"{k}.png"), np.zeros((64, 96, 3), np.uint8))
    if capture_file is not None:
        (folder / "walk" / "capture.toml").write_text(capture_file)
    return folder


def test_an_empty_capture_file_makes_one_capture_of_its_folder(tmp_path: Path) -> None:
    found = listing(footage_of(tmp_path))
    [capture] = found.captures
    assert (capture.name, capture.sync, found.problems) == ("walk", "given", ())
    assert [view.name for view in capture.views] == ["left", "right", "third"]
    assert all(view.camera is None and view.offset_s == 0.0 for view in capture.views)


def test_a_capture_file_tells_offsets_times_subject_split_and_licence(tmp_path: Path) -> None:
    text = (
        'subject = "anna"\nsplit = "val"\nlicence = "CC0"\n[views.right]\noffset_s = -0.35\n'
        '[views.third]\noffset_s = 1\ntimes = "third.csv"\n'
    )
    folder = footage_of(tmp_path, text)
    (folder / "walk" / "third.csv").write_text("7.5\n7.6\n9.5\n")
    found = listing(folder)
    [capture] = found.captures
    assert found.problems == ()
    assert (capture.subject, capture.split, capture.licence) == ("anna", "val", "CC0")
    assert [view.offset_s for view in capture.views] == [0.0, -0.35, 1]
    frames = list(ImageSequenceReader().frames(capture.views[2].uri, [0.0, 0.2, 1.9]))
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.1, 2.0])
    info = ImageSequenceReader().probe(capture.views[2].uri)
    assert (info.fps, info.num_frames) == (1.0, 3)


def test_the_rate_of_a_folder_of_images_is_part_of_what_it_is(tmp_path: Path) -> None:
    fingerprints = set()
    for k, text in enumerate(("", "[views.third]\nfps = 25", "[views.third]\nfps = 29.97")):
        [capture] = listing(footage_of(tmp_path / str(k), text)).captures
        fingerprints.add(capture.views[2].fingerprint)
    assert len(fingerprints) == 3


@pytest.mark.parametrize("sync", ["given", "estimated", "none"])
def test_a_capture_file_tells_whether_its_views_share_a_clock(tmp_path: Path, sync: str) -> None:
    [capture] = listing(footage_of(tmp_path, f'sync = "{sync}"')).captures
    assert capture.sync == sync


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[views", "not TOML"),
        ("colour = 3", "unknown key colour; there are: sync, subject, split, licence, views"),
        ("sync = 'maybe'", "sync must be one of given, estimated, none, got 'maybe'"),
        ("split = 'test'", "split must be one of train, val"),
        ("subject = 3", "subject must be text, got 3"),
        ("views = 3", r"views must be tables \[views.NAME\]"),
        ("[views]\nleft = 3", "views.left must be a table"),
        ("[views.left]\noffset = 3", "unknown key views.left.offset; there are: offset_s"),
        ("[views.left]\noffset_s = 'late'", "views.left.offset_s must be a number, got 'late'"),
        ("[views.left]\noffset_s = nan", "views.left.offset_s must be a number"),
        ("[views.middle]\noffset_s = 1.0", "there is no view 'middle', only left, right, third"),
        ("[views.left]\nfps = 25", "views.left.fps is for folders of images"),
        ("[views.third]\nfps = 0", "views.third.fps must be above 0"),
        ("[views.third]\nfps = 5\ntimes = 'a'", "both fps and times"),
        ("[views.third]\ntimes = '../a'", "must name a file beside capture.toml"),
        ("[views.third]\ntimes = 'none.csv'", "none.csv, the file of times, cannot be read"),
        ("[views.third]\ntimes = 'words.csv'", "words.csv must hold one time in seconds a line"),
        ("[views.third]\ntimes = 'short.csv'", "short.csv holds 2 times for 3 images"),
        ("[views.third]\ntimes = 'back.csv'", "the times of back.csv do not ascend"),
        ("sync = 'estimated'\n[views.left]\noffset_s = 1", 'is given, but sync is "estimated"'),
    ],
)
def test_a_wrong_capture_file_is_said_and_costs_only_the_common_clock(
    tmp_path: Path, text: str, says: str
) -> None:
    folder = footage_of(tmp_path, text)
    for name, lines in (("words", "a\nb\nc"), ("short", "0\n1"), ("back", "0\n2\n1")):
        (folder / "walk" / f"{name}.csv").write_text(lines)
    write_video(folder / "other.mp4", 4)
    found = listing(folder)
    [problem] = found.problems
    assert problem.unit == "walk" and re.search(says, problem.error)
    captures = {capture.name: capture for capture in found.captures}
    assert captures["walk"].sync == "none" and len(captures["walk"].views) == 3
    assert captures["other"].sync == "given"


def test_a_dataset_can_say_that_videos_of_a_folder_are_views(tmp_path: Path) -> None:
    for name in ("monday/left.mp4", "monday/right.mp4", "tuesday/left.mp4", "tuesday/right.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, 4)
    (tmp_path / "my.toml").write_text('[options]\nlayout = "views"\nsync = "estimated"\n')
    found = listing(tmp_path / "my.toml")
    assert {capture.name: [view.name for view in capture.views] for capture in found.captures} == {
        "monday": ["left", "right"],
        "tuesday": ["left", "right"],
    }
    assert {capture.sync for capture in found.captures} == {"estimated"}


def test_the_demo_without_calibration_is_one_capture_by_a_capture_file(tmp_path: Path) -> None:
    demo = make_source("demo").captures(DatasetSpec(name="demo", adapter="demo", root="demo"))
    walk = next(capture for capture in demo.captures if capture.name == "walk")
    (tmp_path / "walk").mkdir()
    for view in walk.views:
        (tmp_path / "walk" / Path(view.uri).name).symlink_to(view.uri)
    (tmp_path / "walk" / "capture.toml").touch()
    [capture] = listing(tmp_path).captures
    assert [view.name for view in capture.views] == [view.name for view in walk.views]
    assert len(capture.views) == 4 and {view.camera for view in capture.views} == {None}
    assert capture.sync == "given"
