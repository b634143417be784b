"""FreiHAND: JSON tables of hands, each with four images that differ in background alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.world import hand, picture, write_image
from tests.labelling.checks import (
    check_joints,
    check_projection,
    found_in,
    list_labelled,
    pixels_of,
    problems_in,
    samples_in,
    write_mano,
)

NUM, SIZE_PX = 3, (224, 224)
RNG = np.random.default_rng(1)
MEAN = RNG.normal(0, 0.3, 45)
K = np.array([[480.0, 0, 112], [0, 470.0, 110], [0, 0, 1]])
MANO = RNG.normal(0, 0.5, (NUM, 61))
IN_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # z up becomes y down


def joints_of(number: int) -> np.ndarray:
    return (hand(number, "right") - [-0.12, 0.0, 0.95]) @ IN_CAMERA.T + [0, 0, 0.7]


def write_freihand(root: Path) -> Path:
    for split, versions in (("training", 4), ("evaluation", 1)):
        for name, table in (
            ("K", [K.tolist()] * NUM),
            ("xyz", [joints_of(number).tolist() for number in range(NUM)]),
            ("mano", [[row.tolist()] for row in MANO]),
        ):
            (root / f"{split}_{name}.json").write_text(json.dumps(table))
        for number in range(NUM * versions):
            shown = joints_of(number % NUM) @ K.T
            image = picture(number, [shown[:, :2] / shown[:, 2:]], SIZE_PX)
            write_image(root / f"{split}/rgb/{number:08d}.jpg", image)
    write_mano(root / "licensed", MEAN)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_freihand(tmp_path_factory.mktemp("freihand"))


def test_all_versions_of_a_hand_have_its_joints_and_are_in_one_unit(root: Path) -> None:
    units = samples_in("freihand", root, bodies="licensed")
    assert list(units) == ["training 00000 to 00002", "evaluation 00000 to 00002"]
    training, evaluation = units.values()
    assert sorted(sample.name for sample in training) == [f"{n:08d}" for n in range(4 * NUM)]
    assert [sample.name for sample in evaluation] == [f"{n:08d}" for n in range(NUM)]
    assert {sample.split for sample in training} == {None}, "as its unit's name falls"
    assert {sample.split for sample in evaluation} == {"val"}
    for sample in (*training, *evaluation):
        [image] = sample.images
        truth = joints_of(int(sample.name) % NUM)
        check_joints(image, truth, list(range(21)))
        check_projection(image, list(range(21)))
        assert sample.part == "right_hand" and pixels_of(image).shape == (224, 224, 3)
        assert image.body is not None and (image.body.translation_m == truth[0]).all()
        values = MANO[int(sample.name) % NUM]
        assert (image.body.pose_rad[0] == values[:3]).all()
        assert np.allclose(image.body.pose_rad[1:].ravel(), values[3:48] + MEAN)
        assert (image.body.shape == values[48:58]).all()


def test_without_the_mean_pose_hands_have_joints_and_no_body(root: Path) -> None:
    [training, _] = samples_in("freihand", root, versions=["sample"]).values()
    assert [sample.name for sample in training] == ["00000006", "00000007", "00000008"]
    assert all(sample.images[0].body is None for sample in training)
    with pytest.raises(ValueError, match="versions must be some of gs, hom, sample, auto"):
        list_labelled("freihand", root, versions=["sepia"])


def test_what_is_broken_or_missing_is_said(tmp_path: Path) -> None:
    root = write_freihand(tmp_path)
    (root / "training/rgb/00000004.jpg").unlink()
    (root / "evaluation_K.json").write_text(json.dumps([K.tolist()] * (NUM - 1)))
    xyz = json.loads((root / "training_xyz.json").read_text())
    xyz[2] = xyz[2][:20]
    (root / "training_xyz.json").write_text(json.dumps(xyz))
    listing = list_labelled("freihand", root)
    [(name, reason, detail)] = listing.excluded
    assert (name, reason) == ("training", "missing") and detail.startswith("1 of the 12 images")
    [problem] = listing.problems
    assert problem.error.startswith("the tables evaluation_*.json are of different lengths")
    assert [unit.num_samples for unit in listing.units] == [11]
    found = found_in("freihand", root)
    problems = problems_in(found)
    assert list(problems) == ["00000002", "00000005", "00000008", "00000011"]
    assert "xyz has shape (20, 3), not 21 x 3" in problems["00000002"]
    assert len(found["training 00000 to 00002"]) == 11
