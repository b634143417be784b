"""Errors of joints and meshes: by hand, by invariance, and against slow plain versions."""

import numpy as np
import pytest
import torch

from training.metrics import mesh
from training.metrics.alignment import procrustes_align, root_of
from training.metrics.mesh import (
    _f_scores_of_one,
    mpjpe_mm,
    nearest_distances,
    pa_auc,
    pa_f_scores,
    pa_mpjpe_mm,
    pa_pve_mm,
    pve_mm,
)

SQUARE = torch.tensor([[[0.0, 0, 2], [0.1, 0, 2], [0.1, 0.1, 2], [0, 0.1, 2.05]]])
ORIGIN = torch.zeros(1, 3)


def random_points(samples: int = 4, points: int = 17, noise_m: float = 0.05):
    """True points, predictions of them, and weights of which a quarter are 0."""
    rng = np.random.default_rng(0)
    true = rng.normal((0, 0, 3), 0.4, (samples, points, 3))
    pred = true + rng.normal(0, noise_m, true.shape)
    weights = rng.random((samples, points)) * (rng.random((samples, points)) > 0.25)
    weights[:, 0] = 1
    return torch.from_numpy(pred), torch.from_numpy(true), torch.from_numpy(weights)


def where_weighted(points: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Points without those of weight 0, as vertices that are not known."""
    return torch.where(weights[..., None] > 0, points, torch.nan)


def random_rotations(samples: int) -> torch.Tensor:
    rotations = torch.linalg.qr(
        torch.randn(samples, 3, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    )[0]
    return rotations * torch.linalg.det(rotations)[:, None, None]


def moved(points: torch.Tensor) -> torch.Tensor:
    """Points of each sample under a similarity of its own."""
    scales = torch.linspace(0.3, 4, len(points), dtype=torch.float64)[:, None, None]
    return scales * points.double() @ random_rotations(len(points)).mT + torch.tensor([5, -2, 1])


def plain_procrustes(pred: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One sample, by Horn's unit quaternions: no SVD, and no reflection by construction."""
    keep = weights > 0
    w = weights[keep] / weights[keep].sum()
    pred_centre, true_centre = w @ pred[keep], w @ true[keep]
    a, b = pred[keep] - pred_centre, true[keep] - true_centre
    s = (w[:, None] * a).T @ b
    n = np.zeros((4, 4))
    n[0, 0] = np.trace(s)
    n[0, 1:] = n[1:, 0] = [s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]]
    n[1:, 1:] = s + s.T - np.trace(s) * np.eye(3)
    q0, *q = np.linalg.eigh(n)[1][:, -1]
    cross = np.array([[0, -q[2], q[1]], [q[2], 0, -q[0]], [-q[1], q[0], 0]])
    rotation = (q0**2 - np.dot(q, q)) * np.eye(3) + 2 * np.outer(q, q) + 2 * q0 * cross
    scale = (w[:, None] * b * (a @ rotation.T)).sum() / (w[:, None] * a**2).sum()
    return scale * (pred - pred_centre) @ rotation.T + true_centre


def plain_mean_distance_mm(pred: np.ndarray, true: np.ndarray, weights: np.ndarray) -> float:
    errors = [w * np.linalg.norm(p - t) for p, t, w in zip(pred, true, weights, strict=True) if w]
    return 1000 * sum(errors) / weights.sum()


def test_one_joint_off_by_a_centimetre_is_a_quarter_of_it_over_four_joints():
    pred = SQUARE.clone()
    pred[0, 2, 0] += 0.01
    assert mpjpe_mm(pred, SQUARE, None, root=0).item() == pytest.approx(2.5, abs=1e-4)
    assert pve_mm(pred, SQUARE, ORIGIN, ORIGIN).item() == pytest.approx(2.5, abs=1e-4)
    weights = torch.tensor([[1.0, 0, 1, 0]])
    assert mpjpe_mm(pred, SQUARE, weights, root=0).item() == pytest.approx(5, abs=1e-4)


def test_the_root_takes_away_translation_and_nothing_else():
    shift = torch.tensor([0.3, -1, 5])
    torch.testing.assert_close(
        mpjpe_mm(SQUARE + shift, SQUARE, None, root=(0, 1)),
        torch.zeros(1, dtype=torch.float64), atol=1e-3, rtol=0,
    )  # fmt: skip
    assert mpjpe_mm(SQUARE * 1.1, SQUARE, None, root=0).item() > 5
    root, moved_root = root_of(SQUARE, 0), root_of(SQUARE + shift, 0)
    assert pve_mm(SQUARE + shift, SQUARE, moved_root, root).item() == pytest.approx(0, abs=1e-3)
    assert pve_mm(SQUARE + shift, SQUARE, root, root).item() > 1000
    assert pve_mm(SQUARE, SQUARE, root, root * torch.nan).isnan()


def test_errors_equal_plain_ones():
    pred, true, weights = random_points()
    known = where_weighted(true, weights)
    plain = [x.numpy() for x in (pred, true, weights)]
    for i, (p, t, w) in enumerate(zip(*plain, strict=True)):
        rooted = plain_mean_distance_mm(p - p[0], t - t[0], w)
        assert mpjpe_mm(pred, true, weights, root=0)[i].item() == pytest.approx(rooted)
        aligned = plain_mean_distance_mm(plain_procrustes(p, t, w), t, w)
        assert pa_mpjpe_mm(pred, true, weights)[i].item() == pytest.approx(aligned)
        alike = (w > 0).astype(float)  # vertices count alike where they are known
        rooted = plain_mean_distance_mm(p - p[0], t - t[0], alike)
        found = pve_mm(pred, known, pred[:, 0], true[:, 0])[i].item()
        assert found == pytest.approx(rooted)
        aligned = plain_mean_distance_mm(plain_procrustes(p, t, alike), t, alike)
        assert pa_pve_mm(pred, known)[i].item() == pytest.approx(aligned)


@pytest.mark.parametrize("noise_m", [0.05, 1.0])
def test_alignment_equals_a_plain_one_also_where_a_reflection_would_be_nearer(noise_m):
    pred, true, weights = random_points(samples=40, points=5, noise_m=noise_m)
    aligned = procrustes_align(pred, true, weights).numpy()
    for i, known in enumerate((weights > 0).sum(1) >= 3):
        expected = plain_procrustes(pred[i].numpy(), true[i].numpy(), weights[i].numpy())
        np.testing.assert_allclose(aligned[i], expected if known else np.nan, atol=1e-9)


def test_alignment_agrees_with_scipy_where_no_reflection_is_needed():
    spatial = pytest.importorskip("scipy.spatial")
    pred, true, _ = random_points()
    for p, t, a in zip(pred, true, procrustes_align(pred, true), strict=True):
        _, _, disparity = spatial.procrustes(t.numpy(), p.numpy())
        spread = (t - t.mean(0)).square().sum()
        assert ((a - t).square().sum() / spread).item() == pytest.approx(disparity)


def test_similarities_do_not_change_what_is_measured_after_procrustes():
    pred, true, weights = random_points()
    before = pa_mpjpe_mm(pred, true, weights)
    torch.testing.assert_close(pa_mpjpe_mm(moved(pred), true, weights), before)
    torch.testing.assert_close(pa_pve_mm(moved(pred), true), pa_pve_mm(pred, true))
    assert pa_mpjpe_mm(moved(true), true, weights).max() < 1e-9


def test_a_mirrored_body_is_not_aligned_to_zero():
    _, true, weights = random_points()
    mirrored = true * torch.tensor([-1, 1, 1])
    assert pa_mpjpe_mm(mirrored, true, weights).min() > 50


def test_missing_points_may_hold_anything():
    pred, true, weights = random_points()
    missing = weights == 0

    def figures() -> list[torch.Tensor]:
        return [mpjpe_mm(pred, true, weights, 0), pa_mpjpe_mm(pred, true, weights),
                pa_pve_mm(pred, where_weighted(true, weights)),
                pa_auc(pred, true, weights)]  # fmt: skip

    expected = figures()
    pred[missing], true[missing] = torch.inf, torch.nan
    torch.testing.assert_close(figures(), expected)


def test_samples_with_nothing_to_judge_are_nan_and_their_neighbours_are_not():
    pred, true, weights = random_points(samples=3)
    weights[0] = 0
    weights[1, 1:] = 0  # the root alone
    expected = torch.tensor([True, True, False])
    assert torch.equal(mpjpe_mm(pred, true, weights, 0).isnan(), expected)
    assert torch.equal(pa_mpjpe_mm(pred, true, weights).isnan(), expected)
    assert torch.equal(pa_auc(pred, true, weights).isnan(), expected)
    known = where_weighted(true, weights)
    assert torch.equal(pa_pve_mm(pred, known).isnan(), expected)
    assert torch.equal(pa_f_scores(pred, known, (0.1,))[:, 0].isnan(), expected)
    nothing = torch.tensor([True, False, False])
    assert torch.equal(pve_mm(pred, known, pred[:, 0], true[:, 0]).isnan(), nothing)
    weights[2, 0] = 0  # the root is missing
    assert mpjpe_mm(pred, true, weights, 0)[2].isnan()


def test_a_prediction_that_is_no_number_is_infinitely_wrong():
    pred, true, weights = random_points(samples=2)
    pred[0] = torch.nan
    for error in (mpjpe_mm(pred, true, weights, 0), pa_mpjpe_mm(pred, true, weights),
                  pve_mm(pred, true, true[:, 0], true[:, 0]), pa_pve_mm(pred, true)):  # fmt: skip
        assert error[0].item() == float("inf") and error[1].isfinite()
    assert pa_auc(pred, true, weights)[0] == pa_f_scores(pred, true, (0.1,))[0] == 0


def test_predictions_in_one_point_go_to_the_centre_of_the_truth():
    _, true, _ = random_points()
    aligned = procrustes_align(torch.zeros_like(true), true)
    torch.testing.assert_close(aligned, true.mean(1, keepdim=True).expand_as(true))


def test_f_scores_of_three_vertices_of_which_two_are_near():
    true = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0.2, 0, 1], [0.3, 0, 1]])
    pred = torch.tensor([[0.003, 0, 1], [0.1, 0.004, 1], [0.2, 0.01, 1]])
    precision, recall = 2 / 3, 2 / 4
    assert _f_scores_of_one(pred, true, (0.005,)).item() == pytest.approx(
        2 * precision * recall / (precision + recall)
    )
    scores = _f_scores_of_one(pred, true[:3], (0.001, 0.005, 0.015))
    torch.testing.assert_close(scores, torch.tensor([0, 2 / 3, 1]).double())


def test_f_scores_equal_plain_ones_of_aligned_vertices(monkeypatch):
    pred, true, weights = random_points(samples=2, points=150, noise_m=0.02)
    known = where_weighted(true, weights)
    monkeypatch.setattr(mesh, "CHUNK", 32)
    found = pa_f_scores(moved(pred), known, (0.02, 0.05))
    aligned = procrustes_align(pred, true, (weights > 0).double()).numpy()
    for i in range(2):
        exists = true[i].numpy()[weights[i].numpy() > 0]
        near = np.linalg.norm(aligned[i][:, None] - exists[None], axis=2)
        for t, threshold in enumerate((0.02, 0.05)):
            precision = np.mean(near.min(1) < threshold)
            recall = np.mean(near.min(0) < threshold)
            assert found[i, t].item() == pytest.approx(
                2 * precision * recall / (precision + recall)
            )


def test_nearest_distances_are_exact_in_single_precision_far_from_the_origin():
    true = torch.tensor([[0.0, 0, 20], [1, 0, 20]])
    nearest_true, nearest_pred = nearest_distances(true + torch.tensor([0.001, 0, 0]), true)
    torch.testing.assert_close(nearest_true, torch.full((2,), 0.001), atol=1e-6, rtol=0)
    torch.testing.assert_close(nearest_pred, torch.full((2,), 0.001), atol=1e-6, rtol=0)


def test_auc_is_one_for_the_truth_and_half_when_all_errors_are_at_half_of_the_range():
    assert pa_auc(SQUARE + 1, SQUARE).item() == pytest.approx(1, abs=0.006)  # but at 0 mm
    flat = torch.tensor([[[0.0, 0, 9], [1, 0, 9], [1, 1, 9], [0, 1, 9]]])
    saddle = flat + torch.tensor([0.0, 0, 0.025]) * torch.tensor([1, -1, 1, -1])[:, None]
    assert pa_auc(saddle, flat).item() == pytest.approx(0.5, abs=0.01)
    assert pa_auc(torch.zeros_like(flat), flat).item() == 0


def test_auc_over_samples_is_that_of_the_dataset():
    """As FreiHAND has it: a curve for each joint over all samples, then the mean over joints."""
    pred, true, _ = random_points(samples=6, points=21, noise_m=0.015)
    aligned = procrustes_align(pred, true).numpy()
    distance = np.linalg.norm(aligned - true.numpy(), axis=2)
    thresholds = np.linspace(0, 0.05, 100)
    areas = []
    for of_joint in distance.T:
        curve = [np.mean(of_joint <= t) for t in thresholds]
        areas.append(np.trapezoid(curve, thresholds) / 0.05)
    found = pa_auc(moved(pred), true)
    assert found.mean().item() == pytest.approx(np.mean(areas))


def test_an_empty_batch_has_no_errors():
    none = torch.zeros(0, 5, 3)
    for errors in (mpjpe_mm(none, none, None, 0), pa_mpjpe_mm(none, none), pa_pve_mm(none, none),
                   pa_f_scores(none, none, (0.1,))[:, 0], pa_auc(none, none)):  # fmt: skip
        assert errors.shape == (0,)


def test_mistakes_of_the_caller_are_named():
    with pytest.raises(ValueError, match="joints 0 to 3"):
        mpjpe_mm(SQUARE, SQUARE, None, root=4)
    with pytest.raises(ValueError, match="one weight for each"):
        pa_mpjpe_mm(SQUARE, SQUARE, torch.ones(1, 3))
    with pytest.raises(ValueError, match="same order"):
        pve_mm(SQUARE[:, :3], SQUARE, ORIGIN, ORIGIN)
    with pytest.raises(ValueError, match="same order"):
        pa_f_scores(SQUARE[:, :3], SQUARE, (0.1,))
