"""Geodesic point similarity, by hand; average precision, by hand and against plain COCO."""

import io
import math
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from training.metrics.average_precision import THRESHOLDS, average_precision
from training.metrics.dense_pose import gps, gpsm


def test_one_point_off_by_30_cm_has_a_similarity_of_one_half():
    assert gps(torch.tensor([[0.3]])).item() == pytest.approx(0.5, abs=1e-3)


def test_similarity_is_the_mean_over_points_and_background_has_none():
    distance = torch.tensor([[0.0, 0.3, torch.inf, torch.nan]])
    assert gps(distance).item() == pytest.approx((1 + 0.5006 + 0) / 3, abs=1e-4)


def test_instances_without_points_are_nan():
    assert gps(torch.full((1, 2), torch.nan)).isnan().all()


def test_calling_everything_a_body_costs_what_the_masks_do_not_share():
    assert gpsm(torch.ones(2), torch.tensor([1, 0.25])).tolist() == [1, 0.5]


def images(count: int = 60, seed: int = 0, with_ignored: bool = True):
    """Scores with ties, similarities and ignored instances of random images, some empty."""
    rng = np.random.default_rng(seed)
    scores, similarities, ignored = [], [], []
    for _ in range(count):
        d, g = rng.integers(0, 6, 2)
        scores.append(torch.from_numpy(np.round(rng.random(d), 1)))
        similarities.append(torch.from_numpy(np.round(rng.random((d, g)) ** 0.4, 1)))
        ignored.append(torch.from_numpy((rng.random(g) < 0.2) & with_ignored))
    return scores, similarities, ignored


def plain_ap(scores, similarities, threshold: float) -> float:
    """Without ignored instances: match one by one, then read the curve at each level of recall."""
    found, total = [], 0
    for s, m in zip(scores, similarities, strict=True):
        taken: set[int] = set()
        total += m.shape[1]
        for d in sorted(range(len(s)), key=lambda d: -s[d]):
            left = [g for g in range(m.shape[1]) if g not in taken and m[d, g] >= threshold]
            best = max(left, key=lambda g: (m[d, g], g), default=None)
            taken.add(best)
            found.append((float(s[d]), best is not None))
    found.sort(key=lambda item: -item[0])
    curve, hits = [], 0
    for i, (_, hit) in enumerate(found, start=1):
        hits += hit
        curve.append((hits / total, hits / i))
    levels = np.linspace(0, 1, 101)
    return float(np.mean([max((p for r, p in curve if r >= level), default=0) for level in levels]))


def test_two_images_of_which_one_is_found():
    found = average_precision(
        [torch.tensor([0.9]), torch.tensor([0.8])], [torch.tensor([[0.72]]), torch.tensor([[0.1]])]
    )
    assert found["ap_0.50"] == found["ap_0.70"] == pytest.approx(51 / 101)
    assert found["ap_0.75"] == 0 and found["ar"] == pytest.approx(0.5 * 5 / 10)
    assert found["ap"] == pytest.approx(5 / 10 * 51 / 101)


def test_average_precision_equals_a_plain_one():
    scores, similarities, _ = images(with_ignored=False)
    found = average_precision(scores, similarities)
    for threshold in THRESHOLDS:
        expected = plain_ap(scores, similarities, threshold)
        assert found[f"ap_{threshold:.2f}"] == pytest.approx(expected)


@pytest.mark.parametrize("max_predictions", [2, 20])
def test_average_precision_is_that_of_pycocotools(max_predictions):
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scores, similarities, ignored = images(seed=1)
    annotations = [
        # An annotation outside of the range of areas is one that need not be found.
        dict(id=1000 * i + g + 1, image_id=i, category_id=1, bbox=[0, 0, 1, 1], iscrowd=0,
             area=5000 if out else 50)
        for i, flags in enumerate(ignored) for g, out in enumerate(flags)
    ]  # fmt: skip
    detections = [
        dict(image_id=i, category_id=1, bbox=[d, 0, 5, 10], score=float(score))
        for i, of_image in enumerate(scores) for d, score in enumerate(of_image)
    ]  # fmt: skip

    class GivenSimilarities(COCOeval):
        def computeIoU(self, image, category):
            order = np.argsort(-scores[image].numpy(), kind="mergesort")
            return similarities[image].numpy()[order[:max_predictions]]

    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dict(images=[dict(id=i) for i in range(len(scores))], info={},
                             annotations=annotations, categories=[dict(id=1)])  # fmt: skip
        truth.createIndex()
        evaluation = GivenSimilarities(truth, truth.loadRes(detections), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 100]], ["all"]
        evaluation.params.maxDets = [max_predictions]
        evaluation.evaluate()
        evaluation.accumulate()
    found = average_precision(scores, similarities, ignored, max_predictions=max_predictions)
    expected = evaluation.eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    assert [found[f"ap_{t:.2f}"] for t in THRESHOLDS] == pytest.approx(expected, abs=1e-9)
    assert found["ar"] == pytest.approx(evaluation.eval["recall"].mean())
    assert 0.05 < found["ap"] < 0.95


def test_what_cannot_be_judged_is_nan_or_matches_nothing():
    none = torch.zeros(1, 0)
    assert math.isnan(average_precision([torch.ones(1)], [none])["ap"])
    ignored = average_precision([torch.ones(1)], [torch.ones(1, 1)], [torch.tensor([True])])
    assert math.isnan(ignored["ap"])
    assert average_precision([torch.ones(1)], [torch.full((1, 1), torch.nan)])["ap"] == 0
    assert average_precision([torch.zeros(0)], [torch.zeros(0, 2)])["ap"] == 0
    with pytest.raises(ValueError, match="a row for each score"):
        average_precision([torch.ones(2)], [none])
