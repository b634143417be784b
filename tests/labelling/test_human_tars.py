"""4D-Humans' and HaMeR's tars: pickled tables of people beside their images."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.datasets.test_threedpw import COCO18_FROM_17
from tests.datasets.world import body, camera_at, hand, picture
from tests.labelling.checks import (
    MIRROR,
    found_in,
    pixels_of,
    problems_in,
    rotation,
    samples_in,
)

CAMERA = camera_at(10, distorted=False)
RNG = np.random.default_rng(9)
POSES = {"body": RNG.normal(0, 0.5, 72), "hand": RNG.normal(0, 0.5, 48)}
BETAS = RNG.normal(0, 1, 10)
HIPS = [11, 12]
# our place of each of OpenPose's 25 and of the 19 that follow, as their lists name them
BODY25 = [*COCO18_FROM_17[:8], None, *COCO18_FROM_17[8:14], *COCO18_FROM_17[14:], *[None] * 6]
EXTRA = [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9, *[None] * 7]


def in_44(ours: np.ndarray, openpose: bool = True) -> np.ndarray:
    """(17, C) to (44, C + 1): OpenPose's places filled, or only the others."""
    points = np.zeros((44, ours.shape[1] + 1))
    for place, joint in enumerate(BODY25 + EXTRA):
        if joint is not None and (openpose or place >= 25):
            points[place] = [*ours[joint], 0.9]
    points[8] = [*ours[HIPS].mean(0), 0.9]
    return points


def person(**entries: Any) -> dict[str, Any]:
    truth = body(0)
    return {
        "keypoints_2d": in_44(CAMERA.project(truth)).astype(np.float32),
        "keypoints_3d": in_44(truth @ CAMERA.R.T + CAMERA.t).astype(np.float32),
        "center": np.array([160.0, 120.0], np.float32), "scale": np.array([0.5, 1.0]),
        "body_pose": POSES["body"].astype(np.float32), "betas": BETAS.astype(np.float32),
        "has_body_pose": np.array(1.0), "has_betas": 1.0, "personid": 0,
        "extra_info": {"detection_npz_idx": 0, "fitting_loss": np.array({})},
    } | entries  # fmt: skip


def a_hand(side: str) -> dict[str, Any]:
    truth = hand(0, side)
    return {
        "keypoints_2d": np.column_stack([CAMERA.project(truth), np.ones(21)]),
        "keypoints_3d": np.column_stack([truth @ CAMERA.R.T + CAMERA.t, np.ones(21)]),
        "center": np.array([160.0, 120.0]), "scale": np.array([0.3, 0.3]),
        "hand_pose": POSES["hand"], "betas": BETAS, "right": np.float32(side == "right"),
        "has_hand_pose": np.float32(1), "has_betas": np.float32(1),
    }  # fmt: skip


def write_tar(path: Path, people: dict[str, Any], protocol: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(0, [CAMERA.project(body(0))])[..., ::-1]
    with tarfile.open(path, "w") as tar:
        for key, table in people.items():
            pickled = table if isinstance(table, bytes) else pickle.dumps(table, protocol)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            for suffix, content in (("data.pyd", pickled), ("jpg", jpeg)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_people_have_their_keypoints_joints_and_parameters(protocol: int, tmp_path: Path) -> None:
    people = {"seq/one": [person(), person(has_betas=0)], "seq/two": [person()]}
    write_tar(tmp_path / "coco-train/000000.tar", people, protocol)
    write_tar(tmp_path / "coco-val/000000.tar", {"x": [person()]}, protocol)
    units = samples_in("human-tars", tmp_path)
    assert {name: [s.name for s in unit] for name, unit in units.items()} == {
        "coco-train/000000": ["seq/one 0", "seq/one 1", "seq/two 0"],
        "coco-val/000000": ["x 0"],
    }
    assert {s.split for s in units["coco-train/000000"]} == {None}
    assert {s.split for s in units["coco-val/000000"]} == {"val"}
    first, without, _ = (sample.images[0] for sample in units["coco-train/000000"])
    assert without.body is None and first.body is not None and first.body.model == "smpl"
    truth = body(0)
    in_camera = truth @ CAMERA.R.T + CAMERA.t
    assert np.abs(first.keypoints_px[:, :2] - CAMERA.project(truth)).max() < 0.01
    assert first.joints_cam_m is not None and first.pixels_from_cam is None
    around = in_camera - in_camera[HIPS].mean(0)
    assert np.abs(first.joints_cam_m[:, :3] - around).max() < 1e-6
    assert np.allclose(first.body.pose_rad.ravel(), POSES["body"])
    assert np.allclose(first.body.shape, BETAS) and (first.body.translation_m == 0).all()
    assert pixels_of(first).shape == (240, 320, 3)
    assert first.source.endswith("coco-train/000000.tar#seq/one")


def test_joints_that_openpose_lacks_come_from_the_other_datasets(tmp_path: Path) -> None:
    truth = body(0)
    points = in_44(CAMERA.project(truth), openpose=False)
    write_tar(tmp_path / "000000.tar", {"x": [person(keypoints_2d=points)]})
    [[sample]] = samples_in("human-tars", tmp_path).values()
    keypoints = sample.images[0].keypoints_px
    assert np.flatnonzero(keypoints[:, 2] > 0).tolist() == list(range(5, 17)), "no face"
    assert np.abs(keypoints[5:, :2] - CAMERA.project(truth)[5:]).max() < 0.01


def test_a_person_with_few_keypoints_has_the_given_box(tmp_path: Path) -> None:
    points = in_44(CAMERA.project(body(0)))
    points[5:, 2] = 0
    write_tar(tmp_path / "000000.tar", {"x": [person(keypoints_2d=points)]})
    [[sample]] = samples_in("human-tars", tmp_path).values()
    assert sample.images[0].box_px.tolist() == [110, 20, 210, 220]


def test_a_left_hand_is_mirrored_and_a_right_one_is_not(tmp_path: Path) -> None:
    write_tar(tmp_path / "frei/000000.tar", {"x": [a_hand("right"), a_hand("left")]})
    [samples] = samples_in("human-tars", tmp_path).values()
    assert [sample.part for sample in samples] == ["right_hand", "left_hand"]
    for sample, flip in zip(samples, (np.eye(3), MIRROR), strict=True):
        label = sample.images[0].body
        assert label is not None and label.model == "mano"
        for given, own in zip(label.pose_rad, POSES["hand"].reshape(16, 3), strict=True):
            assert np.abs(rotation(given) - flip @ rotation(own) @ flip).max() < 1e-9
        joints = sample.images[0].joints_cam_m
        truth = hand(0, sample.part.removesuffix("_hand")) @ CAMERA.R.T
        assert joints is not None and np.abs(joints[:, :3] - (truth - truth[0])).max() < 1e-9


def test_a_pickle_that_could_run_code_is_refused_and_costs_its_image(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    people: dict[str, Any] = {
        "bad": [Malicious()], "cut": b"\x80\x04broken", "dict": {"a": 1},
        "few": [person(keypoints_2d=np.zeros((43, 3))), person()], "good": [person()],
    }  # fmt: skip
    write_tar(tmp_path / "set/000000.tar", people)
    found = found_in("human-tars", tmp_path)
    problems = problems_in(found)
    assert list(problems) == ["bad", "cut", "dict", "few 0"]
    assert "names builtins.eval, and only numpy arrays" in problems["bad"]
    assert "not a list of tables" in problems["dict"]
    assert "keypoints_2d has shape (43, 3), not 44 x 3" in problems["few 0"]
    assert not (tmp_path / "ran").exists() and len(found["set/000000"]) == 6


def test_a_tar_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "set/000000.tar"
    write_tar(path, {f"key{n}": [person()] for n in range(4)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 8])
    found = found_in("human-tars", tmp_path)["set/000000"]
    assert len(found) >= 2 and len(problems_in({"": found})) == 1
    assert "000000.tar breaks off" in problems_in({"": found})["000000.tar"]
