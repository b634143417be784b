"""CMU Panoptic: calibration in centimetres, bodies and hands in space for each HD frame."""

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
    hand,
    list_dataset,
    picture,
    reader,
    write_image,
    write_video,
)

CAMERAS = {"00_00": camera_at(10), "00_01": camera_at(50), "00_02": camera_at(200)}
SEQUENCE, TEST = "170307_dance5", "160906_pizza1"
FRAMES, WITHOUT_POSES = range(4), 2
IDS = {0: 4, 1: 0}  # person to the body's id
MISSING = 15  # person 1's left ankle
PANOPTIC_FROM_17 = [None, 0, None, 5, 7, 9, 11, 13, 15, 6, 8, 10, 12, 14, 16, 1, 3, 2, 4]


def write_panoptic(root: Path) -> Path:
    for sequence in (SEQUENCE, TEST):
        folder = root / sequence
        (folder / "hdPose3d_stage1_coco19").mkdir(parents=True)
        cameras = [
            {
                "name": name, "type": "hd", "resolution": list(c.size_px), "panel": 0,
                "node": int(name[-2:]), "K": c.K.tolist(), "distCoef": c.distortion.tolist(),
                "R": c.R.tolist(), "t": (c.t[:, None] * 100).tolist(),
            }
            for name, c in CAMERAS.items()
        ]  # fmt: skip
        vga = {**cameras[0], "name": "01_01", "type": "vga"}
        calibration = {"calibDataSource": "160826_calib1_norm", "cameras": [vga, *cameras]}
        (folder / f"calibration_{sequence}.json").write_text(json.dumps(calibration))
        for f in FRAMES:
            if f == WITHOUT_POSES:
                continue
            bodies = []
            for person, number in IDS.items():
                truth = body(f, person) * 100
                joints = np.zeros((19, 4))
                for place, ours in enumerate(PANOPTIC_FROM_17):
                    joints[place, :3] = truth[[5, 6]].mean(0) if ours is None else truth[ours]
                joints[:, 3] = 0.15 + 0.03 * np.arange(19)  # as low as in real files
                if person == 1:
                    joints[PANOPTIC_FROM_17.index(MISSING)] = [0, 0, 0, -1]
                bodies.append({"id": number, "joints19": joints.ravel().tolist()})
            path = folder / f"hdPose3d_stage1_coco19/body3DScene_{f:08d}.json"
            path.write_text(
                json.dumps(
                    {"version": 0.7, "univTime": 1.0, "fpsType": "hd_29_97", "bodies": bodies}
                )
            )
        images = {
            name: [picture(f, [c.project(body(f, p)) for p in IDS]) for f in FRAMES]
            for name, c in CAMERAS.items()
        }
        write_video(folder / "hdVideos/hd_00_00.mp4", images["00_00"], 30)
        for f in FRAMES:
            write_image(folder / f"hdImgs/00_01/00_01_{f:08d}.jpg", images["00_01"][f])
    return root


def write_hands(folder: Path) -> None:
    (folder / "hdHand3d").mkdir()
    for f in FRAMES:
        people = [
            {
                "id": 0,
                **{
                    f"{side}_hand": {
                        "landmarks": (hand(f, side) * 100).ravel().tolist(),
                        "averageScore": [0.2] * 21,
                        "averageReproError": [1.0] * 21,
                        "validity": [True] * 21,
                    }
                    for side in ("left", "right")
                },
            }
        ]
        path = folder / f"hdHand3d/handRecon3D_hd{f:08d}.json"
        path.write_text(json.dumps({"version": 0.5, "univTime": 1.0, "people": people}))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panoptic(tmp_path_factory.mktemp("panoptic"))


def test_bodies_agree_with_their_cameras_in_videos_and_in_images(root: Path) -> None:
    listing = list_dataset("panoptic", root)
    [capture] = listing.captures
    assert capture.name == SEQUENCE and [view.name for view in capture.views] == ["00_00", "00_01"]
    assert listing.excluded == (
        (TEST, "evaluation", "commonly tested on (VoxelPose's list)"),
        (f"{SEQUENCE}/00_02", "no_footage", "neither its video nor its images are there"),
    )

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        assert [person.identity for person in people] == ["body 4", "body 0"]
        for k, person in enumerate(people):
            truth = body(frame.index, k)
            has = [j for j in range(17) if not (k == 1 and j == MISSING)]
            check_person(person, CAMERAS[view.name].project(truth), has, truth, view)

    assert each_frame(capture, check) == {"00_00": [0, 1, 3], "00_01": [0, 1, 3]}


def test_hands_belong_to_their_body(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path)
    write_hands(root / SEQUENCE)
    [capture] = list_dataset("panoptic", root).captures
    assert capture.annotated == ("body", "hands")

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        hands = people[2:]
        assert [person.part for person in hands] == ["left_hand", "right_hand"]
        for side, person in zip(("left", "right"), hands, strict=True):
            truth = hand(frame.index, side)
            check_person(person, CAMERAS[view.name].project(truth), range(21), truth, view)
            assert person.identity == "body 0" and person.body == 1
            assert people[person.body].identity == "body 0"

    each_frame(capture, check)


def test_a_broken_frame_costs_itself_and_a_broken_calibration_its_sequence(tmp_path: Path) -> None:
    root = write_panoptic(tmp_path)
    (root / SEQUENCE / "hdPose3d_stage1_coco19/body3DScene_00000001.json").write_text("{}")
    (root / TEST / f"calibration_{TEST}.json").write_text('{"cameras": [{"type": "hd"}]}')
    listing = list_dataset("panoptic", root, include_evaluation=True)
    [problem] = listing.problems
    assert (problem.unit, problem.error) == (TEST, f"calibration_{TEST}.json lacks the entry 'R'")
    [capture] = listing.captures
    for view in capture.views:
        frames = []
        with pytest.raises(BrokenOffError, match=r"body3DScene_00000001\.json lacks"):
            for frame in reader().frames(view.uri, [0, 0.04, 0.1]):
                frames.append(frame.index)
        assert frames == [0, 3]
