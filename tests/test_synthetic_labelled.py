"""Labelled samples of rendered people: what they say is true of what they show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from catalog import check
from mining.geometry.cameras import angle_between_views_deg
from mining.labelling.close_ups import CloseUps
from mining.labelling.gestures import GESTURES, GesturePlan
from mining.labelling.synthetic import LabelledScenes
from mining.sources.base import DatasetSpec
from mining.sources.synthetic import SyntheticSource
from mining.synthetic.bodies import JOINTS, pose_bodies
from mining.synthetic.config import SyntheticConfig, training_scenes
from mining.synthetic.plan import Plan
from mining.synthetic.scene import Scene
from mining.synthetic.surface import BODY_PARTS
from tests.labelled_runs import OPTIONS, image_of, labels_of, mine_labels, rows
from training.bodies.registry import make_body

SCENES = LabelledScenes(**OPTIONS)


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    mine_labels(root)
    return root


def scene_of(row: dict) -> Scene:
    shows, _, number = row["capture"].partition("-")
    if shows == "hands":
        return CloseUps(SCENES.hands(), int(number))
    return Scene(SCENES.bodies(int(number)), int(number))


def camera_of(row: dict, side: str) -> int:
    return int(row[f"source_{side}"].rpartition("cam")[2])


def test_every_check_of_the_catalog_holds(mined: Path) -> None:
    assert [row for row in check.check(str(mined)) if row["broken"]] == []
    [units] = rows(mined, "SELECT sum(num_in) AS n FROM units WHERE stage = 'label'")
    assert units["n"] > len(rows(mined, "SELECT 1 FROM labels")) > 20


def test_bodies_and_hands_are_there_alone_and_in_two_views(mined: Path) -> None:
    kinds = {(row["kind"], row["part"]) for row, _ in labels_of(mined)}
    parts = ("body", "left_hand", "right_hand")
    assert kinds == {(kind, part) for kind in ("single", "two_view") for part in parts}


def test_the_camera_projects_the_joints_to_the_keypoints(mined: Path) -> None:
    for _, label in labels_of(mined):
        for image in label.images:
            pixels = image.joints_cam_m[:, :3] @ image.pixels_from_cam.T
            seen = image.keypoints_px[:, 2] > 0
            apart_px = pixels[:, :2] / pixels[:, 2:] - image.keypoints_px[:, :2]
            assert np.abs(apart_px[seen]).max() < 0.5


def test_the_body_by_reference_has_these_joints(mined: Path) -> None:
    bodies = {name: make_body(name) for name in ("anny", "anny_hand")}
    for _, label in labels_of(mined):
        for image in label.images:
            rotations = Rotation.from_rotvec(image.body.pose_rad).as_matrix()
            output = bodies[image.body.model](
                torch.from_numpy(rotations).float()[None],
                torch.from_numpy(image.body.shape).float()[None],
            )
            joints = output.keypoints_BK3[0].numpy() + image.body.translation_m
            mirrored = [-1, 1, 1] if label.part == "left_hand" else [1, 1, 1]
            np.testing.assert_allclose(joints * mirrored, image.joints_cam_m[:, :3], atol=1e-4)


def test_every_pixel_has_the_part_and_texture_that_the_scene_shows_there(mined: Path) -> None:
    num_labelled = 0
    for row, label in labels_of(mined, "kind = 'single'")[::3]:
        scene = scene_of(row)
        truth = scene.truth(camera_of(row, "a"), row["frame_a"])
        person = scene.people.index(label.subject)
        iuv = image_of(mined, row, what="iuv_")
        box_px = label.images[0].box_px
        scale = (box_px[2] - box_px[0]) / len(iuv)
        for y, x in np.ndindex(iuv.shape[:2]):
            at_x = int(box_px[0] + (x + 0.5) * scale)
            at_y = int(box_px[1] + (y + 0.5) * scale)
            inside = 0 <= at_y < truth.person.shape[0] and 0 <= at_x < truth.person.shape[1]
            shown = inside and truth.person[at_y, at_x] == person
            if shown and label.part != "body":
                shown = truth.part[at_y, at_x] == BODY_PARTS.index(label.part)
            if not shown:
                assert iuv[y, x, 0] == 0
                continue
            num_labelled += 1
            assert iuv[y, x, 0] == truth.part[at_y, at_x] + 1
            assert np.abs(iuv[y, x, 1:] / 255 - truth.uv[at_y, at_x]).max() < 0.003
    assert num_labelled > 5000


def test_two_views_show_one_person_at_one_instant_from_two_directions(mined: Path) -> None:
    for row, label in labels_of(mined, "kind = 'two_view'"):
        scene, person = scene_of(row), 0
        person = scene.people.index(label.subject)
        assert row["frame_a"] == row["frame_b"] and row["source_a"] != row["source_b"]
        world = scene.joints_world(person, row["frame_a"], label.part)
        cameras = [scene.cameras[camera_of(row, side)] for side in "ab"]
        for camera, image in zip(cameras, label.images, strict=True):
            np.testing.assert_allclose(
                camera.to_camera(world), image.joints_cam_m[:, :3], atol=1e-5
            )
        angle = angle_between_views_deg(*cameras, world.mean(axis=0))
        assert row["view_angle_deg"] == pytest.approx(angle, abs=0.01) and 20 <= angle <= 120


def test_everybody_in_one_image_is_in_one_split(mined: Path) -> None:
    found = rows(mined, "SELECT capture, list(DISTINCT split) AS splits FROM labels GROUP BY 1")
    assert all(len(row["splits"]) == 1 for row in found)
    assert {split for row in found for split in row["splits"]} == {"train", "val"}


def test_nobody_is_in_the_captures_that_models_are_pre_trained_on() -> None:
    spec = DatasetSpec(
        name="s", adapter="synthetic", root="", options={"scenes": "training", "num_captures": 50}
    )
    pretrained = {
        person
        for capture in SyntheticSource().captures(spec).captures
        for person in capture.subject.split("+")
    }
    assert training_scenes().seed not in (LabelledScenes().seed, LabelledScenes().seed + 1)
    labelled = {
        person
        for index in range(20)
        for config in (LabelledScenes().bodies(index), LabelledScenes().hands())
        for person in Plan(config, index).people
    }
    assert len(labelled) == 20 + sum(1 + index % 3 for index in range(20))
    assert not labelled & pretrained


def test_a_gesture_stretches_and_bends_the_fingers_it_is_made_of() -> None:
    plan = GesturePlan(SyntheticConfig(num_frames=1, num_views=1), 0)
    seen: dict[str, list[bool]] = {}
    for frame in range(60):
        [(pose, _)] = plan.standing(frame)
        bodies = pose_bodies([plan.shapes[0]], [pose])
        for side in ("left", "right"):
            hand = bodies.joints[0, JOINTS[f"{side}_hand"]]
            reach = np.linalg.norm(hand[8::4] - hand[0], axis=1)  # of the tips, index to little
            knuckles = np.linalg.norm(hand[5::4] - hand[0], axis=1)
            seen[plan.gesture(0, frame, side)] = (reach > 1.35 * knuckles).tolist()
    assert set(seen) == set(GESTURES)
    assert seen["fist"] == seen["like"] == [False] * 4
    assert seen["palm"] == [True] * 4
    assert seen["point"] == [True, False, False, False]
    assert seen["victory"] == [True, True, False, False]
    assert seen["three"] == [True, True, True, False]
    assert seen["call"] == [False, False, False, True]
    assert seen["ok"] == [False, True, True, True]


def test_close_ups_need_one_person_at_one_time() -> None:
    with pytest.raises(ValueError, match="one person at one time"):
        CloseUps(SyntheticConfig(people_per_capture=2, num_frames=1, num_views=2), 0)
