"""Crops: square, around the person, measured; people who are too small or cut off are rejected with
a reason.
"""

import io

import numpy as np
import pytest
from PIL import Image

from catalog.squares import box_overlaps, cut_square
from mining.cropping.crop import CropConfig, cut, reject_person, sharpness, square_box
from mining.cropping.foreground import from_mask, from_skeleton
from mining.labelling.config import LabelConfig
from mining.segment import CropTar
from mining.sources.base import Detection


def person(box: tuple[float, float, float, float], mask: "np.ndarray | None" = None) -> Detection:
    """Someone upright whose keypoints lie on the middle line of the box."""
    x0, y0, x1, y1 = box
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:, 0] = (x0 + x1) / 2
    keypoints[:, 1] = np.linspace(y0, y1, 17)
    keypoints[:, 2] = 0.9
    return Detection(box_px=np.array(box, np.float32), keypoints_px=keypoints, score=0.9, mask=mask)


def test_the_crop_is_a_square_around_the_person() -> None:
    left, top, right, bottom = square_box(person((100, 50, 140, 250)), CropConfig(margin=1.2))
    assert right - left == bottom - top == 240
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((120, 150), abs=1)


def test_the_crop_shows_what_lies_in_its_square_in_the_right_colours() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    image[50:250, 100:140] = (200, 30, 10)
    crop = cut(image, person((100, 50, 140, 250)), [], CropConfig())
    pixels = np.asarray(Image.open(io.BytesIO(crop.jpeg)))
    assert pixels.shape == (256, 256, 3)
    assert pixels[128, 128].tolist() == pytest.approx((200, 30, 10), abs=12)
    assert pixels[128, 20].max() < 12


def test_beyond_the_frame_comes_padding_and_no_pixel_moves() -> None:
    image = np.arange(10 * 10 * 3, dtype=np.uint8).reshape(10, 10, 3)
    padded = cut_square(image, (-2, -3, 10, 9), (1, 2, 3))
    assert padded.shape == (12, 12, 3)
    assert (padded[3:, 2:] == image[:9, :10]).all()
    assert (padded[:3] == (1, 2, 3)).all() and (padded[:, :2] == (1, 2, 3)).all()


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((100, 100, 120, 150), "small"),
        ((-150, 50, 40, 290), "outside_frame"),
        ((100, 50, 160, 250), None),
    ],
)
def test_people_not_worth_cropping_are_rejected_with_the_figure(
    box: tuple[float, float, float, float], reason: str | None
) -> None:
    problem = reject_person(person(box), 300, 300, CropConfig())
    assert (problem and problem[0]) == reason


def test_a_person_without_keypoints_is_rejected() -> None:
    found = person((100, 50, 160, 250))
    found.keypoints_px[5:, 2] = 0.1
    assert reject_person(found, 300, 300, CropConfig()) == (
        "few_keypoints",
        "5 seen, at least 8 wanted",
    )


def hand(box: tuple[float, float, float, float], num_seen: int = 21) -> Detection:
    """A hand whose keypoints lie on the middle line of the box, the last ones not seen."""
    x0, y0, x1, y1 = box
    keypoints = np.zeros((21, 3), np.float32)
    keypoints[:, 0] = (x0 + x1) / 2
    keypoints[:, 1] = np.linspace(y0, y1, 21)
    keypoints[:num_seen, 2] = 0.9
    return Detection(
        box_px=np.array(box, np.float32), keypoints_px=keypoints, score=0.9, part="left_hand"
    )


def test_hands_have_bounds_and_margins_of_their_own() -> None:
    config = CropConfig(min_hand_px=32, hand_margin=1.5, min_hand_keypoints=10)
    assert reject_person(hand((100, 100, 120, 140)), 300, 300, config) is None
    found = reject_person(hand((100, 100, 120, 130)), 300, 300, config)
    assert found == ("small", "30 px, at least 32 wanted")
    found = reject_person(hand((100, 100, 120, 140), num_seen=9), 300, 300, config)
    assert found == ("few_keypoints", "9 seen, at least 10 wanted")
    left, _, right, _ = square_box(hand((100, 100, 120, 140)), config)
    assert right - left == 60


def test_a_crop_of_a_hand_is_measured_too() -> None:
    image = np.full((300, 300, 3), (210, 150, 120), np.uint8)
    crop = cut(image, hand((100, 100, 140, 180)), [person((0, 0, 60, 200))], CropConfig())
    assert crop.truncation == 0 and crop.occlusion == 0
    assert sum(crop.appearance) == pytest.approx(1, abs=0.01) and len(crop.appearance) == 19


def test_the_foreground_of_a_mask_is_the_share_of_each_cell() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:32, :33] = True
    cells = from_mask(mask)
    assert cells.shape == (32, 32)
    assert cells[0, 0] == 255 and cells[0, 16] == 128 and cells[20, 0] == 0


def test_the_foreground_of_a_skeleton_covers_the_body_and_little_else() -> None:
    found = person((100, 50, 160, 250))
    points = found.keypoints_px.copy()
    points[:, :2] = (points[:, :2] - (10, 30)) / 240
    cells = from_skeleton(points) > 127
    columns = np.flatnonzero(cells.any(axis=0))
    assert cells[8:24, 16].all()
    assert 0.03 < cells.mean() < 0.4
    assert columns.min() > 8 and columns.max() < 24


@pytest.mark.parametrize("config", [CropConfig, LabelConfig])
@pytest.mark.parametrize("given", [{"size_px": 8}, {"hand_margin": 0.0}, {"jpeg_quality": 101}])
def test_squares_that_cannot_be_cut_are_refused(config: type, given: dict[str, float]) -> None:
    with pytest.raises(
        ValueError, match=r"size_px of 16 or more, .*got .*\b" + str(*given.values())
    ):
        config(**given)


def test_boxes_overlap_by_intersection_over_union() -> None:
    boxes = np.array([[1.0, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6], [1, 1, 1, 1]])
    overlaps = box_overlaps(np.array([[0.0, 0, 2, 2], [1, 1, 1, 1]]), boxes)
    np.testing.assert_allclose(overlaps, [[1 / 3, 1, 0, 0], [0, 0, 0, 0]])
    assert box_overlaps(boxes, np.zeros((0, 4))).shape == (4, 0)


def test_blur_lowers_sharpness() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(sharp).resize((16, 16)).resize((256, 256)))
    cells = np.full((32, 32), 255, np.uint8)
    assert sharpness(smooth, cells) < 0.2 * sharpness(sharp, cells)


def test_a_tar_of_crops_tells_where_each_begins() -> None:
    import tarfile

    tar = CropTar()
    contents = {f"{k}.jpg": bytes([k]) * (300 * k + 1) for k in range(5)}
    offsets = {name: tar.add(name, data) for name, data in contents.items()}
    data = tar.close()
    for name, content in contents.items():
        assert data[offsets[name] : offsets[name] + len(content)] == content
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        assert {member.name: member.mtime for member in read} == dict.fromkeys(contents, 0)
