"""COCO-DensePose: points that run from 0 to 255 across a person's box."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.world import SIZE_PX, body, camera_at, picture, write_image
from tests.labelling.checks import found_in, list_labelled, pixels_of, problems_in, samples_in

CAMERA = camera_at(30, distorted=False)
RNG = np.random.default_rng(6)
POINTS = {
    "dp_x": RNG.uniform(0, 255, 40), "dp_y": RNG.uniform(0, 255, 40),
    "dp_I": RNG.integers(1, 25, 40).astype(float), "dp_U": RNG.uniform(0, 1, 40),
    "dp_V": RNG.uniform(0, 1, 40),
}  # fmt: skip
BOX = [80.0, 40.0, 100.0, 150.0]


def person(number: int, image: int, **entries: Any) -> dict[str, Any]:
    keypoints = np.column_stack([CAMERA.project(body(image, number)), np.full(17, 2.0)])
    keypoints[3] = 0
    return {
        "id": 10 * image + number, "image_id": image, "category_id": 1, "iscrowd": 0,
        "bbox": BOX, "keypoints": keypoints.ravel().tolist(), "num_keypoints": 16,
        "dp_masks": [[] for _ in range(14)],
        **{name: values.tolist() for name, values in POINTS.items()},
    } | entries  # fmt: skip


def write_densepose(root: Path, annotations: list[dict[str, Any]] | None = None) -> Path:
    for split, year in (("train", "train2014"), ("minival", "val2014")):
        images = [
            {"id": n, "file_name": f"COCO_{year}_{n:012d}.jpg", "width": 320, "height": 240}
            for n in range(3)
        ]
        people = annotations or [person(0, 0), person(1, 0), person(0, 1)]
        bare = {"id": 99, "image_id": 2, "bbox": BOX, "category_id": 1, "iscrowd": 0}
        path = root / f"annotations/densepose_coco_2014_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": [*people, bare]}))
        for image in images:
            pixels = [CAMERA.project(body(image["id"], 0))]
            write_image(root / year / str(image["file_name"]), picture(image["id"], pixels))
    return root


def test_points_lie_in_the_box_of_their_person(tmp_path: Path) -> None:
    units = samples_in("coco-densepose", write_densepose(tmp_path))
    assert list(units) == ["densepose_coco_2014_minival 0 to 1", "densepose_coco_2014_train 0 to 1"]
    minival, train = units.values()
    assert {sample.split for sample in minival} == {"val"}
    assert {sample.split for sample in train} == {None}
    assert [sample.name for sample in train] == [
        "COCO_train2014_000000000000.jpg 0",
        "COCO_train2014_000000000000.jpg 1",
        "COCO_train2014_000000000001.jpg 10",
    ]
    assert train[0].split_by == train[1].split_by != train[2].split_by, "no image in both splits"
    [image] = train[2].images
    assert image.dense_chart == "densepose" and image.dense_points is not None
    x, y, part, u, v = image.dense_points.T
    assert np.allclose(x, 80 + 100 * POINTS["dp_x"] / 255)
    assert np.allclose(y, 40 + 150 * POINTS["dp_y"] / 255)
    assert (part == POINTS["dp_I"]).all() and (u == POINTS["dp_U"]).all()
    assert (v == POINTS["dp_V"]).all()
    assert image.box_px.tolist() == [80, 40, 180, 190]
    truth = CAMERA.project(body(1, 0))
    has = [k for k in range(17) if k != 3]
    assert np.abs(image.keypoints_px[has, :2] - truth[has]).max() < 0.01
    assert image.keypoints_px[:, 2].tolist() == [float(k != 3) for k in range(17)]
    assert pixels_of(image).shape == (SIZE_PX[1], SIZE_PX[0], 3)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"dp_I": [25.0] * 40}, "dp_I must be from 1 to 24"),
        ({"dp_U": [0.5] * 39}, "of different lengths"),
        ({"bbox": [10, 10, 0, 5]}, "has no area"),
        ({"dp_V": None}, "dp_V"),
    ],
)
def test_a_broken_annotation_costs_itself(
    entries: dict[str, Any], said: str, tmp_path: Path
) -> None:
    root = write_densepose(tmp_path, [person(0, 0, **entries), person(1, 0)])
    found = found_in("coco-densepose", root)
    assert [len(unit) for unit in found.values()] == [2, 2]
    problems = problems_in(found)
    assert len(problems) == 2 and all(said in error for error in problems.values())


def test_images_that_are_not_there_are_counted(tmp_path: Path) -> None:
    root = write_densepose(tmp_path)
    (root / "train2014/COCO_train2014_000000000000.jpg").unlink()
    listing = list_labelled("coco-densepose", root)
    [(name, reason, detail)] = listing.excluded
    assert (name, reason) == ("densepose_coco_2014_train", "missing")
    assert detail.startswith("1 of the 2 images of densepose_coco_2014_train are not there, as ")
