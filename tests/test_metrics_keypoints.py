"""PCK: by hand and against a slow plain version."""

import numpy as np
import pytest
import torch

from training.metrics.keypoints import correct_keypoints, pck


def test_a_keypoint_is_found_within_a_tenth_of_the_box():
    true = torch.tensor([[[50.0, 50, 1], [80, 80, 1], [10, 10, 0]]])
    pred = torch.tensor([[[60.0, 50], [80, 90.5], [10, 10]]])
    size = torch.tensor([100.0])
    expected = torch.tensor([[1, 0, torch.nan]]).double()
    torch.testing.assert_close(correct_keypoints(pred, true, size, 0.1), expected, equal_nan=True)
    assert pck(pred, true, size, 0.1).item() == 0.5
    assert pck(pred, true, 2 * size, 0.1).item() == 1


def test_confidence_is_the_weight():
    true = torch.tensor([[[50.0, 50, 0.9], [80, 80, 0.3]]])
    pred = torch.tensor([[[50.0, 50], [0, 0]]])
    assert pck(pred, true, torch.tensor([100.0]), 0.1).item() == pytest.approx(0.75)


def test_shares_equal_plain_ones():
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.uniform(0, 200, (9, 6, 2)), rng.random((9, 6, 1))], axis=2)
    true[rng.random((9, 6)) < 0.3, 2] = 0
    true[0, :, 2] = true[:, 0, 2] = 0
    pred, size = true[..., :2] + rng.normal(0, 15, (9, 6, 2)), rng.uniform(100, 200, 9)
    hits, weights = np.zeros((9, 6)), true[..., 2]
    for i in range(9):
        for k in range(6):
            hits[i, k] = np.hypot(*(pred[i, k] - true[i, k, :2])) <= 0.1 * size[i]
    inputs = [torch.from_numpy(x) for x in (pred, true, size)]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(
            pck(*inputs, 0.1).numpy(), (hits * weights).sum(1) / weights.sum(1)
        )


def test_what_cannot_be_judged_is_nan_and_what_is_no_number_is_wrong():
    true = torch.tensor([[[50.0, 50, 1]]])
    missing, absent = true * torch.tensor([1.0, 1, 0]), torch.tensor([[[torch.nan, 0, 1]]])
    size = torch.tensor([100.0])
    assert pck(true[..., :2], missing, size, 0.1).isnan()
    assert pck(true[..., :2], absent, size, 0.1).isnan()
    assert pck(true[..., :2], true, 0 * size, 0.1).isnan()
    assert pck(torch.full((1, 1, 2), torch.nan), true, size, 0.1).item() == 0
    with pytest.raises(ValueError, match="same order"):
        pck(torch.zeros(1, 2, 2), true, size, 0.1)
