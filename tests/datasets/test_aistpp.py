"""AIST++: nine cameras in centimetres, a dancer, videos."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    body,
    camera_at,
    check_person,
    each_frame,
    list_dataset,
    picture,
    write_video,
)

SEQUENCE, TEST, IGNORED = (
    "gBR_sBM_cAll_d04_mBR0_ch01",
    "gBR_sBM_cAll_d05_mBR1_ch02",
    "gPO_sFM_cAll_d10_mPO0_ch03",
)
NUM_FRAMES, UNSEEN = 4, 2  # of c02, in which the detector saw nobody
CAMERAS = {f"c{n:02d}": camera_at(40 * n) for n in range(1, 10)}
FILMED = ("c01", "c02", "c05")


def write_aistpp(root: Path) -> Path:
    """World axes y up as in AIST++ are not needed: any world will do, as long as it is in cm."""
    for folder in ("cameras", "keypoints2d", "keypoints3d", "splits", "videos"):
        (root / folder).mkdir(parents=True)
    (root / "cameras/mapping.txt").write_text(
        "".join(f"{name} setting1\n" for name in (SEQUENCE, TEST, IGNORED))
    )
    setting = [
        {
            "name": name,
            "size": list(camera.size_px),
            "matrix": camera.K.tolist(),
            "rotation": cv2.Rodrigues(camera.R)[0].ravel().tolist(),
            "translation": (camera.t * 100).tolist(),
            "distortions": camera.distortion.tolist(),
        }
        for name, camera in CAMERAS.items()
    ]
    (root / "cameras/setting1.json").write_text(json.dumps(setting))
    (root / "ignore_list.txt").write_text(f"{IGNORED}\n")
    for name in ("crossmodal_val", "pose_val", "pose_test"):
        (root / f"splits/{name}.txt").write_text("")
    (root / "splits/crossmodal_test.txt").write_text(f"{TEST}\n")
    (root / "splits/crossmodal_train.txt").write_text(f"{SEQUENCE}\n")
    joints = np.array([body(frame) for frame in range(NUM_FRAMES)])
    pixels = np.array([[c.project(j) for j in joints] for c in CAMERAS.values()])
    keypoints = np.concatenate([pixels, np.full((9, NUM_FRAMES, 17, 1), 0.8)], axis=3)
    keypoints[1, UNSEEN] = np.nan
    for name in (SEQUENCE, TEST, IGNORED):
        with open(root / f"keypoints2d/{name}.pkl", "wb") as file:
            pickle.dump(
                {
                    "keypoints2d": keypoints,
                    "det_scores": np.ones((9, NUM_FRAMES)),
                    "timestamps": np.arange(NUM_FRAMES) * 16667,
                },
                file,
            )
        with open(root / f"keypoints3d/{name}.pkl", "wb") as file:
            cm = joints * 100
            pickle.dump({"keypoints3d": cm + 5, "keypoints3d_optim": cm}, file)
    for camera in FILMED:
        index = int(camera[1:]) - 1
        images = [picture(frame, [pixels[index, frame]]) for frame in range(NUM_FRAMES)]
        write_video(root / f"videos/{SEQUENCE.replace('cAll', camera)}.mp4", images, 60)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_aistpp(tmp_path_factory.mktemp("aist"))


def test_cameras_and_joints_agree_in_every_frame(root: Path) -> None:
    [capture] = list_dataset("aistpp", root).captures
    assert capture.name == SEQUENCE and capture.subject == "d04"
    assert capture.annotated == ("body",) and "CC-BY" in str(capture.licence)

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        [dancer] = people
        truth = body(frame.index)
        check_person(dancer, CAMERAS[view.name].project(truth), range(17), truth, view)
        assert dancer.identity == "d04"

    numbers = each_frame(capture, check)
    assert numbers == {"c01": [0, 1, 2, 3], "c02": [0, 1, 3], "c05": [0, 1, 2, 3]}


def test_test_sequences_and_bad_ones_are_left_out_with_their_reason(root: Path) -> None:
    listing = list_dataset("aistpp", root)
    assert listing.excluded[-2:] == (
        (TEST, "evaluation", "in crossmodal_test.txt"),
        (IGNORED, "ignored", "in the dataset's ignore_list.txt"),
    )
    listing = list_dataset("aistpp", root, include_evaluation=True)
    assert [row[0] for row in listing.excluded if row[1] != "no_footage"] == [IGNORED]


def test_a_missing_video_costs_its_view_and_no_video_at_all_its_sequence(root: Path) -> None:
    listing = list_dataset("aistpp", root, include_evaluation=True)
    missing = [row for row in listing.excluded if row[1] == "no_footage"]
    detail = f"{SEQUENCE.replace('cAll', 'c03')}.mp4 is not there"
    assert missing[0] == (f"{SEQUENCE}/c03", "no_footage", detail) and len(missing) == 6
    [problem] = listing.problems
    assert problem.unit == TEST and problem.error.startswith("none of its videos is there")
    [capture] = listing.captures
    assert [view.name for view in capture.views] == list(FILMED)


def test_without_the_splits_nothing_is_mined(tmp_path: Path) -> None:
    root = write_aistpp(tmp_path / "aist")
    for path in (root / "splits").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="evaluation sequences cannot be told"):
        list_dataset("aistpp", root)
    (root / "ignore_list.txt").rename(root / "not_yet.txt")
    with pytest.raises(ValueError, match=r"aist lacks ignore_list\.txt .* download it"):
        list_dataset("aistpp", root, include_evaluation=True)
    (root / "not_yet.txt").rename(root / "ignore_list.txt")
    (root / f"keypoints2d/{SEQUENCE}.pkl").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(ValueError, match=r"\.pkl.*not a pickle"):
        list_dataset("aistpp", root, include_evaluation=True)
