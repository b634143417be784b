"""The loader's order, position and patience with damage, on toy shards in the real format."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.toy_shards import write_toy_shards
from training.loading.augment import AugmentConfig
from training.loading.batches import PairBatch, View
from training.loading.loader import LoaderConfig, PairLoader
from training.loading.masking import MaskingConfig
from training.loading.order import Mixture, epoch_order

VIEW = View(image_px=32, patch_px=8, augment=AugmentConfig(), masking=MaskingConfig(), seed=0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_toy_shards(tmp_path_factory.mktemp("toy") / "set", (10, 14, 8, 8), val_size=6)


def make_loader(urls, workers: int = 0, view: View = VIEW, **options) -> PairLoader:
    urls = [urls] if isinstance(urls, str) else urls
    split, rank = options.pop("split", "train"), options.pop("rank", 0)
    world_size = options.pop("world_size", 1)
    config = LoaderConfig(
        **{"batch_size": 4, "window_shards": 2, **options, "num_workers": workers}
    )
    return PairLoader(urls, config, view, split, rank, world_size)


def take(loader: PairLoader, count: int) -> list[PairBatch]:
    return list(itertools.islice(loader, count))


def ids(batches: list[PairBatch]) -> list[str]:
    return [pair_id for batch in batches for pair_id in batch.pair_ids]


def test_an_epoch_has_every_sample_once_in_a_new_order(shards):
    loader = make_loader(shards)
    assert loader.num_batches == 10
    first, second = ids(take(loader, 10)), ids(take(loader, 10))
    assert len(set(first)) == 40
    assert set(first) == set(second) and first != second
    assert loader.state()["epoch"] == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(shards, workers):
    alone, shared = take(make_loader(shards), 13), take(make_loader(shards, workers), 13)
    for one, other in zip(alone, shared, strict=True):
        assert one.pair_ids == other.pair_ids and one.places == other.places
        for name in ("images_a", "images_b", "foreground", "visible", "masked"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restored_position_gives_exactly_the_missing_samples(shards, workers):
    whole = [batch.pair_ids for batch in take(make_loader(shards), 14)]
    for stop in (1, 9, 10, 13):
        first = make_loader(shards, workers)
        take(first, stop)
        second = make_loader(shards, workers)
        second.restore(first.state())
        assert [batch.pair_ids for batch in take(second, 14 - stop)] == whole[stop:]


def test_a_position_in_other_batches_is_refused(shards):
    state = make_loader(shards).state()
    with pytest.raises(ValueError, match="other shards or batches"):
        make_loader(shards, batch_size=5).restore(state)


def test_ranks_share_each_step(shards):
    together = take(make_loader(shards, batch_size=8), 5)
    ranks = [take(make_loader(shards, rank=rank, world_size=2), 5) for rank in (0, 1)]
    for step, whole in enumerate(together):
        halves = [batches[step] for batches in ranks]
        assert whole.pair_ids == halves[0].pair_ids + halves[1].pair_ids
        assert torch.equal(whole.images_a, torch.cat([half.images_a for half in halves]))


def test_the_url_does_not_change_the_order(shards):
    local, url = make_loader(shards, 1), make_loader(f"file://{shards}", 1)
    assert ids(take(local, 3)) == ids(take(url, 3))
    assert local.state() == url.state()


def test_augmentation_and_masks_change_with_the_epoch(shards):
    loader = make_loader(shards)
    epochs = [{}, {}]
    for batch in take(loader, 20)[:20]:
        for i, pair_id in enumerate(batch.pair_ids):
            epoch = epochs[pair_id in epochs[0]]
            epoch[pair_id] = (batch.images_a[i], batch.masked[i])
    differ = [
        not torch.equal(epochs[0][i][part], epochs[1][i][part])
        for i in epochs[0]
        for part in (0, 1)
    ]
    assert sum(differ) > 70  # of 80


def test_samples_have_their_own_masks_and_foreground(shards):
    batch = take(make_loader(shards), 1)[0]
    assert batch.masked.shape == (4, 14) and batch.visible.shape == (4, 2)
    assert len({tuple(row.tolist()) for row in batch.masked}) == 4
    assert batch.foreground.shape == (4, 16) and 0.1 < batch.foreground.mean() < 0.6
    assert batch.images_a.dtype == torch.uint8 and batch.images_a.shape == (4, 32, 32, 3)


def test_roles_are_swapped_as_often_as_asked(shards):
    for share in (0.0, 1.0):
        plain = AugmentConfig(jitter=0.0, crop_share=1.0)
        swapped = AugmentConfig(jitter=0.0, crop_share=1.0, swap_share=share)
        one, other = (
            take(make_loader(shards, view=View(image_px=64, patch_px=8, augment=augment,
                 masking=MaskingConfig(), seed=0)), 1)[0]
            for augment in (plain, swapped)
        )  # fmt: skip
        expected = one.images_b if share else one.images_a
        assert torch.equal(other.images_a, expected)


def test_held_out_samples_never_change(shards):
    view = View(image_px=32, patch_px=8, augment=AugmentConfig(), masking=MaskingConfig(), seed=0,
                held_out=True)  # fmt: skip
    loader = make_loader(shards, view=view, split="val")
    assert loader.num_batches == 2  # 6 samples in batches of 4: the rest counts, too
    first, second = take(loader, 2), take(loader, 2)
    assert sorted(ids(first)) == sorted(ids(second))
    images = [
        dict(zip(ids(x), torch.cat([b.images_a for b in x]), strict=True)) for x in (first, second)
    ]
    masks = [
        dict(zip(ids(x), torch.cat([b.masked for b in x]), strict=True)) for x in (first, second)
    ]
    for found in (images, masks):
        assert all(torch.equal(found[0][i], found[1][i]) for i in found[0])


def test_half_size_decoding_looks_the_same(tmp_path):
    url = write_toy_shards(tmp_path / "big", (8,), crop_px=256)
    views = [
        View(
            image_px=px, patch_px=px // 8, augment=AugmentConfig(), masking=MaskingConfig(), seed=0
        )
        for px in (64, 128)
    ]
    small, large = (take(make_loader(url, view=view), 1)[0].images_a.float() for view in views)
    shrunk = large.unflatten(1, (64, 2)).unflatten(3, (64, 2)).mean((2, 4))
    assert (small - shrunk).abs().mean() < 4


def test_weights_set_the_shares_of_the_sets(tmp_path):
    urls = [
        write_toy_shards(tmp_path / "small", (10,), seed=1),
        write_toy_shards(tmp_path / "large", (15, 15), seed=2),
    ]
    small = set(ids(take(make_loader(urls[0], batch_size=10), 1)))
    batches = take(make_loader(urls, weights=(3.0, 1.0)), 10)
    drawn = [pair_id in small for pair_id in ids(batches)]
    assert sum(drawn) == 30 and len(drawn) == 40
    counts = np.unique([i for i in ids(batches) if i in small], return_counts=True)[1]
    assert list(counts) == [3] * 10


@pytest.mark.parametrize(
    ("weights", "message"), [((1.0,), "one for each"), ((-1.0, 2.0), "positive")]
)
def test_wrong_weights_are_refused(shards, weights, message):
    with pytest.raises(ValueError, match=message):
        make_loader([shards, shards], weights=weights)


def test_a_window_bounds_the_open_shards():
    mixture = Mixture(samples=((100,) * 20,), window_shards=4)
    order = epoch_order(mixture, seed=0, epoch=0)
    for start in range(0, 2000, 400):
        assert len(set(order[start : start + 400, 1])) == 4
    assert len(np.unique(order, axis=0)) == 2000


def test_a_truncated_shard_costs_only_what_is_lost(tmp_path):
    folder = tmp_path / "set"
    url = write_toy_shards(folder, (20, 20))
    whole = ids(take(make_loader(url), 10))
    cut_file(folder / "train-000001.tar", 0.5)
    loader = make_loader(url, max_bad_share=0.5)
    batches = take(loader, 10)
    lost = set(whole) - set(ids(batches))
    assert 5 <= len(lost) <= 12 and len(loader.damaged) == len(lost)
    assert all(len(batch.pair_ids) == 4 for batch in batches)
    assert all("train-000001.tar sample" in reason for reason in loader.damaged.values())


def test_a_missing_shard_is_named(tmp_path):
    url = write_toy_shards(tmp_path / "set", (20, 4))
    (tmp_path / "set" / "train-000001.tar").unlink()
    loader = make_loader(url, max_bad_share=0.5)
    take(loader, 6)
    assert len(loader.damaged) == 4
    assert "No such file" in next(iter(loader.damaged.values()))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\xff\xd8\xff", b"\x00\x00\x00", "no JPEG"),
        (b'"kind": "cross_view"', b'"kind": "cross_vieh"', "unknown kind"),
        (b'"dataset"', b'"datasat"', "lacks"),
        (b'{"pair_id"', b'["pair_id"', "Expecting|delimiter"),
    ],
)
def test_a_damaged_sample_is_named_and_left_out(tmp_path, old, new, reason):
    url = write_toy_shards(tmp_path / "set", (20, 20))
    shard = tmp_path / "set" / "train-000000.tar"
    data = shard.read_bytes()
    assert old in data
    shard.write_bytes(data.replace(old, new, 1))
    loader = make_loader(url, max_bad_share=0.1)
    seen = ids(take(loader, 10))
    assert len(set(seen)) == 39 and len(loader.damaged) == 1
    (message,) = loader.damaged.values()
    assert "train-000000.tar sample 0" in message
    assert re.search(reason, message)


def test_too_much_damage_stops_the_run(tmp_path):
    url = write_toy_shards(tmp_path / "set", (20, 20))
    cut_file(tmp_path / "set" / "train-000000.tar", 0.1)
    with pytest.raises(ValueError, match=r"of 40 samples are damaged, more than loader\.max_bad"):
        take(make_loader(url), 10)


def test_too_few_pairs_are_refused(shards):
    with pytest.raises(ValueError, match="40 train pairs are fewer than one batch of 64"):
        make_loader(shards, batch_size=64)


def test_no_set_is_refused():
    with pytest.raises(ValueError, match="no shard set"):
        make_loader([])


def cut_file(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
