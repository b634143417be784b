"""HaGRID: a class for each box of a hand, given as shares of the image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.world import SIZE_PX, picture, write_image
from tests.labelling.checks import found_in, list_labelled, pixels_of, problems_in, samples_in

LANDMARKS = np.random.default_rng(8).uniform(0.2, 0.4, (21, 2))
LEFT = {
    "bboxes": [[0.7, 0.4, 0.1, 0.2], [0.2, 0.2, 0.2, 0.2]], "labels": ["no_gesture", "call"],
    "landmarks": [[], LANDMARKS.tolist()], "leading_hand": "left", "leading_conf": 1.0,
    "user_id": "anna",
}  # fmt: skip
UNTOLD = {"bboxes": [[0.2, 0.2, 0.2, 0.2]], "labels": ["call"], "user_id": "bert"}


def write_hagrid(root: Path, **images: dict[str, Any]) -> Path:
    tables = {"ann_train_val": images or {"b": LEFT, "a": UNTOLD}, "ann_test": {"t": UNTOLD}}
    for folder, table in tables.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "call.json").write_text(json.dumps(table))
        for number, name in enumerate(table):
            write_image(root / f"call/{name}.jpg", picture(number, [LANDMARKS * SIZE_PX]))
    return root


def test_each_box_is_a_hand_with_its_gesture_and_its_user(tmp_path: Path) -> None:
    units = samples_in("hagrid", write_hagrid(tmp_path))
    assert list(units) == ["ann_train_val/call 0 to 1", "ann_test/call 0 to 0"]
    train, test = units.values()
    assert [(s.name, s.part, s.gesture, s.subject, s.split) for s in (*train, *test)] == [
        ("a 0", "right_hand", "call", "bert", None),  # whose side is not told
        ("b 0", "right_hand", "no_gesture", "anna", None),  # the hand that does not lead
        ("b 1", "left_hand", "call", "anna", None),
        ("t 0", "right_hand", "call", "bert", "val"),
    ]
    other, leading = train[1].images[0], train[2].images[0]
    width, height = SIZE_PX
    assert np.allclose(leading.box_px, [0.2 * width, 0.2 * height, 0.4 * width, 0.4 * height])
    assert np.abs(leading.keypoints_px[:, :2] - LANDMARKS * SIZE_PX).max() < 0.01
    assert (leading.keypoints_px[:, 2] == 1).all() and (other.keypoints_px == 0).all()
    assert pixels_of(leading).shape == (height, width, 3)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"bboxes": [[0.2, 0.2, 0.2, 0.2], [0.1, 0.1, 0.0, 0.1]]}, "has no area"),
        ({"labels": ["no_gesture"]}, "IndexError"),
        ({"landmarks": [[], [[0.1, 0.1]]]}, "landmarks has shape"),
    ],
)
def test_a_broken_box_costs_itself(entries: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = found_in("hagrid", write_hagrid(tmp_path, a=UNTOLD, b=LEFT | entries))
    problems = problems_in(found)
    assert list(problems) == ["b 1"] and said in problems["b 1"]
    assert len(found["ann_train_val/call 0 to 1"]) == 3


def test_an_image_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    root = write_hagrid(tmp_path, a=UNTOLD, b=LEFT, c=UNTOLD)
    (root / "call/a.jpg").write_bytes(b"no image")
    (root / "call/c.jpg").unlink()
    [(_, reason, detail)] = list_labelled("hagrid", root).excluded
    assert reason == "missing" and detail.startswith("1 of the 3 images")
    problems = problems_in(found_in("hagrid", root))
    assert problems == {"a": "a.jpg is not an image that can be read"}


def test_folders_of_images_may_lie_elsewhere(tmp_path: Path) -> None:
    root = write_hagrid(tmp_path)
    (root / "512p").mkdir()
    (root / "call").rename(root / "512p/call")
    with pytest.raises(ValueError, match=r"nothing is left; the first: 2 of the 2 images"):
        list_labelled("hagrid", root)
    assert len(list_labelled("hagrid", root, images="512p").units) == 2
