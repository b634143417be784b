"""The loader's order, position and patience with damage, on toy shards in the real format."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.toy_shards import write_toy_shards
from training.loading.augment import AugmentConfig
from training.loading.filling import View
from training.loading.loader import LoaderConfig, PairLoader
from training.loading.masking import MaskingConfig
from training.loading.pair_batch import PairBatch
from training.loading.roles import is_swapped

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
    return [pair_id for batch in batches for pair_id in batch.sample_ids]


def test_an_epoch_has_every_sample_once_in_a_new_order(shards):
    loader = make_loader(shards)
    assert loader.num_batches == 10
    first, second = ids(take(loader, 10)), ids(take(loader, 10))
    assert len(set(first)) == 40
    assert set(first) == set(second) and first != second
    assert loader.state()["epoch"] == 2


MIXED = {"kinds": ("cross_view=3", "cross_pose=1"), "roles": "random"}


@pytest.mark.parametrize(("workers", "options"), [(1, {}), (2, {}), (2, MIXED)])
def test_worker_processes_change_nothing(shards, workers, options):
    alone = take(make_loader(shards, **options), 13)
    shared = take(make_loader(shards, workers, **options), 13)
    for one, other in zip(alone, shared, strict=True):
        assert one.sample_ids == other.sample_ids and one.places == other.places
        assert one.swapped == other.swapped
        for name in ("images_a", "images_b", "foreground", "visible", "masked"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(("workers", "options"), [(0, {}), (2, {}), (0, MIXED)])
def test_a_restored_position_gives_exactly_the_missing_samples(shards, workers, options):
    whole = [batch.sample_ids for batch in take(make_loader(shards, **options), 14)]
    for stop in (1, 9, 10, 13):
        first = make_loader(shards, workers, **options)
        take(first, stop)
        second = make_loader(shards, workers, **options)
        second.restore(first.state())
        assert [batch.sample_ids for batch in take(second, 14 - stop)] == whole[stop:]


def test_a_position_in_other_batches_is_refused(shards):
    state = make_loader(shards).state()
    with pytest.raises(ValueError, match="other shards or batches"):
        make_loader(shards, batch_size=5).restore(state)
    with pytest.raises(ValueError, match="other shards or batches"):
        make_loader(shards, **MIXED).restore(state)


@pytest.mark.parametrize("options", [{}, MIXED])
def test_ranks_share_each_step(shards, options):
    together = take(make_loader(shards, batch_size=8, **options), 5)
    ranks = [take(make_loader(shards, rank=r, world_size=2, **options), 5) for r in (0, 1)]
    for step, whole in enumerate(together):
        halves = [batches[step] for batches in ranks]
        assert whole.sample_ids == halves[0].sample_ids + halves[1].sample_ids
        assert torch.equal(whole.images_a, torch.cat([half.images_a for half in halves]))


def test_the_url_does_not_change_the_order(shards):
    local, url = make_loader(shards, 1), make_loader(f"file://{shards}", 1)
    assert ids(take(local, 3)) == ids(take(url, 3))
    assert local.state() == url.state()


def test_augmentation_and_masks_change_with_the_epoch(shards):
    loader = make_loader(shards)
    epochs = [{}, {}]
    for batch in take(loader, 20)[:20]:
        for i, pair_id in enumerate(batch.sample_ids):
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


PLAIN = replace(VIEW, image_px=64, augment=AugmentConfig(jitter=0.0, crop_share=1.0))


def test_swapped_pairs_have_their_images_in_the_other_roles(shards):
    mined = take(make_loader(shards, view=PLAIN), 20)
    drawn = take(make_loader(shards, view=PLAIN, roles="random"), 20)
    swapped = {}
    for one, other in zip(mined, drawn, strict=True):
        assert one.sample_ids == other.sample_ids and not any(one.swapped)
        for i, swap in enumerate(other.swapped):
            a, b = (one.images_b, one.images_a) if swap else (one.images_a, one.images_b)
            assert torch.equal(other.images_a[i], a[i]) and torch.equal(other.images_b[i], b[i])
            assert one.metas[i] == other.metas[i]
            swapped.setdefault(other.sample_ids[i], []).append(swap)
    draws = [swap for both in swapped.values() for swap in both]
    assert 25 <= sum(draws) <= 55  # of 80
    assert any(first != second for first, second in swapped.values())  # drawn anew each epoch


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_later_image_is_masked_where_there_is_one(shards, split):
    held_out = replace(PLAIN, held_out=split == "val")
    batches = take(make_loader(shards, view=held_out, roles="later_first", split=split), 2)
    seen = set()
    for batch in batches:
        for meta, swapped in zip(batch.metas, batch.swapped, strict=True):
            gap_s = meta["b"]["time_s"] - meta["a"]["time_s"]
            assert swapped == (gap_s > 0)
            seen.add((meta["kind"], np.sign(gap_s)))
    assert seen == {("cross_view", 0), ("cross_pose", 1), ("cross_pose", -1)}


def test_held_out_pairs_keep_the_roles_that_were_mined(shards):
    view = replace(VIEW, held_out=True)
    assert not any(take(make_loader(shards, view=view, roles="random", split="val"), 1)[0].swapped)


@pytest.mark.parametrize("times_s", [(None, 2.0), (1.0, None), (1.0, 1.0)])
def test_without_two_times_roles_are_as_mined(times_s):
    meta = {"kind": "cross_pose", "a": {"time_s": times_s[0]}, "b": {"time_s": times_s[1]}}
    assert not is_swapped(meta, "later_first", chance=0.9)


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


def test_shares_decide_what_an_epoch_holds(tmp_path):
    urls = [
        write_toy_shards(tmp_path / "small", (10,), dataset="small"),
        write_toy_shards(tmp_path / "large", (15, 15), dataset="large"),
    ]
    shares = {"sources": ("small=3", "large=1"), "kinds": ("cross_view=1", "cross_pose=1")}
    loader = make_loader(urls, **shares)
    metas = [meta for batch in take(loader, 10) for meta in batch.metas]
    assert loader.num_samples == len(metas) == 40
    assert Counter(meta["dataset"] for meta in metas) == {"small": 30, "large": 10}
    assert Counter(meta["kind"] for meta in metas) == {"cross_view": 20, "cross_pose": 20}
    times = Counter(meta["pair_id"] for meta in metas if meta["dataset"] == "small")
    assert set(times.values()) == {3} and len(times) == 10


def test_parts_are_mixed_over_sets_and_others_left_out(tmp_path):
    urls = [
        write_toy_shards(tmp_path / "body", (12,)),
        write_toy_shards(tmp_path / "hands", (12, 12), parts=("left_hand", "right_hand"), seed=1),
    ]
    loader = make_loader(urls, parts=("body=1", "left_hand=2"))
    assert loader.num_samples == 24
    parts = Counter(meta["part"] for batch in take(loader, 6) for meta in batch.metas)
    assert parts == {"body": 8, "left_hand": 16}


def test_wrong_shares_are_refused(shards):
    with pytest.raises(ValueError, match=r"loader\.sources names 'toys'; the samples have: toy"):
        make_loader(shards, sources=("toys=1",))


def test_a_truncated_shard_costs_only_what_is_lost(tmp_path):
    folder = tmp_path / "set"
    url = write_toy_shards(folder, (20, 20))
    whole = ids(take(make_loader(url), 10))
    cut_file(folder / "train-000001.tar", 0.5)
    loader = make_loader(url, max_bad_share=0.5)
    batches = take(loader, 10)
    lost = set(whole) - set(ids(batches))
    assert 5 <= len(lost) <= 12 and len(loader.damaged) == len(lost)
    assert all(len(batch.sample_ids) == 4 for batch in batches)
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
        (b"\xff\xd8\xff", b"\x00\x00\x00", "no whole JPEG"),
        (b'"kind":"cross_view"', b'"kind":"cross_vieh"', "unknown kind 'cross_vieh'"),
        (b'"dataset"', b'"datasat"', "JSON lacks dataset"),
        (b'{"a":', b'["a":', "Expecting|delimiter"),
        (b"(2, 32, 32)", b"(2, 32, 33)", "foreground.npy"),
        (b"(2, 17, 3)", b"(17, 3, 2)", "keypoints.npy"),
        (b"(2, 17, 3), }", b"(2, 17, 3),  ", "keypoints.npy is no array: its header is damaged"),
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


KILLED = """
import multiprocessing, sys, time
from tests.test_loader import make_loader
batches = iter(make_loader(sys.argv[1], workers=2, batch_size=200))
next(batches)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""


def test_loader_processes_end_with_a_trainer_that_is_killed(tmp_path):
    # What is known of 200 samples is more than a pipe holds: the processes wait to hand it on.
    url = write_toy_shards(tmp_path / "set", (400,), crop_px=16)
    command = [sys.executable, "-c", KILLED, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        loaders = [int(pid) for pid in trainer.stdout.readline().split()]
        assert len(loaders) == 2 and all(map(is_running, loaders))
        time.sleep(1)
        trainer.kill()
    deadline = time.monotonic() + 10
    while left := [pid for pid in loaders if is_running(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail("the loader processes outlived their trainer")
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended (nobody may have collected it yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_too_few_pairs_are_refused(shards):
    with pytest.raises(ValueError, match="40 train pairs are fewer than one batch of 64"):
        make_loader(shards, batch_size=64)


def test_no_set_is_refused():
    with pytest.raises(ValueError, match="no shard set"):
        make_loader([])


def cut_file(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
