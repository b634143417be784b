"""3DPW: pickles as Python 2 wrote them, one moving camera, one or two people."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    TrueCamera,
    body,
    camera_at,
    check_person,
    each_frame,
    list_dataset,
    picture,
    write_image,
)

NUM_FRAMES = 4
HIDDEN, UNSEEN, UNALIGNED = (1, 2), 3, 0  # person 1 in frame 2; all in 3; frame 0's camera
COCO18_FROM_17 = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
SMPL_FROM_17 = {1: 11, 2: 12, 4: 13, 5: 14, 7: 15, 8: 16, 16: 5, 17: 6, 18: 7, 19: 8, 20: 9, 21: 10}


def camera_of(frame: int) -> TrueCamera:
    return camera_at(20 + 3 * frame, distorted=False)


def to_coco18(pixels: np.ndarray) -> np.ndarray:
    """(17, 2) to (3, 18); the neck lies between the shoulders."""
    rows = [(pixels[5] + pixels[6]) / 2 if k is None else pixels[k] for k in COCO18_FROM_17]
    return np.column_stack([np.array(rows), np.full(18, 0.9)]).T


def write_3dpw(root: Path) -> Path:
    for split, sequence in (
        ("train", "courtyard_arguing_00"),
        ("validation", "courtyard_drinking_00"),
        ("test", "downtown_walking_00"),
    ):
        people = (0, 1)
        pixels = [[camera_of(f).project(body(f, p)) for f in range(NUM_FRAMES)] for p in people]
        poses = np.array([[to_coco18(pixels[p][f]) for f in range(NUM_FRAMES)] for p in people])
        poses[HIDDEN] = 0
        poses[:, UNSEEN] = 0
        joints = np.full((2, NUM_FRAMES, 24, 3), 0.123)
        for place, ours in SMPL_FROM_17.items():
            for p in people:
                for f in range(NUM_FRAMES):
                    joints[p, f, place] = body(f, p)[ours]
        cameras = np.tile(np.eye(4), (NUM_FRAMES, 1, 1))
        for f in range(NUM_FRAMES):
            cameras[f, :3, :3], cameras[f, :3, 3] = camera_of(f).R, camera_of(f).t
        valid = np.ones((2, NUM_FRAMES), dtype=int)
        valid[:, UNALIGNED] = 0
        table = {
            "sequence": sequence,
            "betas": [np.zeros(10) for _ in people],
            "poses": [np.zeros((NUM_FRAMES, 72)) for _ in people],
            "trans": [np.zeros((NUM_FRAMES, 3)) for _ in people],
            "poses_60Hz": [np.zeros((2 * NUM_FRAMES, 72)) for _ in people],
            "genders": ["m", "f"],
            "texture_maps": [],
            "poses2d": list(poses),
            "jointPositions": list(joints.reshape(2, NUM_FRAMES, 72)),
            "img_frame_ids": np.arange(NUM_FRAMES) * 2,
            "cam_poses": cameras,
            "campose_valid": list(valid),
            "cam_intrinsics": camera_of(0).K,
        }
        path = root / f"sequenceFiles/{split}/{sequence}.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(table, protocol=2))
        for f in range(NUM_FRAMES):
            image = picture(f, [pixels[p][f] for p in people])
            write_image(root / f"imageFiles/{sequence}/image_{f:05d}.jpg", image)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_3dpw(tmp_path_factory.mktemp("3dpw"))


def test_people_are_where_the_sequence_says(root: Path) -> None:
    listing = list_dataset("3dpw", root)
    assert [(c.name, c.split) for c in listing.captures] == [
        ("courtyard_arguing_00", "train"),
        ("courtyard_drinking_00", "val"),
    ]
    assert all(capture.views[0].camera is None for capture in listing.captures)

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        names = [person.identity for person in people]
        assert names == (["person 0"] if frame.index == HIDDEN[1] else ["person 0", "person 1"])
        for p, person in enumerate(people):
            truth = body(frame.index, p)
            check_person(person, camera_of(frame.index).project(truth), range(17))
            joints = person.joints_world
            assert joints is not None and np.isnan(joints[:5]).all()
            if frame.index == UNALIGNED:
                assert np.isnan(joints).all()
            else:
                assert np.abs(joints[5:] - truth[5:]).max() < 1e-9

    numbers = each_frame(listing.captures[0], check)
    assert numbers == {"camera": [0, 1, 2]}, "nobody was detected in frame 3: it says nothing"


def test_the_test_sequences_are_left_out(root: Path) -> None:
    listing = list_dataset("3dpw", root)
    assert listing.excluded == (
        ("downtown_walking_00", "evaluation", "test is evaluation data of 3dpw"),
    )
    assert len(list_dataset("3dpw", root, include_evaluation=True).captures) == 3
    with pytest.raises(ValueError, match="unknown option fps"):
        list_dataset("3dpw", root, fps=3)
    with pytest.raises(ValueError, match="include_evaluation must be of the kind of False"):
        list_dataset("3dpw", root, include_evaluation="yes")


def test_a_pickle_that_could_run_code_is_refused_in_one_sentence(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    root = write_3dpw(tmp_path / "3dpw")
    path = root / "sequenceFiles/train/courtyard_arguing_00.pkl"
    path.write_bytes(pickle.dumps({"poses2d": Malicious()}))
    listing = list_dataset("3dpw", root)
    assert [c.name for c in listing.captures] == ["courtyard_drinking_00"]
    [problem] = listing.problems
    assert problem.unit == "courtyard_arguing_00"
    assert "names builtins.eval, and only numpy arrays" in problem.error
    assert not (tmp_path / "ran").exists()
