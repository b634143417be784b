"""`body_mesh`: true parameters cost nothing, lacking labels do not count, and a head learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from shards.labels import Label
from tests.mesh_labels import (
    IMAGE_PX,
    random_label,
    targets_of,
    without,
)
from tests.mesh_learning import learned_share, total_loss
from training.bodies.rotations import matrix_to_6d
from training.heads.body_head import BodyHeadConfig
from training.heads.query_decoder import QueryDecoderConfig
from training.tasks.body_mesh import BodyMesh, BodyMeshConfig, config_for
from training.tasks.mesh_camera import focal_sides, project, root_position, seen_at
from training.tasks.task import Outputs, Targets

HEAD = BodyHeadConfig(decoder=QueryDecoderConfig(width=32, depth=1, heads=2))
# A hand costs a tenth of a body's time and is no less a body model.
CONFIG = BodyMeshConfig(body="anny_hand", num_vertices=200, mean_scale=4.0, head=HEAD)
DEPTH_M = 0.7
PLACEMENT = {"zoom": 1.2, "shift_x": 0.1, "turn_deg": 20.0}


@pytest.fixture(scope="module")
def task() -> BodyMesh:
    return BodyMesh(CONFIG)


@pytest.fixture(scope="module")
def labels(task: BodyMesh) -> list[Label]:
    body = task.few(torch.device("cpu"))
    return [random_label(body, seed, "right_hand", DEPTH_M) for seed in range(4)]


def perfect(targets: Targets) -> Outputs:
    return {
        "rotations_6d": matrix_to_6d(targets["rotations"]),
        "shape": targets["shape"],
        "camera": seen_at(targets["root_m"], targets["shares_from_cam"]),
    }


def test_true_parameters_cost_nothing(task: BodyMesh, labels: list[Label]) -> None:
    targets = targets_of(task, labels, **PLACEMENT)
    losses = task.losses(perfect(targets), targets)
    assert losses.keys() == task.factors.keys() == task.weights(targets).keys()
    for name, value_B in losses.items():
        assert value_B.shape == (4,)
        assert value_B.abs().max() < 2e-4, name


def test_true_parameters_are_judged_perfect(task: BodyMesh, labels: list[Label]) -> None:
    targets = targets_of(task, labels, **PLACEMENT)
    figures = task.metrics(perfect(targets), targets)
    assert all(figures[name].max() < 0.1 for name in figures if name.endswith("_mm"))
    assert figures["reprojection_share_of_image"].max() < 1e-3
    summary = task.summarize(figures)
    assert summary["pve_mm"] < 0.1
    assert summary["pve_mm_count"] == 4


@pytest.mark.parametrize("asking", ["grid", "joints", "one", "pooled"])
def test_a_head_learns_a_batch(task: BodyMesh, labels: list[Label], asking: str) -> None:
    targets = targets_of(task, labels)
    task = BodyMesh(replace(CONFIG, head=replace(HEAD, asking=asking)))
    assert learned_share(task, targets) < 0.4


def test_what_a_sample_lacks_does_not_change_the_loss(task: BodyMesh, labels: list[Label]) -> None:
    lacking = [labels[0], without(labels[1], "body"), without(labels[2], "body", "joints_cam_m")]
    targets = targets_of(task, lacking)
    weights = task.weights(targets)
    assert weights["vertices"].tolist() == weights["rotations"].tolist() == [1, 0, 0]
    assert weights["joints"].tolist() == [1, 1, 0]
    assert weights["reprojection"].tolist() == [1, 1, 1]
    outputs = perfect(targets_of(task, labels[1:]))
    loss = total_loss(task, outputs, targets)
    spoiled = {name: value.clone() for name, value in targets.items()}
    spoiled["rotations"][2], spoiled["root_m"][2], spoiled["joints_m"][2, :, :3] = 0.5, 9.0, 7.0
    assert total_loss(task, outputs, spoiled) == pytest.approx(loss.item(), abs=1e-6)
    figures = task.metrics(outputs, targets)
    assert figures["pve_mm"].isnan().tolist() == [False, True, True]
    assert figures["mpjpe_mm"].isnan().tolist() == [False, False, True]


@pytest.mark.parametrize("camera", ["weak", "full"])
def test_gradients_are_finite_for_any_output(labels: list[Label], camera: str) -> None:
    task = BodyMesh(replace(CONFIG, camera=camera))
    lacking = [labels[0], without(labels[1], "body", "joints_cam_m", "pixels_from_cam")]
    targets = targets_of(task, lacking)
    for scale in (0.0, 1.0, 100.0):
        outputs = {
            "rotations_6d": scale * torch.randn(2, 16, 6),
            "shape": scale * torch.randn(2, 6),
            "camera": scale * torch.randn(2, 3),
        }
        for value in outputs.values():
            value.requires_grad_()
        loss = total_loss(task, outputs, targets)
        loss.backward()
        assert loss.isfinite()
        for name, value in outputs.items():
            assert value.grad is not None
            assert value.grad.isfinite().all(), (camera, scale, name)


def test_a_true_body_falls_on_its_keypoints(task: BodyMesh, labels: list[Label]) -> None:
    targets = targets_of(task, labels, **PLACEMENT)
    answer = task.answer(perfect(targets), 1, targets["shares_from_cam"][1])
    joints_BK3 = torch.from_numpy(answer["joints_m"])[None]
    places = project(joints_BK3, targets["shares_from_cam"][1:2])[0]
    assert (places - targets["keypoints"][1, :, :2]).abs().max() * IMAGE_PX < 0.05
    assert answer["vertices_m"].shape[0] > answer["faces"].max()
    assert answer["pose_rad"].shape == (16, 3)


def test_a_turned_image_turns_the_answer_with_its_pixels(
    task: BodyMesh, labels: list[Label]
) -> None:
    plain, turned = (targets_of(task, labels[:1], turn_deg=angle) for angle in (0.0, 90.0))
    # Clockwise by a quarter: x of the plain picture is y of the turned one.
    assert torch.allclose(turned["keypoints"][0, :, 1], plain["keypoints"][0, :, 0], atol=1e-4)
    assert torch.allclose(turned["root_m"][0, 1], plain["root_m"][0, 0], atol=1e-5)


def test_a_root_joint_is_found_again_by_both_cameras(task: BodyMesh, labels: list[Label]) -> None:
    targets = targets_of(task, labels, **PLACEMENT)
    camera_B33, root_B3 = targets["shares_from_cam"], targets["root_m"]
    weak = seen_at(root_B3, camera_B33)
    assert torch.allclose(root_position(weak, camera_B33, "weak"), root_B3, atol=1e-4)
    log_depth_B = (root_B3[:, 2] / focal_sides(camera_B33)).log()
    full = torch.cat([root_B3[:, :2], log_depth_B[:, None]], dim=1)
    assert torch.allclose(root_position(full, camera_B33, "full"), root_B3, atol=1e-4)


def test_a_body_without_a_camera_is_learned_from_but_for_its_place(
    task: BodyMesh, labels: list[Label]
) -> None:
    targets = targets_of(task, [without(labels[0], "pixels_from_cam"), labels[0]])
    weights = task.weights(targets)
    assert weights["vertices"].tolist() == weights["joints"].tolist() == [1, 1]
    assert weights["camera"].tolist() == [0, 1]
    losses = task.losses(perfect(targets), targets)
    assert all(value.isfinite().all() for value in losses.values())
    assert losses["vertices"].max() < 1e-4


def test_a_body_of_another_model_is_named_or_passed_over(
    task: BodyMesh, labels: list[Label]
) -> None:
    body = labels[0].images[0].body
    assert body is not None
    image = replace(labels[0].images[0], body=replace(body, model="mano"))
    other = replace(labels[0], images=(image,))
    with pytest.raises(ValueError, match="has a body of mano"):
        targets_of(task, [other])
    lenient = BodyMesh(replace(CONFIG, other_bodies=True))
    assert targets_of(lenient, [other])["has_body"].tolist() == [0]


def test_loader_processes_get_no_body_model(task: BodyMesh, labels: list[Label]) -> None:
    light = BodyMesh.__new__(BodyMesh)
    light.__dict__.update(task.__getstate__())
    assert not any(isinstance(value, torch.nn.Module) for value in vars(light).values())
    assert targets_of(light, labels[:1]).keys() == targets_of(task, labels[:1]).keys()


def test_a_picture_shows_prediction_and_truth(task: BodyMesh, labels: list[Label]) -> None:
    targets = targets_of(task, labels)
    image = np.full((IMAGE_PX, IMAGE_PX, 3), 90, np.uint8)
    picture = task.draw(image, perfect(targets), targets, 2)
    assert picture.shape == (IMAGE_PX, 5 * IMAGE_PX, 3)
    predicted, true = picture[:, IMAGE_PX : 2 * IMAGE_PX], picture[:, 3 * IMAGE_PX : 4 * IMAGE_PX]
    covered = (predicted != 90).any(axis=2)
    assert 0.02 < covered.mean() < 0.9
    assert (covered == (true != 90).any(axis=2)).mean() > 0.98


def test_configs_suit_sizes_of_encoders() -> None:
    assert config_for("tiny").num_vertices < config_for("base").num_vertices
    with pytest.raises(ValueError, match="mean_scale must be above 0"):
        BodyMeshConfig(mean_scale=0.0)
    with pytest.raises(ValueError, match=r"head\.width must divide"):
        QueryDecoderConfig(width=30, heads=4)
