"""Heads on a frozen encoder's features, computed once."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from catalog.config import override
from tests.test_finetune_study import SIZES
from tests.toy_labels import write_toy_labels
from training.distributed import CPU
from training.finetuning.config import FinetuneConfig, make_config
from training.finetuning.evaluate import held_out_batches, judge
from training.finetuning.frozen import (
    EncodedBatch,
    encode,
    reads_stages,
    rows_at,
    start_encoder,
    train_head,
    training_draws,
    usable_places,
)
from training.loading.label_batches import LabelLoader, LabelView
from training.tasks.registry import make_task
from training.tasks.task import Task

SETTINGS = [*(f"encoder.model.{size}" for size in SIZES), "loader.batch_size=8",
            "run.num_steps=1", "encoder.frozen=true"]  # fmt: skip


class Toy(NamedTuple):
    shards: list[str]
    config: FinetuneConfig
    task: Task
    encoder: torch.nn.Module
    encoded: EncodedBatch  # 48 training samples, twice


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    shards = [write_toy_labels(Path(tmp_path_factory.mktemp("labels")))]
    config = override(make_config("keypoints", "tiny"), SETTINGS)
    task = make_task("keypoints", config.task)
    encoder = start_encoder(config, task, CPU)
    encoded = encode(encoder, training_draws(config, task, shards, draws=2), CPU, with_stages=True)
    return Toy(shards, config, task, encoder, encoded)


def test_every_sample_is_encoded_for_every_draw_and_placed_anew(toy):
    ids = toy.encoded.sample_ids
    assert len(ids) == 96 and sorted(ids[:48]) == sorted(ids[48:]) and len(set(ids)) == 48
    again = 48 + ids[48:].index(ids[0])
    first, second = (toy.encoded.targets["keypoints"][row] for row in (0, again))
    assert not torch.equal(first, second)


def test_rows_are_what_the_encoder_makes_of_the_same_images(toy):
    batch = next(training_draws(toy.config, toy.task, toy.shards, draws=1))
    with torch.no_grad():
        expected = toy.encoder(batch.inputs())
    found = toy.encoded.rows(torch.tensor([5, 2]))
    assert found.sample_ids == [batch.sample_ids[5], batch.sample_ids[2]]
    assert found.places == [batch.places[5], batch.places[2]]
    assert torch.equal(found.targets["keypoints"], batch.targets["keypoints"][[5, 2]])
    features = found.inputs()
    assert features.tokens_BNC.dtype == torch.float32
    assert torch.allclose(features.tokens_BNC, expected.tokens_BNC[[5, 2]], atol=4e-3)
    for kept, stage in zip(features.stages, expected.stages, strict=True):
        assert torch.allclose(kept, stage[[5, 2]], atol=4e-3)


def test_only_dense_heads_are_seen_to_read_the_stages(toy):
    images = torch.zeros(1, 1, 3, 32, 32)
    dense = make_task("dense_pose", make_config("dense_pose", "tiny").task)
    assert reads_stages(dense, toy.encoder, images)
    assert not reads_stages(toy.task, toy.encoder, images)
    batches = training_draws(toy.config, toy.task, toy.shards, draws=1)
    encoded = encode(toy.encoder, batches, CPU, with_stages=False)
    assert encoded.features.stages == ()
    assert torch.equal(encoded.features.tokens_BNC, toy.encoded.features.tokens_BNC[:48])


def test_parts_are_the_whole_in_order(toy):
    parts = list(toy.encoded.chunks(40))
    assert [len(part) for part in parts] == [40, 40, 16]
    assert [id for part in parts for id in part.sample_ids] == toy.encoded.sample_ids


def test_a_share_of_the_labels_is_the_share_that_a_whole_run_reads(toy):
    loading = replace(toy.config.loader, label_share=0.25, label_seed=3)
    places = usable_places(replace(toy.config, loader=loading), toy.task, toy.shards)
    rows_N = rows_at(toy.encoded, places).tolist()
    view = LabelView(image_px=32, augment=toy.config.augment, seed=0)
    loader = LabelLoader(toy.shards, toy.task, replace(loading, batch_size=4), view)
    batches = iter(loader)
    read = {id for _ in range(loader.num_batches) for id in next(batches).sample_ids}
    assert {toy.encoded.sample_ids[row] for row in rows_N} == read
    assert len(read) == 12 and len(rows_N) == 24


def test_a_head_learns_from_the_rows_it_may_use_and_from_no_others(toy):
    config = override(toy.config, ["run.num_steps=300", "optimizer.base_lr=0.3"])
    mine = torch.arange(48)
    size, few = toy.encoder.size, override(config, ["run.num_steps=3"])
    spoiled = toy.encoded.rows(torch.arange(96))
    spoiled.targets["keypoints"][48:] = 0.9
    heads = [
        train_head(few, toy.task, size, encoded, mine, CPU) for encoded in (toy.encoded, spoiled)
    ]
    for one, other in zip(*(head.parameters() for head in heads), strict=True):
        assert torch.equal(one, other)
    held_out = encode(
        toy.encoder,
        held_out_batches(toy.shards, toy.task, config, max_samples=None),
        CPU,
        with_stages=False,
    )
    learned = train_head(config, toy.task, size, toy.encoded, torch.arange(96), CPU)
    distances = [
        judge(head, toy.task, held_out.chunks(8)).summary["distance_share_of_box"]
        for head in (heads[0], learned)
    ]
    assert distances[1] < 0.5 * distances[0]


def test_damaged_samples_are_left_out_and_named(tmp_path):
    url = write_toy_labels(tmp_path / "set")
    shard = next(Path(url).glob("train-000000.tar"))
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"\xff\xd8\xff", b"\x00\x00\x00", 1))
    config = override(make_config("keypoints", "tiny"), [*SETTINGS, "loader.max_bad_share=0.1"])
    task = make_task("keypoints", config.task)
    encoder = start_encoder(config, task, CPU)
    encoded = encode(encoder, training_draws(config, task, [url], draws=1), CPU, with_stages=False)
    assert len(encoded) == 48 and len(set(encoded.sample_ids)) == 47
    [said] = encoded.damaged.values()
    assert "train-000000.tar sample 0" in said


def test_no_samples_to_learn_from_are_refused(toy):
    nothing = rows_at(toy.encoded, set())
    with pytest.raises(ValueError, match=r"label_share = 1\.0 .* raise frozen_draws"):
        train_head(toy.config, toy.task, toy.encoder.size, toy.encoded, nothing, CPU)
