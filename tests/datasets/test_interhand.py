"""InterHand2.6M: JSON of COCO's kind, camera centres in millimetres, fingers from the tip."""

import json
from pathlib import Path

import numpy as np
import pytest

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    camera_at,
    check_person,
    each_frame,
    hand,
    list_dataset,
    picture,
    write_image,
)

CAMERAS = {
    name: camera_at(angle, 0.7, (0.0, 0.0, 0.9), 400.0, distorted=False)
    for name, angle in (("400262", 60), ("400263", 100), ("410001", 150))
}
SEQUENCES = {"0001_neutral_relaxed": (18010, 18011, 18013), "ROM01_No_Interaction_2_Hand": (18501,)}
TYPES = {18010: "right", 18011: "right", 18013: "left", 18501: "interacting"}
INVALID = 12  # of the left hand, in our order: the middle finger's tip
FIRST = {"right": 0, "left": 21}


def to_interhand(joints: np.ndarray) -> np.ndarray:
    """Our hand (21, ...) to tip-to-base fingers, wrist last."""
    fingers = [joints[1 + 4 * f : 5 + 4 * f][::-1] for f in range(5)]
    return np.concatenate([*fingers, joints[:1]])


def write_interhand(root: Path, split: str = "train") -> Path:
    cameras: dict[str, dict[str, object]] = {
        "campos": {k: (c.centre * 1000).tolist() for k, c in CAMERAS.items()},
        "camrot": {k: c.R.tolist() for k, c in CAMERAS.items()},
        "focal": {k: [c.K[0, 0], c.K[1, 1]] for k, c in CAMERAS.items()},
        "princpt": {k: [c.K[0, 2], c.K[1, 2]] for k, c in CAMERAS.items()},
    }
    images, annotations, joints = [], [], {}
    for sequence, frames in SEQUENCES.items():
        for f in frames:
            world = {side: hand(f % 10, side) for side in FIRST}
            sides = [s for s in FIRST if TYPES[f] in (s, "interacting")]
            valid = np.zeros((42, 1), dtype=int)
            coordinates = np.zeros((42, 3))
            for side in sides:
                places = slice(FIRST[side], FIRST[side] + 21)
                coordinates[places] = to_interhand(world[side]) * 1000
                ours = np.arange(21) != INVALID if side == "left" else np.ones(21)
                valid[places, 0] = to_interhand(ours)
            joints[str(f)] = {
                "world_coord": coordinates.tolist(), "joint_valid": valid.tolist(),
                "hand_type": TYPES[f], "hand_type_valid": 1,
            }  # fmt: skip
            for name, camera in CAMERAS.items():
                pixels = [camera.project(world[side]) for side in sides]
                file = f"Capture0/{sequence}/cam{name}/image{f}.jpg"
                write_image(root / "images" / split / file, picture(f, pixels))
                low, high = np.concatenate(pixels).min(0) - 9, np.concatenate(pixels).max(0) + 9
                number = len(images)
                images.append(
                    {
                        "id": number, "file_name": file, "width": 320, "height": 240,
                        "capture": 0, "subject": 5, "seq_name": sequence, "camera": name,
                        "frame_idx": f,
                    }
                )  # fmt: skip
                annotations.append(
                    {
                        "id": number, "image_id": number,
                        "bbox": [*low.tolist(), *(high - low).tolist()],
                        "joint_valid": valid.tolist(), "hand_type": TYPES[f],
                        "hand_type_valid": 1,
                    }
                )  # fmt: skip
    folder = root / "annotations/all"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, table in (
        ("data", {"images": images, "annotations": annotations}),
        ("camera", {"0": cameras}),
        ("joint_3d", {"0": joints}),
    ):
        (folder / f"InterHand2.6M_{split}_{kind}.json").write_text(json.dumps(table))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("interhand")
    write_interhand(root, "test")
    return write_interhand(root)


def test_hands_are_those_of_the_right_side_in_the_right_order(root: Path) -> None:
    listing = list_dataset("interhand", root)
    assert [c.name for c in listing.captures] == [f"train/Capture0/{name}" for name in SEQUENCES]

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        kind = TYPES[frame.index]
        sides = [side for side in ("right", "left") if kind in (side, "interacting")]
        assert [person.part for person in people] == [f"{side}_hand" for side in sides]
        for side, person in zip(sides, people, strict=True):
            truth = hand(frame.index % 10, side)
            pixels = CAMERAS[view.name.removeprefix("cam")].project(truth)
            there = [k for k in range(21) if side == "right" or k != INVALID]
            check_person(person, pixels, there, truth, view)
            assert person.identity == "subject 5" and person.body is None
            if kind == side:
                assert np.abs(person.box_px[:2] - (pixels.min(0) - 9)).max() < 0.5

    for capture, frames in zip(listing.captures, SEQUENCES.values(), strict=True):
        assert capture.annotated == ("hands",) and capture.subject == "subject 5"
        numbers = each_frame(capture, check)
        assert numbers == {f"cam{name}": list(frames) for name in CAMERAS}


def test_val_and_test_are_left_out(root: Path) -> None:
    listing = list_dataset("interhand", root)
    assert listing.excluded == (("test", "evaluation", "test is evaluation data of interhand"),)
    both = list_dataset("interhand", root, include_evaluation=True)
    assert {(c.name.split("/")[0], c.split) for c in both.captures} == {
        ("train", None),
        ("test", "val"),
    }


def test_a_camera_without_images_costs_its_view(tmp_path: Path) -> None:
    root = write_interhand(tmp_path)
    for path in (root / "images/train/Capture0/0001_neutral_relaxed/cam400262").iterdir():
        path.unlink()
    listing = list_dataset("interhand", root)
    assert [len(capture.views) for capture in listing.captures] == [2, 3]
    [problem] = listing.problems
    assert problem.unit == "train/Capture0/0001_neutral_relaxed/cam400262"
