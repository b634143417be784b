"""Labels of male and female models: truth is their surface, what is predicted the neutral one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from catalog.model_files import GENDERS
from shards.labels import Label
from tests.mesh_labels import random_label, targets_of
from tests.smplx_files import save
from training.bodies.registry import make_body
from training.bodies.rotations import matrix_to_6d
from training.distributed import CPU
from training.heads.query_decoder import QueryDecoderConfig
from training.heads.vertex_head import VertexHeadConfig
from training.tasks.body_mesh import BodyMesh, BodyMeshConfig
from training.tasks.body_mesh_free import BodyMeshFree, BodyMeshFreeConfig
from training.tasks.mesh_camera import seen_at
from training.tasks.task import Outputs, Targets

SAMPLES = ("male", "neutral", "female", "male")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bodies")
    for gender in GENDERS:
        save("smpl", path, gender)
    return str(path)


@pytest.fixture(scope="module")
def labels(folder: str) -> list[Label]:
    """One sample of each of SAMPLES."""
    of_gender = {gender: make_body("smpl", folder, gender=gender) for gender in GENDERS}
    return [
        gendered(random_label(of_gender[gender], seed, "body", 4.0), gender)
        for seed, gender in enumerate(SAMPLES)
    ]


@pytest.fixture
def task(folder: str) -> BodyMesh:
    return BodyMesh(config(folder))


def config(folder: str) -> BodyMeshConfig:
    return BodyMeshConfig(body="smpl", folder=folder, num_vertices=50)


def gendered(label: Label, gender: str) -> Label:
    body = label.images[0].body
    assert body is not None
    return replace(label, images=(replace(label.images[0], body=replace(body, gender=gender)),))


def perfect(targets: Targets) -> Outputs:
    """The labels' parameters, as if all were the neutral model's."""
    return {
        "rotations_6d": matrix_to_6d(targets["rotations"]),
        "shape": targets["shape"],
        "camera": seen_at(targets["root_m"], targets["shares_from_cam"]),
    }


@pytest.mark.parametrize("whole", [False, True])
def test_true_points_are_of_the_model_of_the_samples_gender(
    task: BodyMesh, labels: list[Label], folder: str, whole: bool
) -> None:
    targets = targets_of(task, labels)
    assert targets["gender"].tolist() == [GENDERS.index(gender) for gender in SAMPLES]
    truth = task.truth(targets, whole)
    few = None if whole else 50
    for row, gender in enumerate(SAMPLES):
        model = make_body("smpl", folder, few, gender)
        alone = model(targets["rotations"][row : row + 1], targets["shape"][row : row + 1])
        assert torch.allclose(truth.vertices_BV3[row], alone.vertices_BV3[0], atol=1e-6)
        assert torch.allclose(truth.keypoints_BK3[row], alone.keypoints_BK3[0], atol=1e-6)


def test_a_gendered_samples_parameters_do_not_please_in_the_neutral_model(
    task: BodyMesh, labels: list[Label]
) -> None:
    targets = targets_of(task, labels)
    losses = task.losses(perfect(targets), targets)
    figures = task.metrics(perfect(targets), targets)
    neutral = torch.tensor([gender == "neutral" for gender in SAMPLES])
    for name in ("vertices", "joints", "reprojection"):
        assert losses[name][neutral].max() < 2e-4, name
        assert losses[name][~neutral].min() > 1e-3, name
    for name in ("pve_mm", "mpjpe_mm"):
        assert figures[name][neutral].max() < 0.1
        assert figures[name][~neutral].min() > 10


def test_shape_values_of_another_gender_are_not_learned(
    task: BodyMesh, labels: list[Label]
) -> None:
    weights = task.weights(targets_of(task, labels))
    assert weights["shape"].tolist() == [0, 1, 0, 0]
    for name in ("orientation", "rotations", "vertices", "joints", "reprojection", "camera"):
        assert weights[name].tolist() == [1, 1, 1, 1], name


def test_vertices_without_parameters_are_learned_of_all_genders(
    labels: list[Label], folder: str
) -> None:
    decoder = QueryDecoderConfig(width=32, depth=1, heads=2)
    head = VertexHeadConfig(num_coarse=30, num_groups=6, decoder=decoder)
    task = BodyMeshFree(BodyMeshFreeConfig(body="smpl", folder=folder, num_vertices=100, head=head))
    targets = targets_of(task, labels)
    truth = task.truth(targets, whole=False)
    outputs = {
        "coarse": truth.vertices_BV3[:, task.levels(CPU).coarse_C],
        "fine": truth.vertices_BV3,
        "camera": seen_at(targets["root_m"], targets["shares_from_cam"]),
    }
    losses = task.losses(outputs, targets)
    assert losses["vertices"].max() == losses["coarse"].max() == 0


def test_models_of_other_genders_are_made_when_a_sample_has_them_and_stay_out_of_loaders(
    task: BodyMesh, labels: list[Label]
) -> None:
    task.truth(targets_of(task, labels[1:2]), whole=False)
    assert not task._whole
    task.truth(targets_of(task, labels[:2]), whole=False)
    assert task._whole.keys() == {"male"}
    light = BodyMesh.__new__(BodyMesh)
    light.__dict__.update(task.__getstate__())
    assert not {"_few", "_whole"} & vars(light).keys()
    assert targets_of(light, labels)["gender"].tolist() == [1, 0, 2, 1]


def test_a_sample_whose_gender_has_no_file_is_named_or_passed_over(
    labels: list[Label], tmp_path: Path
) -> None:
    save("smpl", tmp_path)
    task = BodyMesh(config(save("smpl", tmp_path, "female")))
    assert targets_of(task, labels[1:3])["has_body"].tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"sample0 has a body of smpl, male, .* SMPL_MALE\.npz"):
        targets_of(task, labels[:1])
    with pytest.raises(ValueError, match="the genders are neutral, male, female"):
        targets_of(task, [gendered(labels[0], "unknown")])
    lenient = BodyMesh(replace(config(str(tmp_path)), other_bodies=True))
    targets = targets_of(lenient, labels[:2])
    assert targets["has_body"].tolist() == [0, 1]
    assert targets["gender"].tolist() == [0, 0]


def test_a_picture_of_a_sample_shows_the_model_of_its_gender(
    task: BodyMesh, labels: list[Label]
) -> None:
    targets = targets_of(task, labels)
    image = torch.full((64, 64, 3), 90, dtype=torch.uint8).numpy()
    assert task.draw(image, perfect(targets), targets, 0).shape == (64, 5 * 64, 3)
    assert "male" in task._whole
    assert "female" not in task._whole
