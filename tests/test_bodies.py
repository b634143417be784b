"""Body models: what they make of a pose is what the body is, and labels say how to make it."""

import numpy as np
import pytest
import torch

from catalog import anny_file
from catalog.anny_bones import HAND_BONES, POSED_BONES
from catalog.keypoints import COCO_KEYPOINTS
from mining.synthetic.bodies import JOINTS
from mining.synthetic.body_labels import BodyLabel, body_label, hand_label
from mining.synthetic.body_model import body_model
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from training.bodies.model import BodyModel, BodyOutput
from training.bodies.registry import make_body
from training.bodies.rotations import axis_angle_to_matrix

VIEW, FRAME = 1, 2
# What points and axes times angles of a left hand become in a mirror, where x is turned around.
MIRROR_POINT, MIRROR_ROTATION = torch.tensor([-1.0, 1, 1]), torch.tensor([1.0, -1, -1])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(SyntheticConfig(people_per_capture=2, num_views=3), 0)


def apply(model: BodyModel, label: BodyLabel, *, mirrored: bool = False) -> BodyOutput:
    pose = torch.from_numpy(label.pose_J3).float()[None]
    shape = torch.from_numpy(label.shape_S).float()[None]
    translation = torch.from_numpy(label.translation_3).float()
    output = model(axis_angle_to_matrix(pose * MIRROR_ROTATION if mirrored else pose), shape)
    return BodyOutput(
        *((points * MIRROR_POINT if mirrored else points) + translation for points in output)
    )


def in_camera(scene: Scene, points_world: np.ndarray) -> torch.Tensor:
    world_from_cam = scene.cameras[VIEW].world_from_cam
    return torch.from_numpy((points_world - world_from_cam[:3, 3]) @ world_from_cam[:3, :3])


def largest_mm(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm(dim=-1).max()) * 1000


def farthest_mm(points: torch.Tensor, whole: torch.Tensor) -> float:
    """How far the point is that is farthest from all of the others'."""
    return float(torch.cdist(points.double(), whole.double()).amin(dim=1).max()) * 1000


@pytest.mark.parametrize("person", [0, 1])
def test_a_label_and_the_model_give_back_the_synthetic_body(scene: Scene, person: int) -> None:
    output = apply(make_body("anny"), body_label(scene, person, VIEW, FRAME))
    vertices = in_camera(scene, scene.vertices_world(person, FRAME, VIEW))
    keypoints = in_camera(scene, scene.joints_world(person, FRAME, "body", VIEW))
    assert largest_mm(output.vertices_BV3[0], vertices) < 0.1
    assert largest_mm(output.keypoints_BK3[0], keypoints) < 0.1


def test_a_hands_label_and_the_model_give_back_the_right_hand(scene: Scene) -> None:
    hand, body = make_body("anny_hand"), make_body("anny")
    output = apply(hand, hand_label(scene, 0, "right", VIEW, FRAME))
    whole = apply(body, body_label(scene, 0, VIEW, FRAME)).vertices_BV3[0]
    keypoints = in_camera(scene, scene.joints_world(0, FRAME, "right_hand", VIEW))
    assert farthest_mm(output.vertices_BV3[0], whole) < 0.1
    assert largest_mm(output.keypoints_BK3[0], keypoints) < 0.1


def test_a_left_hand_is_the_mirrored_right_hand(scene: Scene) -> None:
    output = apply(make_body("anny_hand"), hand_label(scene, 0, "left", VIEW, FRAME), mirrored=True)
    whole = in_camera(scene, scene.vertices_world(0, FRAME, VIEW))
    keypoints = in_camera(scene, scene.joints_world(0, FRAME, "left_hand", VIEW))
    assert farthest_mm(output.vertices_BV3[0], whole) < 1
    assert largest_mm(output.keypoints_BK3[0], keypoints) < 1


def test_names_are_those_of_the_pose_and_of_coco() -> None:
    body, hand = make_body("anny"), make_body("anny_hand")
    assert (body.joint_names, body.keypoint_names) == (POSED_BONES, COCO_KEYPOINTS)
    assert hand.joint_names == HAND_BONES
    assert len(hand.keypoint_names) == hand.num_keypoints == JOINTS["left_hand"].stop - 17
    assert torch.equal(body.faces_F3, torch.from_numpy(body_model().faces).long())
    assert not body.state_dict() and not list(body.parameters())


@pytest.mark.parametrize("name", ["anny", "anny_hand"])
def test_few_vertices_are_those_of_the_whole_and_stand_for_it(scene: Scene, name: str) -> None:
    label = body_label(scene, 0, VIEW, FRAME)
    if name == "anny_hand":
        label = hand_label(scene, 0, "right", VIEW, FRAME)
    model, whole = make_body(name, num_vertices=400), make_body(name)
    few, full = apply(model, label), apply(whole, label)
    assert model.num_vertices == few.vertices_BV3.shape[1] == 400
    assert largest_mm(few.vertices_BV3[0], full.vertices_BV3[0, model.vertex_ids_V]) < 0.01
    assert largest_mm(few.keypoints_BK3, full.keypoints_BK3) < 0.01
    upsampled = model.upsample(few.vertices_BV3)
    errors_mm = (upsampled - full.vertices_BV3).norm(dim=-1) * 1000
    assert errors_mm.mean() < (6 if name == "anny" else 0.5)
    assert torch.equal(whole.upsample(full.vertices_BV3), full.vertices_BV3)
    assert largest_mm(upsampled[0, model.vertex_ids_V], few.vertices_BV3[0]) < 0.01


def test_gradients_reach_the_pose_and_the_shape_and_are_finite() -> None:
    model = make_body("anny", num_vertices=1000)
    rotations = model.mean_rotations_J33[None].clone().requires_grad_()
    shape = model.mean_shape_S[None].clone().requires_grad_()
    output = model(rotations, shape)
    (output.vertices_BV3.square().sum() + output.keypoints_BK3.square().sum()).backward()
    assert rotations.grad is not None and shape.grad is not None
    assert rotations.grad.isfinite().all() and shape.grad.isfinite().all()
    assert (shape.grad != 0).all()
    assert (rotations.grad.abs().amax(dim=(0, 2, 3)) > 0).all()


def test_the_mean_pose_stands_upright_and_faces_the_camera() -> None:
    body = make_body("anny")
    keypoints = body(body.mean_rotations_J33[None], body.mean_shape_S[None]).keypoints_BK3[0]
    at = dict(zip(COCO_KEYPOINTS, keypoints, strict=True))
    assert at["nose"][1] < at["left_hip"][1] < at["left_ankle"][1]  # y is down
    assert at["nose"][2] < at["left_ear"][2]  # the nose is nearer to the camera
    assert at["left_wrist"][0] > at["right_wrist"][0]


def test_unknown_names_and_too_many_vertices_are_refused() -> None:
    with pytest.raises(ValueError, match="anny, anny_hand, smpl, smplx, mano"):
        make_body("nobody")
    with pytest.raises(ValueError, match="choose 1 to"):
        make_body("anny_hand", num_vertices=10**6)


def test_few_vertices_follow_the_model_to_another_type_and_autocast() -> None:
    model = make_body("anny_hand", num_vertices=50)
    rotations, shape = model.mean_rotations_J33[None], model.mean_shape_S[None]
    exact = model.upsample(model(rotations, shape).vertices_BV3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.upsample(model(rotations, shape).vertices_BV3), exact)
    double = model.double()(rotations.double(), shape.double()).vertices_BV3
    assert double.dtype == torch.float64


def test_the_root_joint_is_the_origin_whatever_the_shape() -> None:
    hand = make_body("anny_hand")
    shapes = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    rotations = hand.mean_rotations_J33.expand(5, -1, -1, -1)
    wrists = hand(rotations, shapes).keypoints_BK3[:, 0]
    assert wrists.abs().max() < 1e-6


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise anny_file.PackageNotFoundError(name)

    monkeypatch.setattr(anny_file, "version", absent)
    with pytest.raises(ValueError, match="pip install anny"):
        anny_file.load_anny("lbs")
