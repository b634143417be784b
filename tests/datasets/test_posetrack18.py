"""PoseTrack18: JSON of each video, given boxes and tracks, frames that are not labelled."""

import json
from pathlib import Path

import numpy as np
import pytest

from mining.sources.base import BrokenOffError, Detection, Frame, View
from tests.datasets.world import (
    body,
    camera_at,
    check_person,
    each_frame,
    list_dataset,
    picture,
    reader,
    write_image,
)
from tests.forbidden import forbid

CAMERA = camera_at(15, distorted=False)
NUM_FRAMES, UNLABELLED, EMPTY = 6, 2, 4
TRACKS = {0: 7, 1: 3}  # person to track id
NAMES = ["nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder"]


def truth(frame: int, person: int) -> np.ndarray:
    return CAMERA.project(body(frame, person))


def write_posetrack(root: Path, videos: dict[str, str]) -> Path:
    """`videos`: name to split."""
    for video, split in videos.items():
        images, annotations = [], []
        for f in range(NUM_FRAMES):
            image_id = 10000010000000 + 10000 * int(video[:6]) + f
            name = f"images/{split}/{video}/{f:06d}.jpg"
            labelled = f != UNLABELLED
            images.append(
                {
                    "has_no_densepose": True, "is_labeled": labelled, "file_name": name,
                    "nframes": NUM_FRAMES, "frame_id": image_id, "vid_id": video[:6],
                    "id": image_id, "width": 320, "height": 240, "ignore_regions_x": [],
                    "ignore_regions_y": [],
                }
            )  # fmt: skip
            pixels = [truth(f, person) for person in TRACKS]
            write_image(root / name, picture(f, pixels))
            for person, track in TRACKS.items():
                if not labelled or f == EMPTY:
                    continue
                keypoints = np.zeros((17, 3))
                keypoints[:, :2] = pixels[person]
                keypoints[:, 2] = 1
                keypoints[1], keypoints[2] = [5, 6, 1], [7, 8, 1]  # bottom and top of the head
                keypoints[3:5] = 0  # ears are never annotated
                low, high = pixels[person].min(0) - 4, pixels[person].max(0) + 4
                annotations.append(
                    {
                        "bbox_head": [1, 2, 3, 4], "keypoints": keypoints.ravel().tolist(),
                        "track_id": track, "image_id": image_id, "id": image_id * 100 + person,
                        "bbox": [*low.tolist(), *(high - low).tolist()], "scores": [],
                        "category_id": 1, "iscrowd": False, "num_keypoints": 15,
                    }
                )  # fmt: skip
        path = root / f"annotations/{split}/{video}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        categories = [{"id": 1, "name": "person", "keypoints": NAMES}]
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posetrack(
        tmp_path_factory.mktemp("posetrack"),
        {"000001_mpii_train": "train", "000002_mpii_train": "train", "000003_mpii_test": "val"},
    )


def test_given_boxes_keypoints_and_tracks_are_taken(root: Path) -> None:
    listing = list_dataset("posetrack18", root)
    assert [c.name for c in listing.captures] == ["000001_mpii_train", "000002_mpii_train"]
    assert [name for name, *_ in listing.excluded] == ["000003_mpii_test"]

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        if frame.index == EMPTY:
            assert people == ()  # labelled, and nobody in it
            return
        assert [person.identity for person in people] == ["track 7", "track 3"]
        for k, person in enumerate(people):
            pixels = truth(frame.index, k)
            check_person(person, pixels, [0, *range(5, 17)])
            corners = [*(pixels.min(0) - 4), *(pixels.max(0) + 4)]
            assert np.abs(person.box_px - corners).max() < 0.01

    numbers = each_frame(listing.captures[0], check)
    assert numbers == {"camera": [0, 1, 3, 4, 5]}, "frame 2 is not labelled"


def test_broken_files_cost_their_video_and_broken_images_their_frame(tmp_path: Path) -> None:
    root = write_posetrack(
        tmp_path, {"000001_mpii_train": "train", "000002_a": "train", "000003_b": "train"}
    )
    (root / "annotations/train/000002_a.json").write_text('{"images": [')
    (root / "annotations/train/000003_b.json").write_text('{"images": []}')
    (root / "images/train/000001_mpii_train/000003.jpg").write_bytes(b"no image")
    (root / "images/train/000001_mpii_train/000005.jpg").unlink()
    listing = list_dataset("posetrack18", root)
    errors = {problem.unit: problem.error for problem in listing.problems}
    assert errors["000002_a"].startswith("000002_a.json: ")
    assert errors["000003_b"] == "000003_b.json lacks the entry 'annotations'"
    [capture] = listing.captures
    frames = []
    with pytest.raises(BrokenOffError, match=r"000003\.jpg is not an image") as caught:
        uri = capture.views[0].uri
        for frame in reader().frames(uri, [k / 25 for k in range(6)]):
            frames.append(frame.index)
    assert frames == [0, 1, 4] and caught.value.num_lost == 1


def test_an_image_that_may_not_be_read_costs_its_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = list_dataset("posetrack18", write_posetrack(tmp_path, {"000001_a": "train"}))
    forbid(monkeypatch, "000003.jpg")
    uri = listing.captures[0].views[0].uri
    frames = []
    with pytest.raises(BrokenOffError, match=r"000003\.jpg cannot be read: Permission denied"):
        for frame in reader().frames(uri, [k / 25 for k in range(6)]):
            frames.append(frame.index)
    assert frames == [0, 1, 4, 5]


def test_the_fingerprint_changes_with_the_annotations(tmp_path: Path) -> None:
    root = write_posetrack(tmp_path, {"000001_a": "train", "000002_b": "train"})
    first = [c.views[0].fingerprint for c in list_dataset("posetrack18", root).captures]
    path = root / "annotations/train/000001_a.json"
    path.write_text(path.read_text().replace('"track_id": 7', '"track_id": 8'))
    second = [c.views[0].fingerprint for c in list_dataset("posetrack18", root).captures]
    assert first[0] != second[0] and first[1] == second[1]
