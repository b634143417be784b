"""Accuracies, confusion and nearest neighbours: by hand and against slow plain versions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.metrics import classes
from training.metrics.classes import (
    class_accuracy,
    confusion_matrix,
    correct_classes,
    knn_classes,
    mean_class_accuracy,
)

LABELS = torch.tensor([0, 0, 0, 1, -1])
PREDICTED = torch.tensor([0, 0, 1, 0, 0])


def test_four_labelled_samples_of_which_two_are_right():
    right = correct_classes(PREDICTED, LABELS)
    assert right[:4].tolist() == [1, 1, 0, 0] and right[4].isnan()


def test_rare_classes_count_as_much_as_frequent_ones_and_absent_ones_do_not():
    confusion = confusion_matrix(PREDICTED, LABELS, 3)
    assert confusion.tolist() == [[2, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert class_accuracy(confusion)[2].isnan()
    assert mean_class_accuracy(confusion) == pytest.approx((2 / 3 + 0) / 2)


def test_without_labels_there_is_no_accuracy():
    none = torch.full((3,), -1)
    assert math.isnan(mean_class_accuracy(confusion_matrix(none, none, 3)))


def test_confusion_equals_a_plain_count():
    rng = np.random.default_rng(0)
    pred, label = rng.integers(0, 5, 200), rng.integers(-1, 5, 200)
    expected = np.zeros((5, 5), int)
    for p, t in zip(pred, label, strict=True):
        if t >= 0:
            expected[t, p] += 1
    found = confusion_matrix(torch.from_numpy(pred), torch.from_numpy(label), 5)
    assert found.tolist() == expected.tolist()


def test_a_class_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="3 classes"):
        confusion_matrix(torch.tensor([0]), torch.tensor([3]), 3)


def test_neighbours_vote_as_plain_ones_do(monkeypatch):
    rng = np.random.default_rng(0)
    memory, label, features = (
        rng.normal(size=(90, 8)),
        rng.integers(0, 4, 90),
        rng.normal(size=(30, 8)),
    )
    expected = []
    for feature in features:
        cosine = memory @ feature / np.linalg.norm(memory, axis=1) / np.linalg.norm(feature)
        votes = np.zeros(4)
        for i in np.argsort(-cosine)[:20]:
            votes[label[i]] += np.exp(cosine[i] / 0.07)
        expected.append(votes.argmax())
    monkeypatch.setattr(classes, "CHUNK", 7)
    inputs = [torch.from_numpy(x) for x in (memory, label, features)]
    assert knn_classes(*inputs, 4).tolist() == expected


def test_length_does_not_matter_to_neighbours_and_a_small_memory_votes_whole():
    memory = torch.tensor([[1.0, 0], [0, 1]])
    features = torch.tensor([[100.0, 1], [0.001, 0.01]])
    assert knn_classes(memory, torch.tensor([1, 0]), features, 2).tolist() == [1, 0]
    assert torch.equal(
        knn_classes(F.normalize(memory * 9), torch.tensor([1, 0]), features, 2),
        torch.tensor([1, 0]),
    )


def test_neighbours_must_have_labels():
    with pytest.raises(ValueError, match="labelled samples"):
        knn_classes(torch.ones(2, 3), torch.tensor([0, -1]), torch.ones(1, 3), 2)
