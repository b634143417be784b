"""Packing finds what trying every partition finds, and names the members that nearly as good
choices would move.
"""

from itertools import combinations

import numpy as np
import pytest

from mining.identity.packing import components, pack


class Table:
    """A set scores the sum of its pairs, or nothing where one of them does not fit."""

    def __init__(self, pair_scores, rivals=()):
        self.pair_scores = {frozenset(pair): score for pair, score in pair_scores.items()}
        self.pairs = list(self.pair_scores)
        self.rivals = [frozenset(pair) for pair in rivals]

    def allowed(self, members):
        return not any(pair <= members for pair in self.rivals)

    def num_comparable(self, one, members):
        return len(members)

    def score(self, members):
        scores = [self.pair_scores.get(frozenset(pair), 0.0) for pair in combinations(members, 2)]
        return sum(scores) if all(scores) else 0.0


def partitions(members):
    if not members:
        yield []
        return
    first, rest = members[0], members[1:]
    for size in range(len(rest) + 1):
        for others in combinations(rest, size):
            left = [member for member in rest if member not in others]
            for partition in partitions(left):
                yield [frozenset([first, *others]), *partition]


def test_picks_are_nearly_always_the_best_of_all_partitions():
    shares = []
    for seed in range(50):
        generator = np.random.default_rng(seed)
        person = generator.integers(0, 3, 8)
        scores = Table(
            {
                (i, j): generator.uniform(6, 10)
                if person[i] == person[j]
                else generator.uniform(0.1, 2)
                for i, j in combinations(range(8), 2)
                if person[i] == person[j] or generator.random() < 0.4
            }
        )
        found = [
            picked for group in components(scores.pairs) for picked in pack(group, scores, 0.2)[0]
        ]
        best = max(sum(map(scores.score, partition)) for partition in partitions(list(range(8))))
        shares.append(sum(map(scores.score, found)) / best)
    assert (
        np.mean(np.array(shares) > 1 - 1e-9) >= 0.98
    )  # it is a heuristic: at most one of these fifty is not
    assert min(shares) > 0.8


def test_a_clear_choice_has_no_close_rival():
    scores = Table({(0, 1): 10.0, (2, 3): 10.0, (0, 3): 3.0, (1, 2): 3.0})
    assert pack(frozenset(range(4)), scores, 0.2) == ([frozenset({0, 1}), frozenset({2, 3})], [])


def test_an_exchange_that_is_nearly_as_good_is_named():
    scores = Table({(0, 1): 10.0, (2, 3): 10.0, (0, 3): 9.5, (1, 2): 9.5})
    _, close = pack(frozenset(range(4)), scores, 0.2)
    assert close and all(share == pytest.approx(0.95) for _, share in close)
    assert all(len(moved & {0, 1}) == 1 and len(moved & {2, 3}) == 1 for moved, _ in close)


def test_best_first_is_mended_where_it_was_greedy():
    scores = Table({(0, 1): 8.0, (2, 3): 8.0, (1, 2): 9.0}, rivals=[(0, 2), (1, 3), (0, 3)])
    assert set(pack(frozenset(range(4)), scores, 0.2)[0]) == {frozenset({0, 1}), frozenset({2, 3})}


def test_components_are_linked_by_pairs():
    pairs = [frozenset(pair) for pair in ((5, 6), (1, 2), (2, 3), (0, 6))]
    assert components(pairs) == [frozenset({0, 5, 6}), frozenset({1, 2, 3})]
    assert components([]) == []
