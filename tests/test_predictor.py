"""Predicting on images: what a model is shown, and its answers put back into the image."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mining.labelling.config import LabelConfig
from mining.labelling.cutting import Stored, find_box, store
from mining.labelling.source import LabelledImage
from mining.synthetic.body_model import body_model
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from tests import oracle
from tests.oracle import IMAGE_PX, Oracle
from training.finetuning.config import make_config
from training.loading.placed import Placed, Placement
from training.models.croco import Croco
from training.prediction.answers import answer_in_image
from training.prediction.crops import PersonCrop, make_crop, usual_camera
from training.prediction.overlay import draw_answers
from training.prediction.predictor import Predictor
from training.tasks.mesh_camera import focal_sides


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    oracle.register(monkeypatch)
    return Predictor(oracle.save_model(tmp_path))


@cache
def scene() -> tuple[Scene, np.ndarray, list]:
    """Two people before one camera, the image, and both as they were detected."""
    made = Scene(
        SyntheticConfig(people_per_capture=2, num_views=1, num_frames=1, image_px=(384,)), 3
    )
    image, found = made.render(0, 0)
    return made, image, [one for one in found if one.part == "body"]


def stored(person) -> Stored:
    """The person as a labelled image."""
    made, image, _ = scene()
    labelled = LabelledImage(
        source="",
        frame=0,
        image=image,
        box_px=person.box_px.astype(np.float64),
        keypoints_px=np.zeros((17, 3)),
        joints_cam_m=np.column_stack([made.cameras[0].to_camera(person.joints_world), np.ones(17)]),
        pixels_from_cam=made.cameras[0].intrinsics,
    )
    config = LabelConfig(min_inside=0.01)
    made_of = store(labelled, find_box(labelled, "body", config), config)
    assert isinstance(made_of, Stored), made_of
    return made_of


def as_loaded(person, mirrored: bool = False) -> Placed:
    """The same as the loader of training places it."""
    return Placed(
        label=stored(person).label,
        placement=Placement(mirrored=mirrored),
        stored_px=256,
        image_px=IMAGE_PX,
    )


def true_answer(number: int) -> dict:
    """A person's true mesh in the camera of the model's crop."""
    made, _, people = scene()
    person = people[number]
    which = made.people.index(person.identity)
    vertices = made.cameras[0].to_camera(made.vertices_world(which, 0))
    loaded = as_loaded(person)
    return {
        "vertices_m": vertices @ loaded.camera().turned.T,
        "joints_m": loaded.joints_cam_m()[:, :3],
        "faces": body_model().faces,
    }


def ask(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list:
    made, image, people = scene()
    monkeypatch.setattr(Oracle, "says", [true_answer(0), true_answer(1)])
    boxes_px = [person.box_px for person in people]
    return predictor(image, boxes_px, pixels_from_cam=made.cameras[0].intrinsics)


def test_meshes_of_two_people_come_back_in_one_camera(predictor, monkeypatch) -> None:
    made, _, people = scene()
    for person, answered in zip(people, ask(predictor, monkeypatch), strict=True):
        which = made.people.index(person.identity)
        vertices = made.cameras[0].to_camera(made.vertices_world(which, 0))
        np.testing.assert_allclose(answered.answer["vertices_m"], vertices, atol=1e-6)
        joints = made.cameras[0].to_camera(person.joints_world)
        np.testing.assert_allclose(answered.answer["joints_m"], joints, atol=1e-6)


def test_the_overlay_covers_the_people(predictor, monkeypatch) -> None:
    _, image, people = scene()
    answered = ask(predictor, monkeypatch)
    drawn = draw_answers(np.zeros_like(image), answered, [(255, 255, 255)] * 2).any(axis=2)
    true = np.any([person.mask for person in people], axis=0)
    assert (drawn & true).sum() / (drawn | true).sum() > 0.9
    alone = answered[0].draw(np.zeros_like(image)).any(axis=2)
    assert (alone & people[0].mask).sum() > 0.9 * people[0].mask.sum()


def test_the_nearer_person_is_drawn_last(predictor, monkeypatch) -> None:
    _, image, _ = scene()
    answered = ask(predictor, monkeypatch)
    black = np.zeros_like(image)
    for order in (answered, answered[::-1]):
        colours = [(255, 0, 0) if one is answered[0] else (0, 0, 255) for one in order]
        picture = draw_answers(black, order, colours)
        if order is answered:
            first = picture
    np.testing.assert_array_equal(picture, first)


def test_a_model_is_shown_what_it_was_trained_on() -> None:
    people = scene()[2]
    crop = crop_of(people[0])
    jpeg = np.frombuffer(stored(people[0]).jpeg, np.uint8)
    trained = as_loaded(people[0]).warp(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
    assert np.abs(crop.pixels_HW3.astype(int) - trained).mean() < 2  # JPEG's loss
    np.testing.assert_allclose(
        crop.camera.pixels_from_cam, as_loaded(people[0]).camera().pixels_from_cam, rtol=1e-9
    )


def crop_of(person, mirrored: bool = False) -> PersonCrop:
    made, image, _ = scene()
    augment = make_config("keypoints", "tiny").augment
    camera = made.cameras[0].intrinsics
    return make_crop(image, person.box_px, camera, 1.2, IMAGE_PX, augment, mirrored)


def test_a_mirrored_hand_comes_back_as_a_left_one() -> None:
    made, _, people = scene()
    person, crop = people[0], crop_of(people[0], mirrored=True)
    loaded = as_loaded(person, mirrored=True)
    pixels = np.column_stack([loaded.keypoints_px()[:, :2] / IMAGE_PX, np.ones(17)])
    answer = {"joints_m": loaded.joints_cam_m()[:, :3], "faces": np.array([[0, 1, 2]]),
              "keypoints": pixels}  # fmt: skip
    back = answer_in_image(answer, crop, 100, 100)
    true = made.cameras[0].to_camera(person.joints_world)
    np.testing.assert_allclose(back["joints_m"], true, atol=1e-6)
    assert back["faces"].tolist() == [[2, 1, 0]]
    straight = answer_in_image({"keypoints": np.array([[0.25, 0.5, 1]])}, crop_of(person), 9, 9)
    turned = answer_in_image({"keypoints": np.array([[0.75, 0.5, 1]])}, crop, 9, 9)
    np.testing.assert_allclose(straight["keypoints_px"], turned["keypoints_px"])


def test_a_focal_length_taken_for_granted_changes_the_depth_alone() -> None:
    _, _, people = scene()
    crop = crop_of(people[0])
    assumed = np.array([[4.0, 0, 0.5], [0, 4.0, 0.5], [0, 0, 1]])
    root = np.array([0.1, -0.2, 8.0])
    answer = {"root_m": root, "vertices_m": root[None], "shares_from_cam": assumed}
    back = answer_in_image(answer, crop, 100, 100)
    in_crop = back["root_m"] @ crop.camera.turned.T
    seen = crop.camera.pixels_from_cam @ in_crop
    said = assumed @ root
    np.testing.assert_allclose(seen[:2] / seen[2] / IMAGE_PX, said[:2] / said[2], atol=0.005)
    shares_from_cam = np.diag([1 / IMAGE_PX, 1 / IMAGE_PX, 1]) @ crop.camera.pixels_from_cam
    focal = float(focal_sides(torch.from_numpy(shares_from_cam)[None]))  # as mesh tasks have it
    assert in_crop[2] == pytest.approx(8.0 * focal / 4.0)
    np.testing.assert_allclose(back["vertices_m"][0], back["root_m"])


def test_the_pose_is_turned_as_its_mesh_is() -> None:
    crop = crop_of(scene()[2][0])
    pose = np.array([[0.3, -0.2, 0.5], [0.1, 0, 0]])
    back = answer_in_image({"pose_rad": pose}, crop, 9, 9)["pose_rad"]
    np.testing.assert_allclose(back[1], pose[1])
    offset = np.array([0.2, 0.5, 0.1])
    in_crop = cv2.Rodrigues(pose[0])[0] @ offset
    in_image = cv2.Rodrigues(back[0])[0] @ offset
    np.testing.assert_allclose(in_image, crop.to_image_camera(in_crop), atol=1e-9)


def test_a_map_of_the_crop_lies_where_the_crop_was() -> None:
    _, image, people = scene()
    crop = crop_of(people[0])
    height, width = image.shape[:2]
    left, top, right, _ = crop.square_px
    part = np.zeros((32, 32), np.uint8)
    part[8:16, 16:24] = 5
    answer = {"part": part, "uv": np.full((32, 32, 2), 0.5), "sureness": part}
    back = answer_in_image(answer, crop, height, width)
    assert set(back) == {"iuv"}
    rows, columns = np.nonzero(back["iuv"][..., 0])
    side = right - left
    assert abs(columns.min() - (left + side / 2)) <= 1
    assert abs(rows.min() - (top + side / 4)) <= 1
    assert {tuple(value) for value in back["iuv"][rows, columns]} == {(5, 128, 128)}


def test_an_image_of_unknown_camera_is_as_long_as_its_diagonal() -> None:
    np.testing.assert_allclose(usual_camera(400, 300), [[500, 0, 200], [0, 500, 150], [0, 0, 1]])
    assert usual_camera(400, 300, 77.0)[0, 0] == 77


def test_what_does_not_fit_is_named(predictor: Predictor) -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    for boxes, options, reason in (
        ([[10, 10, 5, 20]], {}, "x0 < x1"),
        ([[200, 10, 220, 30]], {}, "beside the image of 60 x 50"),
        ([[0, 0, 9, np.nan]], {}, "x0, y0, x1, y1"),
        ([[0, 0, 9, 9]], {"parts": ["left_hand"]}, "about body, not left_hand"),
        ([[0, 0, 9, 9]], {"second": (image, [[0, 0, 9, 9]])}, "takes one image"),
    ):
        with pytest.raises(ValueError, match=reason):
            predictor(image, boxes, **options)
    assert predictor(image, []) == []


def test_two_views_are_asked_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle.register(monkeypatch)
    predictor = Predictor(oracle.save_model(tmp_path, num_images=2))
    image = np.zeros((50, 60, 3), np.uint8)
    box = [[5, 5, 30, 40]]
    assert len(predictor(image, box, second=(image, box))) == 1
    with pytest.raises(ValueError, match="needs a second image"):
        predictor(image, box)
    with pytest.raises(ValueError, match="1 boxes and the second 2"):
        predictor(image, box, second=(image, box * 2))


def test_a_checkpoint_of_pre_training_is_refused(tmp_path: Path) -> None:
    model = Croco(make_config("keypoints", "tiny").encoder.model)
    folder = oracle.save(tmp_path, model, {"model": {}})
    with pytest.raises(ValueError, match="a pre-training run, not a fine-tuned model"):
        Predictor(folder)
