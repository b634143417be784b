"""Probes find what features hold, and nothing where there is nothing."""

import pytest
import torch

from training.finetuning import probes
from training.finetuning.probes import _held_out, knn_probe, linear_probe, mean_tokens
from training.tasks.task import Features

NUM_CLASSES = 4


def make_features(num: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds around one place for each class; only differences matter, so all share an offset."""
    torch.manual_seed(0)
    centres = 3 * torch.randn(NUM_CLASSES, 32)
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(num) % NUM_CLASSES
    noise = torch.randn(num, 32, generator=generator)
    return 5 + spread * noise + centres[classes], classes


def test_probes_tell_separable_features_apart():
    train, train_classes = make_features(120, 1.0, seed=1)
    test, test_classes = make_features(80, 1.0, seed=2)
    probe = linear_probe(train, train_classes, test, NUM_CLASSES)
    assert probe.logits_BK.shape == (80, NUM_CLASSES)
    assert (probe.classes_B == test_classes).double().mean() > 0.97
    assert (
        knn_probe(train, train_classes, test, NUM_CLASSES) == test_classes
    ).double().mean() > 0.9


def test_probes_are_at_chance_on_noise():
    generator = torch.Generator().manual_seed(3)
    train, test = (
        torch.randn(200, 16, generator=generator),
        torch.randn(400, 16, generator=generator),
    )
    classes, test_classes = torch.arange(200) % NUM_CLASSES, torch.arange(400) % NUM_CLASSES
    linear = linear_probe(train, classes, test, NUM_CLASSES).classes_B
    for found in (linear, knn_probe(train, classes, test, NUM_CLASSES)):
        assert abs((found == test_classes).double().mean() - 1 / NUM_CLASSES) < 0.08


def test_scale_and_constants_of_features_do_not_matter_to_the_linear_probe():
    train, classes = make_features(80, 2.0, seed=1)
    test, _ = make_features(40, 2.0, seed=2)
    plain = linear_probe(train, classes, test, NUM_CLASSES)
    scale = torch.logspace(-3, 3, 32)
    scaled = [torch.cat([x * scale, torch.full((len(x), 1), 7.0)], dim=1) for x in (train, test)]
    other = linear_probe(scaled[0], classes, scaled[1], NUM_CLASSES)
    assert other.weight_decay == plain.weight_decay
    torch.testing.assert_close(other.logits_BK, plain.logits_BK, atol=0.02, rtol=0.02)


def test_the_weight_decay_is_chosen_by_samples_that_were_held_out(
    monkeypatch: pytest.MonkeyPatch,
):
    """Few samples of many features that are mostly noise: without decay the fit is to the noise."""
    torch.manual_seed(1)
    classes = torch.arange(60) % 2
    train, test = 4 * torch.randn(60, 100), 4 * torch.randn(400, 100)
    test_classes = torch.arange(400) % 2
    for features, labels in ((train, classes), (test, test_classes)):
        features[:, :5] += 4 * (2 * labels[:, None] - 1)
    chosen = linear_probe(train, classes, test, 2)
    monkeypatch.setattr(probes, "WEIGHT_DECAYS", (1e-6,))
    weak = linear_probe(train, classes, test, 2)
    assert chosen.weight_decay > 1e-6

    def right(found: torch.Tensor) -> float:
        return (found == test_classes).double().mean().item()

    assert right(chosen.classes_B) >= right(weak.classes_B)


def test_groups_are_held_out_whole_and_classes_in_shares():
    groups = torch.arange(100) // 10
    held = _held_out(torch.arange(100) % 3, groups, seed=0)
    assert held.sum() == 20
    assert all(len(held[groups == group].unique()) == 1 for group in range(10))
    rare = torch.tensor([0] * 90 + [1] * 10)
    held = _held_out(rare, None, seed=0)
    assert held[rare == 1].sum() == 2 and held[rare == 0].sum() == 18


def test_few_samples_still_leave_some_to_choose_by():
    for groups in (None, torch.zeros(6, dtype=torch.long)):
        held = _held_out(torch.tensor([0, 0, 0, 1, 1, 1]), groups, seed=0)
        assert 0 < held.sum() < 6


def test_damaged_features_are_refused():
    features, classes = make_features(20, 1.0, seed=1)
    features[3, 3] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        linear_probe(features, classes, features, NUM_CLASSES)
    with pytest.raises(ValueError, match="give one class for each"):
        linear_probe(features, classes[:5], features, NUM_CLASSES)
    with pytest.raises(ValueError, match="classes 0 to 1"):
        knn_probe(torch.randn(20, 4), classes, torch.randn(2, 4), 2)


def test_an_image_is_the_mean_of_its_tokens():
    tokens = torch.randn(3, 16, 8)
    torch.testing.assert_close(mean_tokens(Features(tokens, ())), tokens.mean(dim=1))
