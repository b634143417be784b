"""Shares of sources, kinds and parts: fitted, rounded, and read from few shards at a time."""

from collections import Counter, OrderedDict

import numpy as np
import pytest

from catalog.config import override
from shards.format import ShardEntry, ShardIndex
from shards.groups import Group, encode_groups
from training.loading.loader import LoaderConfig
from training.loading.mixture import Shares, fit_shares, group_quotas
from training.loading.order import Mixture, epoch_order, make_mixture

KINDS = ("cross_pose", "cross_view")
PARTS = ("body", "left_hand")


def group(dataset: str, kind: str = "cross_view", part: str = "body") -> Group:
    return Group(dataset=dataset, kind=kind, part=part)


def make_index(numbers_by_shard: list[np.ndarray], groups: list[Group]) -> ShardIndex:
    numbers = np.concatenate(numbers_by_shard)
    kinds = Counter(groups[number].kind for number in numbers.tolist())
    shards = [
        ShardEntry(
            name=f"train-{i:06d}.tar", split="train", samples=len(of_shard), bytes=1,
            sha256="0" * 64, groups=encode_groups(of_shard.tolist()),
        )
        for i, of_shard in enumerate(numbers_by_shard)
    ]  # fmt: skip
    index = ShardIndex(
        name="set", query="true", seed=0, num_samples=len(numbers), samples_by_kind=dict(kinds),
        crop_px=64, groups=tuple(groups), shards=tuple(shards),
    )  # fmt: skip
    return ShardIndex.from_json(index.to_json())


def random_index(num_shards: int, size: int, odds: dict[Group, float], seed: int = 0) -> ShardIndex:
    rng = np.random.default_rng(seed)
    share = np.array(list(odds.values())) / sum(odds.values())
    numbers = [rng.choice(len(odds), size, p=share) for _ in range(num_shards)]
    return make_index(numbers, list(odds))


def groups_read(mixture: Mixture, order: np.ndarray) -> np.ndarray:
    """The set and the group within it of every slot."""
    first = [np.cumsum(of_set.shard_sizes) - of_set.shard_sizes for of_set in mixture.sets]
    rows = [
        (s, mixture.sets[s].groups_N[first[s][shard] + position]) for s, shard, position in order
    ]
    return np.array(rows)


# From shares to numbers


def slow_fit(counts, wanted, sweeps):
    """One cell at a time."""
    cells = {index: count / counts.sum() for index, count in np.ndenumerate(counts)}
    for _ in range(sweeps):
        for axis, shares in enumerate(wanted):
            if shares is None:
                continue
            for row, share in enumerate(shares):
                total = sum(value for index, value in cells.items() if index[axis] == row)
                for index in cells:
                    if index[axis] == row:
                        cells[index] *= share / total
    return cells


@pytest.mark.parametrize("free", [(), (0,), (1,), (0, 2)])
def test_the_fit_equals_a_slow_one_and_has_the_asked_sums(free):
    rng = np.random.default_rng(len(free))
    counts = rng.integers(1, 1000, (4, 2, 3))
    wanted = [rng.dirichlet(np.ones(size)) for size in counts.shape]
    wanted = [None if axis in free else share for axis, share in enumerate(wanted)]
    fitted = fit_shares(counts, wanted)
    for index, value in slow_fit(counts, wanted, 200).items():
        assert fitted[index] == pytest.approx(value, abs=1e-5)
    for axis, share in enumerate(wanted):
        if share is not None:
            found = fitted.sum(axis=tuple({0, 1, 2} - {axis}))
            np.testing.assert_allclose(found, share, atol=1e-6)


def test_what_is_not_asked_keeps_its_make_up():
    fitted = fit_shares(np.array([[[30], [10]], [[5], [15]]]), [np.array([0.5, 0.5]), None, None])
    np.testing.assert_allclose(fitted[:, :, 0], [[0.375, 0.125], [0.125, 0.375]])


def test_shares_are_numbers_of_slots_up_to_rounding():
    groups = [group(d, k, p) for d in "xyz" for k in KINDS for p in PARTS] * 2  # in two sets
    counts = np.random.default_rng(0).integers(50, 2000, len(groups))
    shares = Shares(sources=("x=1", "y=1", "z=2"), kinds=("cross_view=1", "cross_pose=3"))
    quotas = group_quotas(groups, counts, shares)
    total = counts.sum()
    assert quotas.sum() == total

    def slots(**wanted):
        chosen = [all(getattr(g, k) == v for k, v in wanted.items()) for g in groups]
        return quotas[chosen].sum()

    for name, share in [("x", 0.25), ("y", 0.25), ("z", 0.5)]:
        assert abs(slots(dataset=name) - share * total) <= len(groups) / 2
    assert abs(slots(kind="cross_view") - 0.25 * total) <= len(groups) / 2
    for number in range(len(groups) // 2):  # the same group in both sets: read as often in each
        one, other = number, number + len(groups) // 2
        mean = (quotas[one] + quotas[other]) / (counts[one] + counts[other])
        assert abs(quotas[one] - mean * counts[one]) <= 2


def test_names_that_are_not_listed_get_nothing():
    groups = [group("x"), group("y"), group("z", "cross_pose")]
    quotas = group_quotas(groups, np.array([100, 50, 30]), Shares(sources=("x=1", "z=1")))
    assert quotas.tolist() == [65, 0, 65]
    assert group_quotas(groups, np.array([100, 50, 30]), Shares()).tolist() == [100, 50, 30]


def test_a_share_that_leaves_a_group_nothing_is_reached():
    groups = [group("x", "cross_pose"), group("y", "cross_pose"), group("y", "cross_view")]
    shares = Shares(sources=("x=1", "y=1"), kinds=("cross_view=1", "cross_pose=1"))
    quotas = group_quotas(groups, np.array([1000, 1000, 1000]), shares)
    np.testing.assert_allclose(quotas, [1500, 0, 1500], atol=3)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (Shares(kinds=("cross_vieh=1",)), r"loader\.kinds names 'cross_vieh'; .*: cross_pose, "),
        (Shares(sources=("x",)), r"loader\.sources: 'x' is not name=share, such as x=1"),
        (Shares(sources=("x=-1", "y=2")), "'x=-1' must be a number, 0 or more"),
        (Shares(parts=("body=nan",)), "'body=nan' must be a number"),
        (Shares(parts=("body=much",)), "'body=much' must be a number"),
        (Shares(parts=("body=0",)), r"loader\.parts has no share above 0"),
        (Shares(sources=("x=1", "x=2")), "names x twice"),
    ],
)  # fmt: skip
def test_what_is_no_share_is_refused(shares, message):
    groups = [group("x"), group("y", "cross_pose")]
    with pytest.raises(ValueError, match=message):
        group_quotas(groups, np.array([10, 10]), shares)


def test_a_share_out_of_reach_is_named_with_what_is_there():
    groups = [group("x", "cross_pose"), group("y", "cross_pose"), group("y", "cross_view")]
    counts = np.array([400, 70, 30])
    shares = Shares(sources=("x=3", "y=1"), kinds=("cross_view=1", "cross_pose=1"))
    message = r"loader\.sources cannot give .* the samples are: 400 of x cross_pose body, 70 of y"
    with pytest.raises(ValueError, match=message):
        group_quotas(groups, counts, shares)
    shares = Shares(sources=("x=1",), kinds=("cross_view=1", "cross_pose=1"))
    with pytest.raises(ValueError, match=r"loader\.kinds cannot give cross_view .* of 50\.0%.* 0"):
        group_quotas(groups, counts, shares)


def test_shares_are_set_on_the_command_line():
    config = override(LoaderConfig(), ["kinds=cross_view=1, cross_pose=3", "sources=a=0.5,b=2"])
    assert config.kinds == ("cross_view=1", "cross_pose=3")
    assert config.sources == ("a=0.5", "b=2")


# From numbers to an order

ODDS = {group("x"): 10, group("x", "cross_pose"): 5, group("y"): 1, group("y", "cross_pose"): 20}
SHARES = [
    Shares(),
    Shares(kinds=("cross_view=1", "cross_pose=1")),
    Shares(sources=("x=1", "y=8")),
    Shares(sources=("x=1", "y=1"), kinds=("cross_view=3", "cross_pose=1")),
    Shares(sources=("y=1",), kinds=("cross_view=1", "cross_pose=1")),
    Shares(sources=("x=1", "y=1"), kinds=("cross_view=30", "cross_pose=1")),
]


@pytest.mark.parametrize("shares", SHARES)
def test_every_sample_of_a_group_comes_equally_often_or_once_more(shares):
    indexes = [random_index(12, 100, ODDS), random_index(5, 60, {group("z"): 1, **ODDS}, seed=1)]
    if shares.sources:
        shares = Shares(sources=(*shares.sources, "z=1"), kinds=shares.kinds)
    mixture = make_mixture(indexes, "train", shares, window_shards=3)
    orders = [epoch_order(mixture, seed=3, epoch=epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[0], orders[2])
    for order in orders[1:]:
        assert len(order) == mixture.num_slots
        read = groups_read(mixture, order)
        for s, of_set in enumerate(mixture.sets):
            counts = np.bincount(of_set.groups_N, minlength=len(of_set.quotas_G))
            for g, (quota, count) in enumerate(zip(of_set.quotas_G, counts, strict=True)):
                chosen = order[(read == (s, g)).all(axis=1)]
                assert len(chosen) == quota
                times = np.unique(chosen, axis=0, return_counts=True)[1]
                times = np.concatenate([times, np.zeros(count - len(times), int)])
                assert times.max() - times.min() <= (quota % count > 0)


def test_a_group_is_read_in_shuffles_one_after_the_other():
    index = random_index(10, 100, {group("x"): 1, group("y"): 4})
    mixture = make_mixture([index], "train", Shares(sources=("x=3", "y=1")), window_shards=3)
    order = epoch_order(mixture, seed=0, epoch=0)
    of_x = order[groups_read(mixture, order)[:, 1] == 0]
    count = int((mixture.sets[0].groups_N == 0).sum())
    rounds = [of_x[i * count : (i + 1) * count] for i in range(3)]
    assert len(of_x) > 3 * count
    assert all(len(np.unique(part, axis=0)) == count for part in rounds)
    assert not np.array_equal(rounds[0], rounds[1])


def test_a_part_of_a_set_is_another_part_in_every_epoch():
    indexes = [random_index(20, 50, {group("x"): 1}), random_index(2, 50, {group("y"): 1})]
    mixture = make_mixture(indexes, "train", Shares(sources=("x=1", "y=3")), window_shards=2)
    orders = [epoch_order(mixture, seed=0, epoch=epoch) for epoch in range(40)]
    read = [{tuple(row) for row in order.tolist() if row[0] == 0} for order in orders]
    assert all(len(part) == 275 for part in read)
    assert all(len({shard for _, shard, _ in part}) == 6 for part in read)  # 6 x 50 of 20 shards
    assert len(set.union(*read)) == 1000


@pytest.mark.parametrize("shares", SHARES)
def test_few_shards_are_open_at_a_time(shares):
    num_shards, size, window = 120, 200, 4
    index = random_index(num_shards, size, ODDS)
    mixture = make_mixture([index], "train", shares, window)
    order = epoch_order(mixture, seed=0, epoch=0)
    counts = np.bincount(mixture.sets[0].groups_N)
    most = (mixture.sets[0].quotas_G / counts).max()
    assert count_openings(order[:, 1], window) <= num_shards * (np.ceil(most) + 1)
    stretch = int(window * len(order) / num_shards / (most + 1))  # slots of a window, at least
    distinct = [
        len(set(order[start : start + stretch, 1].tolist()))
        for start in range(0, len(order) - stretch, max(1, stretch // 8))
    ]
    assert max(distinct) <= 3 * window


def count_openings(shards: np.ndarray, capacity: int) -> int:
    """How often a shard is opened when the least recently used of those open is closed."""
    opened: OrderedDict[int, None] = OrderedDict()
    count = 0
    for shard in shards.tolist():
        if shard not in opened:
            count += 1
            if len(opened) == capacity:
                opened.popitem(last=False)
            opened[shard] = None
        opened.move_to_end(shard)
    return count


def test_a_window_bounds_the_open_shards():
    index = random_index(20, 100, {group("x"): 1})
    order = epoch_order(make_mixture([index], "train", Shares(), 4), seed=0, epoch=0)
    for start in range(0, 2000, 400):
        assert len(set(order[start : start + 400, 1])) == 4
    assert len(np.unique(order, axis=0)) == 2000


def test_a_handful_asked_for_very_often_does_not_scatter_the_others():
    odds = {group("x"): 1, group("y"): 2000}
    index = random_index(100, 200, odds)
    mixture = make_mixture([index], "train", Shares(sources=("x=1", "y=1")), window_shards=4)
    order = epoch_order(mixture, seed=0, epoch=0)
    assert (mixture.sets[0].quotas_G == 10_000).all()
    assert count_openings(order[:, 1], 4) <= 100 * 16


def test_groups_keep_the_same_pace():
    index = random_index(100, 200, ODDS)
    shares = Shares(sources=("x=1", "y=1"), kinds=("cross_view=3", "cross_pose=1"))
    mixture = make_mixture([index], "train", shares, window_shards=8)
    read = groups_read(mixture, epoch_order(mixture, seed=0, epoch=0))[:, 1]
    share = mixture.sets[0].quotas_G / len(read)
    for tenth in np.array_split(read, 10):
        found = np.bincount(tenth, minlength=len(share)) / len(tenth)
        np.testing.assert_allclose(found, share, atol=0.05)
