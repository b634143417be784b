"""Placed images: pixels, points and cameras move together."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from shards.labels import Body, ImageLabel
from training.loading.placed import MIRROR, Placed, Placement

STORED_PX = 128
PLACEMENTS = [
    Placement(),
    Placement(zoom=1.3, shift_x=0.1, shift_y=-0.05, turn_deg=25),
    Placement(zoom=0.8, turn_deg=-40, mirrored=True),
]


def make_label() -> ImageLabel:
    """Joints before a camera that does not look at the middle of the crop."""
    rng = np.random.default_rng(1)
    pixels_from_cam = np.array([[300.0, 0, 20], [0, 310, 110], [0, 0, 1]])
    joints = np.column_stack([rng.uniform(-0.4, 0.4, (17, 2)), rng.uniform(2.5, 3.5, 17)])
    joints[:, 0] += 0.4
    projected = joints @ pixels_from_cam.T
    places = projected[:, :2] / projected[:, 2:]
    return ImageLabel(
        source="",
        box_px=np.array([0.0, 0, STORED_PX, STORED_PX]),
        person_box_px=np.array([10.0, 20, 50, 100]),
        keypoints_px=np.column_stack([places, np.ones(17)]),
        joints_cam_m=np.column_stack([joints, np.ones(17)]),
        pixels_from_cam=pixels_from_cam,
        body=Body(
            model="anny",
            pose_rad=np.array([[0.3, -0.5, 0.2], [0.1, 0, 0]]),
            shape=np.zeros(3),
            translation_m=joints[0],
        ),
    )


def placed(placement: Placement, image_px: int = 64) -> Placed:
    return Placed(label=make_label(), placement=placement, stored_px=STORED_PX, image_px=image_px)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_dot_in_the_image_goes_where_its_point_goes(placement: Placement) -> None:
    image = np.zeros((STORED_PX, STORED_PX, 3), np.uint8)
    cv2.circle(image, (70, 50), 4, (255, 255, 255), -1)
    view = placed(placement, image_px=160)
    rows, columns = np.nonzero(view.warp(image)[:, :, 0] > 127)
    found = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    np.testing.assert_allclose(found, view.points_px(np.array([70.5, 50.5])), atol=0.3)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_joints_project_onto_their_keypoints(placement: Placement) -> None:
    view = placed(placement)
    joints, camera = view.joints_cam_m(), view.camera()
    projected = joints[:, :3] @ camera.pixels_from_cam.T
    np.testing.assert_allclose(
        projected[:, :2] / projected[:, 2:], view.keypoints_px()[:, :2], atol=1e-6
    )


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_camera_looks_at_the_centre_with_x_to_the_right(placement: Placement) -> None:
    camera = placed(placement).camera()
    centre = camera.pixels_from_cam @ np.array([0, 0, 1.0])
    np.testing.assert_allclose(centre[:2] / centre[2], 32)
    right = camera.pixels_from_cam @ np.array([1e-4, 0, 1])
    moved = right[:2] / right[2] - 32
    assert moved[0] > 0 and abs(moved[1]) < 1e-6 * 300
    np.testing.assert_allclose(camera.turned @ camera.turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.turned) == pytest.approx(1)


def test_turning_the_picture_turns_the_body_about_the_optical_axis() -> None:
    straight, turned = (placed(Placement(turn_deg=angle)).body_pose()[0][0] for angle in (0, 30))
    about_z = cv2.Rodrigues(np.array([0, 0, np.radians(30)]))[0]
    np.testing.assert_allclose(turned, about_z @ straight, atol=0.01)  # the camera is off its axis


def test_without_a_camera_labels_turn_with_the_picture_alone() -> None:
    view = placed(Placement(turn_deg=90, zoom=1.2, shift_x=0.1))
    view.label = replace(view.label, pixels_from_cam=None)
    given = view.label.joints_cam_m
    expected = np.column_stack([-given[:, 1], given[:, 0], given[:, 2]])
    np.testing.assert_allclose(view.joints_cam_m()[:, :3], expected, atol=1e-9)
    about_z = cv2.Rodrigues(np.array([0, 0, np.pi / 2]))[0]
    root = cv2.Rodrigues(view.label.body.pose_rad[0])[0]
    np.testing.assert_allclose(view.body_pose()[0][0], about_z @ root, atol=1e-9)


def test_a_mirrored_image_shows_mirrored_joints() -> None:
    plain, mirrored = (placed(Placement(mirrored=flag)).joints_cam_m() for flag in (False, True))
    np.testing.assert_allclose(mirrored[:, :3], plain[:, :3] @ MIRROR, atol=1e-9)


def test_shrinking_takes_every_pixel_into_account() -> None:
    stripes = np.zeros((STORED_PX, STORED_PX, 3), np.uint8)
    stripes[:, ::2] = 200
    small = placed(Placement(), image_px=32).warp(stripes)
    np.testing.assert_allclose(small, 100, atol=1)


def test_a_dense_map_is_not_blended() -> None:
    view = placed(Placement(zoom=1.7, turn_deg=10))
    view.iuv = np.zeros((STORED_PX, STORED_PX, 3), np.uint8)
    view.iuv[30:90, 30:90] = (7, 100, 200)
    assert {tuple(pixel) for pixel in view.dense_map().reshape(-1, 3)} == {(0, 0, 0), (7, 100, 200)}
