"""Masks have exact counts, whatever the foreground, and lean as asked."""

import numpy as np
import pytest

from training.loading.masking import MaskingConfig, choose_masks, num_masked


def mask_of(foreground, config: MaskingConfig, rng) -> tuple[np.ndarray, np.ndarray]:
    """Visible and masked patches of one sample, drawn beside another's."""
    chance = rng.random((2, len(foreground)))
    visible, masked = choose_masks(np.stack([foreground, foreground[::-1]]), chance, config)
    return visible[0], masked[0]


@pytest.mark.parametrize(("ratio", "expected"), [(0.9, 176), (0.75, 147), (0.5, 98)])
def test_the_ratio_hides_an_exact_number(ratio, expected):
    assert num_masked(196, ratio) == expected


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("people", [0, 1, 40, 147, 170, 196])
def test_counts_do_not_depend_on_the_foreground(focus, people):
    rng = np.random.default_rng(0)
    foreground = rng.permutation(np.arange(196) < people).astype(np.float32)
    visible, masked = mask_of(foreground, MaskingConfig(ratio=0.75, focus=focus), rng)
    assert len(masked) == 147
    assert sorted([*visible, *masked]) == list(range(196))
    assert list(visible) == sorted(visible) and list(masked) == sorted(masked)


def test_full_focus_hides_all_foreground_first():
    foreground = np.zeros(100, np.float32)
    foreground[:30] = 1
    config = MaskingConfig(ratio=0.5, focus=1.0)
    for seed in range(20):
        _, masked = mask_of(foreground, config, np.random.default_rng(seed))
        assert set(range(30)) <= set(masked)


def test_full_focus_hides_only_foreground_where_there_is_enough():
    foreground = np.zeros(100, np.float32)
    foreground[:70] = 1
    config = MaskingConfig(ratio=0.5, focus=1.0)
    hidden = np.zeros(100)
    for seed in range(400):
        hidden[mask_of(foreground, config, np.random.default_rng(seed))[1]] += 1
    assert hidden[70:].sum() == 0
    assert hidden[:70].min() > 400 * 50 / 70 * 0.8  # each of them about equally often


def test_without_focus_every_patch_is_hidden_equally_often():
    foreground = (np.arange(64) < 20).astype(np.float32)
    config = MaskingConfig(ratio=0.75)
    hidden = np.zeros(64)
    for seed in range(2000):
        hidden[mask_of(foreground, config, np.random.default_rng(seed))[1]] += 1
    assert np.all(np.abs(hidden / 2000 - 0.75) < 0.05)


def test_more_focus_hides_more_foreground():
    foreground = (np.arange(64) < 20).astype(np.float32)
    shares = []
    for focus in (0.0, 0.2, 0.5, 1.0):
        config = MaskingConfig(ratio=0.5, focus=focus)
        masks = [mask_of(foreground, config, np.random.default_rng(s))[1] for s in range(200)]
        shares.append(np.mean([np.mean(np.isin(np.arange(20), mask)) for mask in masks]))
    assert shares == sorted(shares) and shares[0] < 0.55 and shares[-1] == 1


def test_the_generator_decides():
    foreground = np.zeros(64, np.float32)
    one, same, other = (
        mask_of(foreground, MaskingConfig(), np.random.default_rng(seed))[1] for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.001, 1.5])
def test_a_mask_of_nothing_or_everything_is_refused(ratio):
    with pytest.raises(ValueError, match="mask ratio"):
        num_masked(64, ratio)
