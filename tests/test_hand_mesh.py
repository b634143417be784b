"""Hands both ways, left ones mirrored, and bodies from two views."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from shards.labels import Label
from tests.mesh_labels import IMAGE_PX, place, random_label, targets_of
from training.bodies.registry import make_body
from training.bodies.rotations import matrix_to_6d
from training.loading.placed import MIRROR
from training.tasks import two_view
from training.tasks.body_mesh import BodyMesh
from training.tasks.body_mesh_free import BodyMeshFree
from training.tasks.hand_mesh import HandMeshConfig, config_for, make_hand_mesh
from training.tasks.mesh_camera import project, seen_at
from training.tasks.mesh_task import MeshTask
from training.tasks.task import Outputs, Targets
from training.tasks.two_view import TwoView

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def task() -> MeshTask:
    return make_hand_mesh(config_for("tiny"))


def perfect(targets: Targets) -> Outputs:
    return {
        "rotations_6d": matrix_to_6d(targets["rotations"]),
        "shape": targets["shape"],
        "camera": seen_at(targets["root_m"], targets["shares_from_cam"]),
    }


def left_hand(right: Label) -> Label:
    """The left hand that looks like the right one in a mirror; its body describes the mirrored."""
    image = right.images[0]
    assert image.joints_cam_m is not None
    assert image.pixels_from_cam is not None
    camera = image.pixels_from_cam.copy()
    camera[0, 2] = 128 - camera[0, 2]
    keypoints = image.keypoints_px.copy()
    keypoints[:, 0] = 128 - keypoints[:, 0]
    joints = image.joints_cam_m * [-1, 1, 1, 1]
    mirrored = replace(image, keypoints_px=keypoints, joints_cam_m=joints, pixels_from_cam=camera)
    return replace(right, part="left_hand", images=(mirrored,))


def test_both_ways_are_tasks_of_hands(task: MeshTask) -> None:
    free = make_hand_mesh(replace(config_for("tiny"), form="free"))
    assert isinstance(task, BodyMesh)
    assert isinstance(free, BodyMeshFree)
    for way in (task, free):
        assert way.name == "hand_mesh"
        assert way.parts == ("left_hand", "right_hand")
        assert way.mirror_left
        assert way.few(CPU).name == "anny_hand"
    assert HandMeshConfig().model.body == "anny_hand"


def test_a_left_hand_mirrored_is_the_right_one(task: MeshTask) -> None:
    right = random_label(task.few(CPU), 5, "right_hand", 0.7)
    plain = targets_of(task, [right])
    mirrored = targets_of(task, [left_hand(right)], mirrored=True)
    for name, value in plain.items():
        assert torch.allclose(mirrored[name], value, atol=1e-4), name


def test_a_mirrored_answer_mirrored_back_falls_on_the_left_hand(task: MeshTask) -> None:
    right = random_label(task.few(CPU), 6, "right_hand", 0.7)
    left = left_hand(right).images[0]
    targets = targets_of(task, [left_hand(right)], mirrored=True)
    answer = task.answer(perfect(targets), 0, targets["shares_from_cam"][0])
    camera = place(left).camera()
    assert camera is not None
    shares_from_cam = np.diag([1 / IMAGE_PX, 1 / IMAGE_PX, 1.0]) @ camera.pixels_from_cam
    joints = torch.from_numpy(answer["joints_m"] @ MIRROR).float()[None]
    places = project(joints, torch.from_numpy(shares_from_cam).float()[None])[0] * IMAGE_PX
    assert np.abs(places.numpy() - place(left).keypoints_px()[:, :2]).max() < 0.1


def test_a_true_hand_has_perfect_scores(task: MeshTask) -> None:
    labels = [random_label(task.few(CPU), seed, "right_hand", 0.7) for seed in (1, 2)]
    targets = targets_of(task, labels)
    figures = task.metrics(perfect(targets), targets)
    assert task.headline in figures
    assert figures["pa_f_at_5_mm"].min() > 0.999
    assert figures["pa_f_at_15_mm"].min() > 0.999
    assert figures["pa_auc"].min() > 0.99


def test_two_views_are_answered_in_the_firsts_camera() -> None:
    config = replace(two_view.config_for("tiny"), body="anny_hand", num_vertices=100)
    task = TwoView(config)
    assert (task.name, task.num_images, task.parts) == ("two_view", 2, ("body",))
    hand = make_body("anny_hand", num_vertices=100)
    views = [random_label(hand, seed, "right_hand", 0.7) for seed in (1, 2)]
    both = replace(views[0], images=(views[0].images[0], views[1].images[0]))
    target = task.target(both, [place(image) for image in both.images])
    alone = task.target(views[0], [place(views[0].images[0])])
    assert all((target[name] == alone[name]).all() for name in alone)
