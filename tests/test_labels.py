"""Labelled samples: what is written is read back, and what is damaged is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from shards.labels import Body, ImageLabel, Label, decode_label, encode_label


def make_label(kind: str = "single") -> Label:
    rng = np.random.default_rng(0)
    image = ImageLabel(
        source="scene.mp4#7",
        box_px=np.array([-3.5, 10, 252.5, 266]),
        person_box_px=np.array([4.0, 8, 120, 250]),
        keypoints_px=rng.uniform(0, 256, (17, 3)).round(2),
        joints_cam_m=rng.normal(size=(17, 4)).round(6),
        pixels_from_cam=np.array([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]),
        body=Body(
            model="smpl",
            pose_rad=rng.normal(size=(24, 3)).round(6),
            shape=np.zeros(10),
            translation_m=np.array([0.1, -0.2, 3.0]),
            gender="female",
        ),
        dense_points=np.array([[10.0, 20, 3, 0.25, 0.75]]),
        dense_chart="densepose",
    )
    return Label(
        label_id="0" * 16, dataset="toy", kind=kind, part="body", split="train",
        images=(image,) if kind == "single" else (image, replace(image, body=None)),
        subject="ann",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["single", "two_view"])
def test_a_label_is_read_back_as_it_was_written(kind: str) -> None:
    label = make_label(kind)
    data = encode_label(label)
    again = decode_label(json.loads(data))
    assert encode_label(again) == data
    assert again.subject == "ann" and len(again.images) == (2 if kind == "two_view" else 1)
    np.testing.assert_array_equal(again.images[0].body.pose_rad, label.images[0].body.pose_rad)
    np.testing.assert_array_equal(again.images[0].dense_points, label.images[0].dense_points)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "triple"}, "unknown kind 'triple'"),
        ({"part": "foot"}, "unknown part 'foot'"),
        ({"part": "left_hand"}, "keypoints_px is not 21 x 3 finite numbers: it is 17 x 3"),
        ({"a": None}, "damaged"),
        ({"a": {"source": ""}}, "has no 'box_px'"),
    ],
)
def test_damage_is_named(change: dict, reason: str) -> None:
    values = json.loads(encode_label(make_label()))
    with pytest.raises(ValueError, match=reason):
        decode_label({**values, **change})


def test_numbers_that_are_not_finite_are_not_written() -> None:
    label = make_label()
    bad = replace(label.images[0], joints_cam_m=np.full((17, 4), np.nan))
    with pytest.raises(ValueError, match="joints_cam_m is not 17 x 4 finite"):
        encode_label(replace(label, images=(bad,)))
