"""Plain COCO keypoints: sequences by video, by folder or none; COCO-WholeBody's hands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.keypoints import COCO_KEYPOINTS
from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    body,
    camera_at,
    check_person,
    each_frame,
    hand,
    list_dataset,
    picture,
    write_image,
)

CAMERA = camera_at(25, distorted=False)
HAND_CAMERA = camera_at(80, 0.9, focal_px=280.0, distorted=False)
UNLABELLED = 16  # the right ankle of person 1


def write_coco(
    root: Path, name: str, files: list[str], folder: str = "train2017", hands: bool = False,
    **more: list[dict[str, Any]],
) -> None:  # fmt: skip
    """`more`: entries to add to each image or annotation."""
    images, annotations = [], []
    for f, file in enumerate(files):
        shown = [CAMERA.project(body(f, person)) for person in (0, 1)]
        fingers = {s: HAND_CAMERA.project(hand(f, s)) for s in ("left", "right")} if hands else {}
        write_image(root / folder / file, picture(f, [*shown, *fingers.values()]))
        images.append(
            {"id": 100 + f, "file_name": file, "width": 320, "height": 240, "license": 1}
            | more.get("images", [{}] * len(files))[f]
        )
        for person, pixels in enumerate(shown):
            keypoints = np.column_stack([pixels, np.full(17, 2)])
            if person == 1:
                keypoints[UNLABELLED] = 0
            low, high = pixels.min(0) - 3, pixels.max(0) + 3
            entry = {
                "id": 1000 + 10 * f + person, "image_id": 100 + f, "category_id": 1, "area": 9.0,
                "bbox": [*low.tolist(), *(high - low).tolist()], "iscrowd": 0,
                "keypoints": keypoints.ravel().tolist(), "num_keypoints": 17, "segmentation": [],
            }  # fmt: skip
            for side in ("left", "right") if hands else ():
                points = fingers[side]
                low, high = points.min(0) - 3, points.max(0) + 3
                entry |= {
                    f"{side}hand_box": [*low.tolist(), *(high - low).tolist()],
                    f"{side}hand_kpts": np.column_stack([points, np.ones(21)]).ravel().tolist(),
                    f"{side}hand_valid": person == 1,
                }
            if "tracks" in more:
                entry["track_id"] = more["tracks"][0]["of"][person]
            annotations.append(entry)
        annotations.append({**annotations[-1], "id": 9000 + f, "iscrowd": 1})
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS), "skeleton": []}]
    path = root / f"annotations/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def check_frame(frame: Frame, people: tuple[Detection, ...], names: list[str | None]) -> None:
    assert [person.identity for person in people[:2]] == names
    for k, person in enumerate(people[:2]):
        pixels = CAMERA.project(body(frame.index % 100, k))
        check_person(person, pixels, [j for j in range(17) if not (k == 1 and j == UNLABELLED)])
        assert np.abs(person.box_px[:2] - (pixels.min(0) - 3)).max() < 0.01


def test_images_with_a_video_are_one_sequence_with_named_tracks(tmp_path: Path) -> None:
    frames = [{"video_id": 3, "frame_id": f} for f in range(3)]
    files = [f"a/{f}.jpg" for f in range(3)]
    write_coco(tmp_path, "people_train2017", files, images=frames, tracks=[{"of": [8, 5]}])
    [capture] = list_dataset("coco", tmp_path).captures
    assert capture.name == "people_train2017/video 3" and capture.annotated == ("body",)

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        assert len(people) == 2, "a crowd is nobody"
        check_frame(frame, people, ["track 8", "track 5"])

    assert each_frame(capture, check) == {"camera": [0, 1, 2]}


def test_a_folder_can_be_a_sequence_and_other_images_stand_alone(tmp_path: Path) -> None:
    write_coco(tmp_path, "keypoints", ["walk/f9.jpg", "walk/f10.jpg"], folder="images")
    alone = list_dataset("coco", tmp_path).captures
    assert [c.name for c in alone] == ["keypoints/walk/f9", "keypoints/walk/f10"]
    [capture] = list_dataset("coco", tmp_path, sequences="folder").captures

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        check_frame(frame, people, [None, None])

    assert each_frame(capture, check) == {"camera": [0, 1]}, "f10 comes after f9"
    with pytest.raises(ValueError, match="sequences must be video or folder"):
        list_dataset("coco", tmp_path, sequences="all")


def test_hands_of_wholebody_belong_to_their_person(tmp_path: Path) -> None:
    write_coco(tmp_path, "coco_wholebody_train_v1.0", ["1.jpg"], folder="images", hands=True)
    [capture] = list_dataset("coco", tmp_path).captures
    assert capture.annotated == ("body", "hands")

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        check_frame(frame, people, [None, None])
        assert [(p.part, p.body) for p in people[2:]] == [("left_hand", 1), ("right_hand", 1)]
        for side, person in zip(("left", "right"), people[2:], strict=True):
            check_person(person, HAND_CAMERA.project(hand(frame.index, side)), range(21))

    each_frame(capture, check)


def test_validation_files_are_left_out_and_broken_ones_cost_themselves(tmp_path: Path) -> None:
    write_coco(tmp_path, "person_keypoints_train2017", ["1.jpg", "2.jpg"])
    write_coco(tmp_path, "person_keypoints_val2017", ["3.jpg"], folder="val2017")
    (tmp_path / "annotations/broken.json").write_text("{")
    (tmp_path / "train2017/2.jpg").unlink()
    listing = list_dataset("coco", tmp_path)
    assert [c.name for c in listing.captures] == ["person_keypoints_train2017/1"]
    assert [c[0] for c in listing.excluded] == ["person_keypoints_val2017"]
    errors = {problem.unit: problem.error for problem in listing.problems}
    assert errors["broken"].startswith("broken.json: Expecting property name")
    assert errors["person_keypoints_train2017/2"].startswith(
        "none of its 1 annotated images is there"
    )
    both = list_dataset("coco", tmp_path, include_evaluation=True)
    assert [c.split for c in both.captures] == [None, "val"]


def test_joints_of_another_order_are_found_by_name_or_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, "named", ["1.jpg"], folder="images")
    path = tmp_path / "annotations/named.json"
    table = json.loads(path.read_text())
    order = [*range(16, -1, -1)]
    table["categories"][0]["keypoints"] = [COCO_KEYPOINTS[k] for k in order]
    for entry in table["annotations"]:
        entry["keypoints"] = np.reshape(entry["keypoints"], (17, 3))[order].ravel().tolist()
    path.write_text(json.dumps(table))
    [capture] = list_dataset("coco", tmp_path).captures
    each_frame(capture, lambda view, frame, people: check_frame(frame, people, [None, None]))
    table["categories"][0]["keypoints"] = [f"fin {k}" for k in range(17)]
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match="not COCO's but fin 0"):
        list_dataset("coco", tmp_path)
