"""Meshes without parameters: coarse vertices stand for fine ones, and a head learns them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from shards.labels import Label
from tests.mesh_labels import SIZE, random_features, random_label, targets_of, without
from tests.mesh_learning import learned_share, total_loss
from training.bodies.levels import make_levels, random_poses
from training.bodies.registry import make_body
from training.distributed import CPU
from training.heads.query_decoder import QueryDecoderConfig
from training.heads.vertex_head import VertexHeadConfig
from training.tasks.body_mesh_free import BodyMeshFree, BodyMeshFreeConfig, config_for
from training.tasks.mesh_camera import seen_at
from training.tasks.task import Outputs, Targets

HEAD = VertexHeadConfig(
    num_coarse=60, num_groups=12, decoder=QueryDecoderConfig(width=32, depth=1, heads=2)
)
CONFIG = BodyMeshFreeConfig(body="anny_hand", num_vertices=200, mean_scale=4.0, head=HEAD)


@pytest.fixture(scope="module")
def task() -> BodyMeshFree:
    return BodyMeshFree(CONFIG)


@pytest.fixture(scope="module")
def labels(task: BodyMeshFree) -> list[Label]:
    return [random_label(task.few(CPU), seed, "right_hand", 0.7) for seed in range(4)]


def perfect(task: BodyMeshFree, targets: Targets) -> Outputs:
    fine_BV3 = task.truth(targets, whole=False).vertices_BV3
    return {
        "coarse": fine_BV3[:, task.levels(CPU).coarse_C],
        "fine": fine_BV3,
        "camera": seen_at(targets["root_m"], targets["shares_from_cam"]),
    }


def test_coarse_vertices_and_keypoints_follow_new_poses() -> None:
    hand, whole = make_body("anny_hand", num_vertices=200), make_body("anny_hand")
    levels = make_levels(hand, num_coarse=100, num_groups=20)
    vertices, keypoints = map(torch.from_numpy, random_poses(hand, 8, seed=1))
    all_vertices, _ = map(torch.from_numpy, random_poses(whole, 8, seed=1))
    fine = levels.fine_from_coarse_VC @ vertices[:, levels.coarse_C]
    for made, true, limit_mm in (
        (fine, vertices, 1.5),
        (levels.keypoints_from_fine_KV @ vertices, keypoints, 1.0),
        (hand.upsample(fine), all_vertices, 2.0),
    ):
        assert 1000 * (made - true).norm(dim=2).mean() < limit_mm


def test_groups_share_the_coarse_vertices_evenly(task: BodyMeshFree) -> None:
    sizes = task.levels(CPU).group_C.bincount()
    assert len(sizes) == HEAD.num_groups
    assert sizes.min() >= sizes.max() // 2
    assert len(task.levels(CPU).group_V) == CONFIG.num_vertices
    rows = task.levels(CPU).fine_from_coarse_VC.sum(dim=1)
    assert torch.allclose(rows, torch.ones_like(rows), atol=1e-5)


def test_a_new_head_gives_nearly_the_mean_body(task: BodyMeshFree) -> None:
    outputs = task.make_head(SIZE)(random_features(2))
    off_BV = (outputs["fine"] - task.levels(CPU).mean_V3).norm(dim=2)
    assert 1000 * off_BV.mean() < 10.0
    assert outputs["coarse"].shape == (2, HEAD.num_coarse, 3)


def test_true_vertices_cost_nothing(task: BodyMeshFree, labels: list[Label]) -> None:
    targets = targets_of(task, labels, zoom=1.2, turn_deg=20.0)
    losses = task.losses(perfect(task, targets), targets)
    assert losses.keys() == task.factors.keys() == task.weights(targets).keys()
    # Keypoints are made of vertices, to a millimetre.
    limits = {"joints": 1e-3, "reprojection": 5e-3}
    for name, value_B in losses.items():
        assert value_B.abs().max() < limits.get(name, 2e-4), name
    figures = task.metrics(perfect(task, targets), targets)
    assert figures["pve_mm"].max() < 2.0
    assert figures["mpjpe_mm"].max() < 2.0


def test_a_head_learns_a_batch(task: BodyMeshFree, labels: list[Label]) -> None:
    assert learned_share(task, targets_of(task, labels)) < 0.4


def test_a_sample_without_a_body_teaches_its_keypoints(
    task: BodyMeshFree, labels: list[Label]
) -> None:
    targets = targets_of(task, [labels[0], without(labels[1], "body")])
    weights = task.weights(targets)
    assert weights["coarse"].tolist() == weights["vertices"].tolist() == [1, 0]
    assert weights["joints"].tolist() == [1, 1]
    head = task.make_head(SIZE)
    loss = total_loss(task, head(random_features(2)), targets)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_an_answer_has_the_whole_mesh_and_no_parameters(
    task: BodyMeshFree, labels: list[Label]
) -> None:
    targets = targets_of(task, labels)
    outputs = perfect(task, targets)
    answer = task.answer(outputs, 0)
    assert len(answer["vertices_m"]) == answer["faces"].max() + 1
    assert "shape" not in answer
    picture = task.draw(np.full((64, 64, 3), 90, np.uint8), outputs, targets, 0)
    assert picture.shape == (64, 320, 3)


def test_levels_must_shrink() -> None:
    with pytest.raises(ValueError, match="each must be no more than the next"):
        BodyMeshFree(replace(CONFIG, head=replace(HEAD, num_coarse=300)))
    assert config_for("base").head.num_coarse == 431
