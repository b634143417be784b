"""3DPW with labels: SMPL's parameters brought into the axes of a moving camera."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.test_threedpw import (
    HIDDEN,
    NUM_FRAMES,
    UNALIGNED,
    UNSEEN,
    camera_of,
    write_3dpw,
)
from tests.datasets.world import body, grey_of
from tests.labelling.checks import (
    check_joints,
    check_projection,
    found_in,
    list_labelled,
    pixels_of,
    problems_in,
    rotation,
    samples_in,
)

ADAPTER = "3dpw-labelled"
SEEN = [(1, 0), (1, 1), (2, 0)]
POSES = np.random.default_rng(3).normal(0, 0.6, (2, NUM_FRAMES, 72))
BETAS = np.random.default_rng(4).normal(0, 1, (2, 300))
ROOTS_WORLD = np.random.default_rng(5).normal(0, 0.3, (2, NUM_FRAMES, 3))


def change(path: Path, **entries: object) -> None:
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **entries}, protocol=2))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_3dpw(tmp_path_factory.mktemp("3dpw"))
    for path in (root / "sequenceFiles").glob("*/*.pkl"):
        joints = np.array(pickle.loads(path.read_bytes())["jointPositions"])
        joints[:, :, :3] = ROOTS_WORLD
        change(path, poses=list(POSES), betas=list(BETAS), jointPositions=list(joints))
    return root


def test_joints_fall_on_the_keypoints_of_the_people_that_are_seen_and_placed(root: Path) -> None:
    units = samples_in(ADAPTER, root)
    assert {name: {s.split for s in samples} for name, samples in units.items()} == {
        "courtyard_arguing_00": {"train"},
        "courtyard_drinking_00": {"val"},
        "downtown_walking_00": {"val"},
    }
    samples = units["courtyard_arguing_00"]
    assert [s.name for s in samples] == [f"{f:05d} person {p}" for f, p in SEEN]
    for sample, (frame, person) in zip(samples, SEEN, strict=True):
        [image] = sample.images
        camera, truth = camera_of(frame), body(frame, person)
        check_joints(image, truth @ camera.R.T + camera.t, list(range(5, 17)))
        assert np.abs(image.keypoints_px[:, :2] - camera.project(truth)).max() < 0.5
        assert image.source.endswith(f"courtyard_arguing_00/image_{frame:05d}.jpg")
        assert image.frame == frame
        assert abs(float(pixels_of(image)[2:9, 2:9].mean()) - grey_of(frame)) < 6
        if frame == 0:  # the one whose intrinsics the pickle holds
            check_projection(image, list(range(5, 17)))


def test_a_body_in_the_camera_is_the_body_in_the_world_seen_by_the_camera(root: Path) -> None:
    template = np.random.default_rng(0).normal(0, 0.5, (30, 3))  # around the root joint
    for sample, (frame, person) in zip(
        samples_in(ADAPTER, root)["courtyard_arguing_00"], SEEN, strict=True
    ):
        label, camera = sample.images[0].body, camera_of(frame)
        assert label is not None and (label.model, label.gender) == (
            "smpl",
            "male" if person == 0 else "female",
        )
        pose = POSES[person, frame].reshape(24, 3)
        world = template @ rotation(pose[0]).T + ROOTS_WORLD[person, frame]
        in_camera = template @ rotation(label.pose_rad[0]).T + label.translation_m
        assert np.abs(in_camera - (world @ camera.R.T + camera.t)).max() < 1e-9
        assert (label.pose_rad[1:] == pose[1:]).all()
        assert (label.shape == BETAS[person, :10]).all()


def test_a_broken_person_costs_itself_and_a_broken_sequence_itself(tmp_path: Path) -> None:
    root = write_3dpw(tmp_path)
    first = root / "sequenceFiles/train/courtyard_arguing_00.pkl"
    change(first, genders=["m", "x"])
    (root / "sequenceFiles/test/downtown_walking_00.pkl").write_bytes(b"\x80\x02broken")
    (root / "imageFiles/courtyard_arguing_00/image_00002.jpg").unlink()
    listing = list_labelled(ADAPTER, root)
    assert [problem.unit for problem in listing.problems] == ["downtown_walking_00"]
    assert [unit.num_samples for unit in listing.units] == [len(SEEN), len(SEEN)]
    problems = problems_in(found_in(ADAPTER, root))
    assert problems == {
        "00001 person 1": "00001 person 1: the gender 'x' is not one of m, male, f, female",
        "00002 person 0": "00002 person 0: image_00002.jpg is not there",
    }


def test_each_other_frame_is_taken_on_request(root: Path) -> None:
    assert HIDDEN == (1, 2) and UNSEEN == 3 and UNALIGNED == 0
    samples = samples_in(ADAPTER, root, every=2)["courtyard_arguing_00"]
    assert [sample.name for sample in samples] == ["00002 person 0"]
    with pytest.raises(ValueError, match="every must be 1 or more"):
        list_labelled(ADAPTER, root, every=0)
