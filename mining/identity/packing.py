"""Packing: disjoint sets of things that fit together, best first, and how nearly as good other
choices are.

It knows nothing of tracks or cameras: a score says how well a set fits, pairs say what may be
joined at all.
"""

from collections.abc import Iterable, Sequence
from itertools import islice, product
from typing import Protocol

Members = frozenset[int]

MAX_TRIED = 4  # candidates at each step of growth


class Scores(Protocol):
    """How well sets fit: `pairs` that do, whether a set is allowed, and a set's score, 0 where it
    does not fit.
    """

    pairs: Sequence[Members]

    def allowed(self, members: Members) -> bool:
        """Whether the members may be one set at all."""

    def score(self, members: Members) -> float:
        """Score of an allowed set."""

    def num_comparable(self, one: int, members: Members) -> int:
        """How many of the members can be compared with one that is not among them."""


def components(pairs: Iterable[Members]) -> list[Members]:
    """Groups of members that pairs link, in the order of their least member."""
    group_of: dict[int, set[int]] = {}
    for pair in pairs:
        linked = [group_of.setdefault(member, {member}) for member in sorted(pair)]
        largest = max(linked, key=len)
        for group in linked:
            if group is not largest:
                largest |= group
                group_of |= dict.fromkeys(group, largest)
    return sorted({frozenset(group) for group in group_of.values()}, key=min)


def pack(
    component: Members, scores: Scores, margin: float
) -> tuple[list[Members], list[tuple[Members, float]]]:
    """Pick disjoint sets of a component, and list the choices that are nearly as good.

    Sets are grown from every pair and picked best first. Then every set that contradicts the picks
    is forced in turn, and what it breaks is picked anew; picks that it does not touch stay. Where
    the picks that follow score more in total, they replace the first. What they move contributes to
    both totals: where that is more than 1 - `margin` of what it contributes to the first, the
    answer lists what is moved, and that share.
    """
    pairs = [pair for pair in scores.pairs if pair <= component]
    best = _pick(component, [], pairs, scores)
    improved = True
    while improved:
        improved, close = False, []
        for rival in _rivals(best, pairs, scores, margin):
            kept = [picked for picked in best if not picked & rival]
            rest = [picked - rival for picked in best if picked & rival]
            rest = [members for members in rest if len(members) > 1 and scores.score(members) > 0]
            near = component.difference(*kept)
            links = [pair for pair in pairs if pair <= near]
            others = [
                kept + _pick(near, forced, links, scores) for forced in ([rival], [rival, *rest])
            ]
            other = max(others, key=lambda picks: _total(picks, scores))
            moved = _moved(best, other)
            stay = _total([picked - moved for picked in best], scores)
            share = (_total(other, scores) - stay) / max(_total(best, scores) - stay, 1e-9)
            if _total(other, scores) > _total(best, scores) * (1 + 1e-9):
                best, improved = other, True
                break
            if share > 1 - margin:
                close.append((moved, share))
    return best, close


def _pick(
    component: Members, forced: Sequence[Members], pairs: Sequence[Members], scores: Scores
) -> list[Members]:
    """Disjoint sets, the forced ones first, then the best of those grown from what is left."""
    picked = list(forced)
    free = component.difference(*picked)
    while True:
        grown = _grow_all([pair for pair in pairs if pair <= free], scores)
        for candidate in sorted(
            grown, key=lambda members: (-scores.score(members), sorted(members))
        ):
            if not candidate <= free:
                break  # less of it is left, which may still be worth more than what follows
            picked.append(candidate)
            free -= candidate
        if not grown:
            return picked


def _grow_all(pairs: Sequence[Members], scores: Scores) -> list[Members]:
    """Sets grown from every pair, best pair first, but for pairs that a grown set already holds."""
    grown: list[Members] = []
    for pair in sorted(pairs, key=lambda members: (-scores.score(members), sorted(members))):
        if not any(pair <= members for members in grown):
            grown.append(_grow(pair, pairs, scores))
    return grown


def _grow(seed: Members, pairs: Sequence[Members], scores: Scores) -> Members:
    """Add members to a pair, each time the one that raises the score most, until none does.

    Tried are the `MAX_TRIED` with the best pairs, of those that pair with two thirds or more of the
    members they can be compared with.
    """
    members = seed
    while True:
        support: dict[int, list[float]] = {}
        for pair in pairs:
            if len(pair & members) == 1:
                (one,) = pair - members
                support.setdefault(one, []).append(scores.score(pair))
        linked = [
            one
            for one, found in support.items()
            if 3 * len(found) >= 2 * scores.num_comparable(one, members)
        ]
        linked.sort(key=lambda one: (-sum(support[one]), one))
        allowed = (members | {one} for one in linked if scores.allowed(members | {one}))
        larger = list(islice(allowed, MAX_TRIED))
        best = max(larger, key=scores.score, default=members)
        if scores.score(best) <= scores.score(members):
            return members
        members = best


def _rivals(
    best: Sequence[Members], pairs: Sequence[Members], scores: Scores, margin: float
) -> list[Members]:
    """Sets that contradict the picks: pairs that these put apart, as they are and grown, and picks
    with one more.

    Left out are those that score less than half of what the picks that they break into lose on
    average: even an exchange, which gives as much again to the other side, would not come near.
    """
    apart = [pair for pair in pairs if not any(pair <= picked for picked in best)]
    found = {_grow(pair, pairs, scores) for pair in apart} | set(apart)
    for pair, picked in product(apart, best):
        larger = picked | pair
        if len(larger) == len(picked) + 1 and scores.allowed(larger):
            found.add(larger)
    rivals = []
    for rival in found:
        broken = [picked for picked in best if picked & rival and not picked <= rival]
        lost = _total(broken, scores) - _total([picked - rival for picked in broken], scores)
        if scores.score(rival) > 0 and 2 * scores.score(rival) * len(broken) >= (1 - margin) * lost:
            rivals.append(rival)
    return sorted(rivals, key=sorted)


def _total(sets: Iterable[Members], scores: Scores) -> float:
    return sum(sorted(scores.score(members) for members in sets if len(members) > 1))


def _moved(best: Sequence[Members], other: Sequence[Members]) -> Members:
    """Members that keep other company in the other picks than most of their set does."""
    known = frozenset[int]().union(*best)
    moved: set[int] = set()
    for picked in best:
        if picked not in other:
            most = max(other, key=lambda members: (len(members & picked), -min(members)))
            moved |= (picked - most) | (most - known)
    return frozenset(moved)
