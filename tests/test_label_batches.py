"""Labelled batches: their order, shares and damage, and that labels stay true to the pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.toy_labels import write_toy_labels
from training.finetuning.config import make_config
from training.finetuning.evaluate import held_out_batches
from training.loading.label_augment import LabelAugmentConfig
from training.loading.label_batches import LabelLoader, LabelLoaderConfig, LabelView
from training.tasks.registry import make_task, task_config

VIEW = LabelView(image_px=32, augment=LabelAugmentConfig(), seed=0)
CONFIG = LabelLoaderConfig(batch_size=6, num_workers=0, window_shards=2)


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> str:
    return write_toy_labels(tmp_path_factory.mktemp("labels"))


def keypoints(**changes: object):
    return make_task("keypoints", replace(task_config("keypoints", "tiny"), **changes))


def make_loader(url: str, task=None, view: LabelView = VIEW, split: str = "train", **changes):
    ranks = {name: changes.pop(name) for name in ("rank", "world_size") if name in changes}
    return LabelLoader([url], task or keypoints(), replace(CONFIG, **changes), view, split, **ranks)


def take(loader, count: int) -> list:
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def ids(batches) -> list[str]:
    return [id for batch in batches for id in batch.sample_ids]


def test_an_epoch_has_every_sample_once_in_a_new_order(labels):
    loader = make_loader(labels)
    first, second = ids(take(loader, 8)), ids(take(loader, 8))
    assert len(set(first)) == 48 and sorted(first) == sorted(second) and first != second


def test_processes_and_restarts_change_nothing(labels):
    whole = take(make_loader(labels), 11)
    loader = make_loader(labels, num_workers=2)
    for expected, found in zip(whole, take(loader, 5), strict=False):
        assert expected.sample_ids == found.sample_ids
        assert torch.equal(expected.images, found.images)
        assert torch.equal(expected.targets["keypoints"], found.targets["keypoints"])
    again = make_loader(labels)
    again.restore(loader.state())
    assert ids(take(again, 6)) == ids(whole[5:])


def test_ranks_divide_a_batch(labels):
    whole = take(make_loader(labels, batch_size=12), 4)
    halves = [take(make_loader(labels, rank=rank, world_size=2), 4) for rank in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert batch.sample_ids == ids(parts)


def test_a_smaller_share_of_the_labels_lies_in_a_larger_one(labels):
    def seen(share: float, seed: int = 0) -> set[str]:
        loader = make_loader(labels, label_share=share, label_seed=seed, batch_size=2)
        return set(ids(take(loader, loader.num_batches)))

    quarter, half = seen(0.25), seen(0.5)
    assert len(quarter) == 12 and len(half) == 24 and quarter < half
    assert seen(0.25, seed=1) != quarter


def test_fewer_labels_than_a_batch_fill_it_again_and_again(labels):
    share = 5 / 48
    alone = take(make_loader(labels, label_share=share, batch_size=12), 2)
    assert [len(batch) for batch in alone] == [12, 12] and len(set(ids(alone))) == 5
    assert not torch.equal(alone[0].images[0], alone[0].images[5])  # the same, placed anew
    halves = [
        take(make_loader(labels, label_share=share, rank=r, world_size=2), 1) for r in range(2)
    ]
    assert ids(halves[0]) + ids(halves[1]) == alone[0].sample_ids


def test_held_out_samples_are_all_read_whatever_the_share_and_never_changed(labels):
    view = replace(VIEW, held_out=True)
    batches = [
        take(make_loader(labels, view=view, split="val", label_share=s), 2) for s in (1, 0.1)
    ]
    assert ids(batches[0]) == ids(batches[1]) and len(ids(batches[0])) == 8
    assert torch.equal(batches[0][0].images, batches[1][0].images)


def test_only_a_tasks_parts_are_read(tmp_path):
    url = write_toy_labels(tmp_path / "set", parts=("body", "left_hand", "right_hand"))
    loader = make_loader(url, keypoints(of="hand"), batch_size=4)
    metas = [meta for batch in take(loader, 8) for meta in batch.metas]
    assert {meta["part"] for meta in metas} == {"left_hand", "right_hand"}
    assert loader.num_samples == 32
    assert all(meta["part"] == "body" for batch in take(make_loader(url, batch_size=4), 4)
               for meta in batch.metas)  # fmt: skip


@pytest.mark.parametrize("parts", [("body",), ("left_hand",)])
def test_keypoints_lie_on_the_dot_however_the_image_is_placed(tmp_path, parts):
    url = write_toy_labels(tmp_path / "set", parts=parts, crop_px=96)
    task = keypoints(of="body" if parts == ("body",) else "hand")
    view = LabelView(
        image_px=64, augment=LabelAugmentConfig(zoom=0.2, turn_deg=45, shift=0.1), seed=0
    )
    for batch in take(make_loader(url, task, view), 3):
        for image, keypoints_K3 in zip(batch.images[:, 0], batch.targets["keypoints"], strict=True):
            inside = keypoints_K3[:, 2] > 0
            if not bool(inside.all()):
                continue
            centre = keypoints_K3[:, :2].mean(dim=0).numpy() * 64
            shown = image.float().mean(dim=2).numpy()
            x, y = (round(float(value) - 0.5) for value in centre)
            around = shown[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            assert around.mean() < 40 < 100 < shown.mean()


def test_damaged_samples_are_named_and_replaced(tmp_path):
    url = write_toy_labels(tmp_path / "set")
    shard = Path(url) / "train-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\x00\x00\x00", 1))
    loader = make_loader(url, max_bad_share=0.1)
    batches = take(loader, 8)
    assert len(loader.damaged) == 1 and all(len(batch) == 6 for batch in batches)
    assert "train-000000.tar sample 0" in next(iter(loader.damaged.values()))
    with pytest.raises(ValueError, match=r"1 of 48 samples are damaged.*max_bad_share"):
        take(make_loader(url, max_bad_share=0.0), 8)


def test_two_views_are_both_shown(tmp_path):
    url = write_toy_labels(tmp_path / "set", kind="two_view")
    plain = LabelAugmentConfig(zoom=0, shift=0, turn_deg=0, jitter=0)
    task = keypoints()
    task.num_images = 2
    batch = take(make_loader(url, task, LabelView(image_px=48, augment=plain, seed=0)), 1)[0]
    assert batch.images.shape == (6, 2, 48, 48, 3)
    dark = batch.images.float().mean(dim=4).flatten(2).argmin(dim=2) % 48
    np.testing.assert_allclose(dark[:, 0] + dark[:, 1], 47, atol=14)


def test_a_held_out_batch_that_is_all_damaged_makes_no_sample_count_twice(tmp_path):
    url = write_toy_labels(tmp_path / "set", val_size=12)
    shard = next(Path(url).glob("val-*.tar"))
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"\xff\xd8\xff", b"\x00\x00\x00", 8))
    config = make_config("keypoints", "tiny")
    config = replace(config, loader=replace(config.loader, max_bad_share=1.0))
    task = keypoints()
    batches = list(held_out_batches([url], task, config, None))
    assert sorted(ids(batches)) == sorted(set(ids(batches))) and len(ids(batches)) == 4
    assert sum(map(len, held_out_batches([url], task, config, 3))) <= 3


def test_held_out_samples_of_which_none_can_be_used_are_refused(tmp_path):
    url = write_toy_labels(tmp_path / "set", val_size=4)
    shard = next(Path(url).glob("val-*.tar"))
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    config = make_config("keypoints", "tiny")
    config = replace(config, loader=replace(config.loader, max_bad_share=1.0))
    with pytest.raises(ValueError, match=r"no held-out sample can be used; .*val-.* sample"):
        list(held_out_batches([url], keypoints(), config, None))


def test_usable_places_are_those_that_some_epoch_reads(tmp_path):
    hands = write_toy_labels(tmp_path / "set", parts=("left_hand", "right_hand"))
    for parts in ((), ("left_hand=3", "right_hand=1"), ("left_hand=1",)):
        loader = make_loader(hands, keypoints(of="hand"), parts=parts, batch_size=4)
        read = {place for batch in take(loader, 12 * loader.num_batches) for place in batch.places}
        assert loader.usable_places() == read
        assert len(read) == (24 if parts == ("left_hand=1",) else 48)


def test_samples_of_one_image_and_of_two_views_may_lie_in_one_set(tmp_path):
    singles = write_toy_labels(tmp_path / "singles")
    twos = write_toy_labels(tmp_path / "twos", kind="two_view")
    one, two = keypoints(), keypoints()
    two.num_images = 2
    for task, kind in ((one, "single"), (two, "two_view")):
        loader = LabelLoader([singles, twos], task, CONFIG, VIEW)
        assert loader.num_samples == 48
        assert {meta["kind"] for batch in take(loader, 8) for meta in batch.metas} == {kind}


def test_a_set_of_pairs_is_refused(tmp_path):
    from tests.toy_shards import write_toy_shards

    url = write_toy_shards(tmp_path / "set")
    with pytest.raises(ValueError, match=r"holds pairs, not labels: it is for .*pretrain"):
        make_loader(url)
