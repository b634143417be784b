"""InterHand2.6M with labels: MANO in world axes, of both hands, seen by many cameras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.test_interhand import CAMERAS, INVALID, SEQUENCES, TYPES, write_interhand
from tests.datasets.world import hand
from tests.labelling.checks import (
    MIRROR,
    check_joints,
    check_projection,
    found_in,
    list_labelled,
    problems_in,
    root_at_rest,
    rotation,
    samples_in,
    write_mano,
)

ADAPTER = "interhand-labelled"
RNG = np.random.default_rng(2)
MEAN = RNG.normal(0, 0.3, 45)
FRAMES = [frame for frames in SEQUENCES.values() for frame in frames]
FITS: dict[int, dict[str, Any]] = {
    frame: {
        side: {
            "pose": RNG.normal(0, 0.5, 48).tolist(),
            "shape": RNG.normal(0, 1, 10).tolist(),
            "trans": RNG.normal(0, 0.1, 3).tolist(),
        }
        if TYPES[frame] in (side, "interacting")
        else None
        for side in ("right", "left")
    }
    for frame in FRAMES
}


def sides_of(frame: int) -> list[str]:
    return [side for side in ("right", "left") if TYPES[frame] in (side, "interacting")]


def write_fits(root: Path, split: str = "train") -> Path:
    path = root / f"annotations/all/InterHand2.6M_{split}_MANO.json"
    path.write_text(json.dumps({"0": {str(frame): fit for frame, fit in FITS.items()}}))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_fits(write_interhand(tmp_path_factory.mktemp("interhand")))
    write_interhand(root, "val")
    write_mano(root / "licensed", MEAN)
    return root


def test_joints_of_both_hands_fall_on_their_keypoints_in_each_camera(root: Path) -> None:
    units = samples_in(ADAPTER, root)
    assert list(units) == [f"{s}/Capture0/{name}" for s in ("train", "val") for name in SEQUENCES]
    for sequence, frames in SEQUENCES.items():
        samples = units[f"train/Capture0/{sequence}"]
        assert [sample.name for sample in samples] == [
            f"{f} cam{c} {side}_hand" for f in frames for side in sides_of(f) for c in CAMERAS
        ]
        for sample in samples:
            [image] = sample.images
            frame, name, part = sample.name.split()
            camera, side = CAMERAS[name.removeprefix("cam")], part.removesuffix("_hand")
            truth = hand(int(frame) % 10, side)
            has = [k for k in range(21) if side == "right" or k != INVALID]
            check_joints(image, truth @ camera.R.T + camera.t, has)
            check_projection(image, has)
            assert np.abs(image.keypoints_px[has, :2] - camera.project(truth)[has]).max() < 0.01
            assert (sample.part, sample.subject) == (part, "subject 5")
            assert sample.split is None and image.body is None, "no MANO file was given"
    assert {sample.split for sample in units[f"val/Capture0/{sequence}"]} == {"val"}


def test_a_left_hand_is_told_as_the_right_hand_that_its_mirror_image_shows(root: Path) -> None:
    template = RNG.normal(0, 0.05, (30, 3))  # of a right hand, around its root
    sides = set()
    for samples in samples_in(ADAPTER, root, bodies="licensed").values():
        for sample in samples:
            frame, name, part = sample.name.split()
            camera, side = CAMERAS[name.removeprefix("cam")], part.removesuffix("_hand")
            if sample.split == "val":
                assert sample.images[0].body is None, "val has no MANO.json here"
                continue
            label, fit = sample.images[0].body, FITS[int(frame)][side]
            pose = np.reshape(fit["pose"], (16, 3))
            assert label is not None and label.model == "mano"
            assert np.allclose(label.shape, fit["shape"])
            flip = MIRROR if side == "left" else np.eye(3)
            # a left hand is a right one mirrored, which turns about its own root
            root_world = root_at_rest(fit["shape"]) @ flip + fit["trans"]
            true_world = template @ flip @ rotation(pose[0]).T + root_world
            true_cam = true_world @ camera.R.T + camera.t
            given = template @ rotation(label.pose_rad[0]).T + label.translation_m
            assert np.abs(given @ flip - true_cam).max() < 1e-6
            for finger in range(1, 16):
                added = label.pose_rad[finger] - MEAN.reshape(15, 3)[finger - 1]
                turned = flip @ rotation(pose[finger]) @ flip
                assert np.abs(rotation(added) - turned).max() < 1e-6
            sides.add(side)
    assert sides == {"left", "right"}


def test_two_views_are_of_one_instant_by_cameras_that_look_from_apart(root: Path) -> None:
    samples = samples_in(ADAPTER, root, views="two_view")["train/Capture0/0001_neutral_relaxed"]
    assert [sample.name for sample in samples] == [
        "18010 cam400262 cam400263 right_hand",  # 40 and 90 degrees apart: 40 is nearer to 60
        "18011 cam400262 cam400263 right_hand",
        "18013 cam400262 cam400263 left_hand",
    ]
    for sample in samples:
        assert len({image.frame for image in sample.images}) == 1
        assert len({image.source for image in sample.images}) == 2
        assert sample.view_angle_deg is not None and 35 < sample.view_angle_deg < 45
    with pytest.raises(ValueError, match="views must be single or two_view, got 'both'"):
        list_labelled(ADAPTER, root, views="both")


def test_a_broken_fit_and_a_camera_without_images_cost_themselves(tmp_path: Path) -> None:
    root = write_fits(write_interhand(tmp_path))
    write_mano(root / "licensed", MEAN)
    path = root / "annotations/all/InterHand2.6M_train_MANO.json"
    table = json.loads(path.read_text())
    table["0"]["18010"]["right"]["pose"] = [0.0] * 51
    path.write_text(json.dumps(table))
    for image in (root / "images/train/Capture0/0001_neutral_relaxed/cam400262").iterdir():
        image.unlink()
    found = found_in(ADAPTER, root, bodies="licensed")
    problems = problems_in(found)
    assert set(problems) == {"cam400262"} | {
        f"18010 cam{c} right_hand" for c in ("400263", "410001")
    }
    assert "pose has shape (51,), not 48" in problems["18010 cam400263 right_hand"]
    assert sum(map(len, found.values())) == 3 + 4 + 6
    (root / "licensed/MANO_RIGHT.npz").unlink()
    with pytest.raises(ValueError, match=r"none of MANO_RIGHT\.npz, MANO_RIGHT\.pkl is in "):
        list_labelled(ADAPTER, root, bodies="licensed")
