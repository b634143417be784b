"""Foreground maps against the masks of rendered people, and masks by models that others bring."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from catalog.squares import cut_square
from mining.cropping.crop import CropConfig, cut, square_box
from mining.cropping.foreground import from_mask, from_skeleton
from mining.detecting.config import DetectConfig
from mining.detecting.look import Looker
from mining.detecting.masks import UltralyticsSegmenter, make_segmenter, match_masks
from mining.detecting.weights import detector_key
from mining.sources.base import Detection, Frame
from tests.plugins import install_plugin
from tests.rendered import pictures, share_visible

LEFT_HALF = """
import numpy as np
class Segmenter:
    def __init__(self, config): pass
    def masks(self, image, people):
        mask = np.zeros(image.shape[:2], bool)
        mask[:, : image.shape[1] // 2] = True
        return [mask if place == 0 else None for place in range(len(people))]
"""


def body(box: tuple[float, ...], mask: NDArray[np.bool_] | None = None) -> Detection:
    x0, y0, x1, y1 = box
    points = np.ones((17, 3), np.float32)
    points[:, :2] = np.linspace((x0, y0), (x1, y1), 17)
    return Detection(box_px=np.array(box, np.float32), keypoints_px=points, score=0.9, mask=mask)


def maps(person: Detection) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The maps (32, 32) of shares from a detection's skeleton and from its mask."""
    box_px = square_box(person, CropConfig())
    points = person.keypoints_px.copy()
    points[:, :2] = (points[:, :2] - box_px[:2]) / (box_px[2] - box_px[0])
    assert person.mask is not None
    truth = from_mask(cut_square(person.mask.astype(np.uint8), box_px, 0) > 0)
    return from_skeleton(points) / 255, truth / 255


def overlap(drawn: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.minimum(drawn, truth).sum() / np.maximum(drawn, truth).sum())


def test_the_skeleton_of_a_body_draws_its_mask() -> None:
    pairs = [maps(person) for _, person, _ in pictures()]
    assert np.mean([overlap(*pair) for pair in pairs]) > 0.74
    assert 0.85 < np.mean([drawn.sum() / truth.sum() for drawn, truth in pairs]) < 1.15


def test_the_skeleton_of_a_hand_draws_its_mask() -> None:
    pairs = [
        maps(hand)
        for _, _, hands in pictures()
        for hand in hands.values()
        if share_visible(hand) >= 0.6
    ]
    assert len(pairs) >= 5
    assert np.mean([overlap(*pair) for pair in pairs]) > 0.65


def test_the_bodies_that_others_hide_keep_their_place() -> None:
    points = np.zeros((17, 3), np.float32)
    assert not from_skeleton(points).any()  # nothing seen, nothing drawn
    points[9] = (0.5, 0.5, 1.0)  # a wrist alone
    cells = from_skeleton(points)
    assert cells[15, 15] > 0 and (cells > 0).mean() < 0.05


def test_a_skeleton_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="17 or 21 keypoints, got 25"):
        from_skeleton(np.ones((25, 3), np.float32))


def test_masks_go_one_to_one_to_the_people_they_overlap_most() -> None:
    people = [body((0, 0, 10, 10)), body((6, 0, 16, 10)), body((50, 50, 60, 60))]
    boxes = np.array([[5, 0, 15, 10], [1, 0, 11, 10], [80, 80, 90, 90]], np.float32)
    masks = [np.full((2, 2), place == 0) for place in range(3)]
    first, second, third = match_masks(boxes, masks, people)
    assert first is masks[1] and second is masks[0] and third is None
    assert match_masks(np.zeros((0, 4), np.float32), [], people) == [None] * 3


def test_a_segmenter_of_another_package_makes_the_foreground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "[crosspairs.segmenters]\nhalf = half_segmenter:Segmenter\n"
    monkeypatch.syspath_prepend(install_plugin(tmp_path, "half_segmenter", LEFT_HALF, points))
    given = np.ones((200, 200), bool)
    people = (body((20, 20, 180, 180)), body((30, 20, 150, 180)), body((20, 20, 180, 180), given))
    frame = Frame(index=0, time_s=0.0, image=np.full((200, 200, 3), 90, np.uint8), people=people)
    looker = Looker(DetectConfig(parts=("body",), masks="half"))
    bodies = looker.look(frame, ("body",), lambda person: None).bodies
    crops = [cut(frame.image, person, (), CropConfig()) for person in bodies]
    assert [crop.foreground_source for crop in crops] == ["model", "skeleton", "mask"]
    assert crops[0].foreground[16, 4] == 255 and crops[0].foreground[16, 28] == 0


def test_an_ultralytics_network_gives_masks_of_the_frames_size(tmp_path: Path) -> None:
    from ultralytics import YOLO

    weights = tmp_path / "random-seg.pt"
    YOLO("yolo11n-seg.yaml", verbose=False).save(weights)
    config = DetectConfig(masks=str(weights), confidence=0.001, input_px=96)
    segmenter = make_segmenter(config)
    assert isinstance(segmenter, UltralyticsSegmenter)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    found = segmenter.model.predict(image[..., ::-1], conf=0.001, imgsz=96, verbose=False)[0]
    boxes = [body(tuple(box)) for box in found.boxes.xyxy.numpy()[:3]]
    masks = segmenter.masks(image, boxes or [body((0, 0, 50, 80))])
    assert len(masks) == max(1, len(boxes))
    assert all(mask is None or (mask.shape, mask.dtype) == ((90, 120), bool) for mask in masks)
    assert segmenter.masks(image, []) == []
    moved = weights.rename(tmp_path / "elsewhere.pt")
    assert detector_key(config) != detector_key(DetectConfig())
    again = DetectConfig(masks=str(moved), confidence=0.001, input_px=96)
    weights.write_bytes(moved.read_bytes())
    assert detector_key(config) == detector_key(again)


def test_a_network_for_something_else_is_refused(tmp_path: Path) -> None:
    from ultralytics import YOLO

    weights = tmp_path / "pose.pt"
    YOLO("yolo11n-pose.yaml", verbose=False).save(weights)
    with pytest.raises(ValueError, match="holds a network for pose, not for segment"):
        UltralyticsSegmenter(DetectConfig(masks=str(weights))).masks(
            np.zeros((64, 64, 3), np.uint8), [body((0, 0, 50, 50))]
        )


def test_an_unknown_segmenter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"detect.masks=sam: unknown; there are: none"):
        make_segmenter(DetectConfig(masks="sam"))
