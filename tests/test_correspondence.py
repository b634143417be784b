"""Matches read from cross-attention, against models and attention whose matches are known."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.pair_batches import make_batch
from training import correspondence
from training.correspondence import (
    attention_between,
    correspondence_rows,
    find_places,
    format_correspondence,
    look_up,
    untrained_like,
)
from training.loading.pair_batch import PairBatch
from training.match_pictures import draw_matches
from training.models.blocks import NORM_EPS, CrossAttention, norm_memory
from training.models.croco import Croco, CrocoConfig
from training.models.positions import rope_table

GRID, PATCH, SEED = 8, 8, 0


def random_model(positions: str = "rope") -> Croco:
    torch.manual_seed(0)
    return Croco(
        CrocoConfig(
            image_px=GRID * PATCH, patch_px=PATCH, positions=positions, encoder_depth=1,
            encoder_width=32, encoder_heads=2, decoder_depth=2, decoder_width=32, decoder_heads=2,
        )
    )  # fmt: skip


def matching_model() -> Croco:
    """A model made by hand that looks at the patch that looks the same: tokens are random
    projections of the patches, and queries and keys are the tokens themselves.
    """
    torch.manual_seed(0)
    model = Croco(
        CrocoConfig(
            image_px=GRID * PATCH, patch_px=PATCH, positions="sincos", encoder_depth=0,
            encoder_width=64, encoder_heads=1, decoder_depth=1, decoder_width=64, decoder_heads=1,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.patch_embed.proj.weight *= 1000  # so that positions do not matter
        model.decoder_embed.weight.copy_(1000 * torch.eye(64))
        block = model.dec_blocks[0]
        block.attn.proj.weight.zero_()
        for linear in (block.cross_attn.projq, block.cross_attn.projk):
            linear.weight.copy_(5 * torch.eye(64))
    return model


def shifted_pairs(size: int = 6, shift: int = 2) -> PairBatch:
    """Images of random patches, and the same `shift` patches further to the right and around;
    points lie within the part that is in both.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, GRID * PATCH, GRID * PATCH, 3), np.uint8)
    points = rng.uniform(1 / GRID, 1 - 1 / GRID, (size, 38, 2))
    points[:, :, 0] = rng.uniform(1 / GRID, 1 - (shift + 1) / GRID, (size, 38))
    seen = rng.random((2, size, 38, 1)) * (rng.random((2, size, 38, 1)) < 0.7)
    moved = points + np.array([shift / GRID, 0])
    everything = torch.arange(GRID**2).expand(size, -1)
    return make_batch(
        torch.from_numpy(images),
        torch.from_numpy(np.roll(images, shift * PATCH, axis=2)),
        visible=everything[:, 1:],
        masked=everything[:, :1],
        keypoints_a=torch.from_numpy(np.concatenate([points, seen[0]], axis=2)).float(),
        keypoints_b=torch.from_numpy(np.concatenate([moved, seen[1]], axis=2)).float(),
    )


def values(rows: list[dict], metric: str, kind: str = "all") -> dict[float, float]:
    chosen = [row for row in rows if (row["metric"], row["kind"]) == (metric, kind)]
    return {row["threshold"]: row["value"] for row in chosen}


@pytest.mark.parametrize("rotary", [True, False])
def test_the_weights_are_those_the_model_attends_with(rotary):
    torch.manual_seed(0)
    attention, norm = CrossAttention(32, heads=2), nn.LayerNorm(32, eps=NORM_EPS)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x, memory = torch.randn(2, 3, 16, 32)
    rope = rope_table(16, 4, 100.0)[:, None] if rotary else None
    inputs = (x, norm_memory(memory), norm, rope)
    weights = attention.weights(*inputs)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(3, 2, 16))
    values = attention.projv(norm(memory)).unflatten(2, (2, 16)).transpose(1, 2)
    out = attention.proj((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(out, attention(*inputs))


def test_a_model_that_matches_finds_every_point():
    rows = correspondence_rows(matching_model(), shifted_pairs(), SEED)
    for kind in ("all", "cross_view", "cross_pose"):
        assert values(rows, "correspondence_pck", kind) == {0.05: 1.0, 0.1: 1.0, 0.2: 1.0}


def test_staying_in_place_finds_what_moved_less_than_the_threshold():
    rows = correspondence_rows(matching_model(), shifted_pairs(shift=1), SEED)  # by 0.125
    assert values(rows, "correspondence_pck_same_place") == {0.05: 0.0, 0.1: 0.0, 0.2: 1.0}


def test_a_model_made_by_chance_finds_what_chance_finds():
    rows = correspondence_rows(random_model(), shifted_pairs(200), SEED)
    assert values(rows, "correspondence_pck") == values(rows, "correspondence_pck_untrained")
    assert values(rows, "correspondence_pck")[0.1] < 0.2


def test_random_places_are_right_by_their_area():
    rng = torch.Generator().manual_seed(0)
    attention = F.one_hot(torch.randint(0, GRID**2, (400, GRID**2), generator=rng), GRID**2).float()
    points = torch.rand(400, 38, 2, generator=rng)
    places = look_up(attention, points)
    truth = 0.25 + torch.rand(400, 38, 2, generator=rng) / 2  # a quarter from every border
    share = ((places - truth).norm(dim=2) <= 0.2).float().mean().item()
    assert share == pytest.approx(np.pi * 0.2**2, abs=0.02)


def test_identical_attention_keeps_places_finer_than_a_patch():
    points = 0.5 / GRID + torch.rand(2, 38, 2) * (1 - 1 / GRID)  # between the patches' centres
    attention = torch.eye(GRID**2).expand(2, -1, -1)
    torch.testing.assert_close(look_up(attention, points), points)


def test_looking_up_equals_a_plain_version():
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(3, GRID**2, GRID**2, generator=generator) ** 4
    points = torch.rand(3, 38, 2, generator=generator)
    found = look_up(attention, points)
    for i in range(3):
        for k in range(38):
            expected = plain_look_up(attention[i].numpy(), points[i, k].numpy())
            np.testing.assert_allclose(found[i, k].numpy(), expected, atol=1e-5)


def plain_look_up(attention: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y = np.clip(point * GRID - 0.5, 0, GRID - 1)
    look = np.zeros((GRID, GRID))
    for row in range(GRID):
        for column in range(GRID):
            near = max(0, 1 - abs(row - y)) * max(0, 1 - abs(column - x))
            look += near * attention[row * GRID + column].reshape(GRID, GRID)
    best_row, best_column = np.unravel_index(look.argmax(), look.shape)
    total, place = 0.0, np.zeros(2)
    for row in range(max(best_row - 1, 0), min(best_row + 2, GRID)):
        for column in range(max(best_column - 1, 0), min(best_column + 2, GRID)):
            total += look[row, column]
            place += look[row, column] * np.array([column + 0.5, row + 0.5]) / GRID
    return place / total


def test_how_many_pairs_are_looked_at_at_once_does_not_matter(monkeypatch):
    pairs, model = shifted_pairs(7), random_model()
    expected = find_places(model, pairs)
    monkeypatch.setattr(correspondence, "BATCH", 3)
    torch.testing.assert_close(find_places(model, pairs), expected)


def test_a_match_is_what_looks_at_each_other(monkeypatch):
    """Every patch of a looks more at a patch that does not look back."""
    pairs, (one, other) = shifted_pairs(1), torch.tensor([10, 50])
    there = torch.zeros(1, GRID**2, GRID**2)
    there[:, :, one], there[:, :, other] = 0.4, 0.6
    back = torch.zeros(1, GRID**2, GRID**2)
    back[:, one], back[:, other] = 0.15, 0.001
    ways = iter([there, back])
    monkeypatch.setattr(correspondence, "attention_between", lambda *_: next(ways))
    cells = (find_places(random_model(), pairs)[0] * GRID).floor()
    assert cells.unique(dim=0).tolist() == [[int(one) % GRID, int(one) // GRID]]


def test_only_points_seen_in_both_images_count():
    pairs = shifted_pairs()
    rows = correspondence_rows(matching_model(), pairs, SEED)
    seen = [
        a[2] > 0 and b[2] > 0
        for one, other in zip(pairs.keypoints_a.tolist(), pairs.keypoints_b.tolist(), strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    assert rows[0]["matches"] == sum(seen) and 0 < sum(seen) < len(seen)
    pairs.keypoints_a[3] = 0
    fewer = correspondence_rows(matching_model(), pairs, SEED)
    assert fewer[0]["pairs"] == len(pairs.metas) - 1
    pairs.keypoints_b[:, :, 2] = 0
    assert correspondence_rows(matching_model(), pairs, SEED) == []


def test_attention_is_a_mean_of_rows_that_sum_to_1():
    model, pairs = random_model("sincos"), shifted_pairs()
    a, b = (x.permute(0, 3, 1, 2) / 255 for x in (pairs.images_a, pairs.images_b))
    with torch.no_grad():
        attention = attention_between(model, a, b)
        torch.testing.assert_close(attention.sum(dim=2), torch.ones(6, GRID**2))
        model(a, b, torch.arange(9).expand(6, -1), torch.arange(9, GRID**2).expand(6, -1))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_an_untrained_model_is_new_and_disturbs_nothing():
    model = random_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = untrained_like(model, seed=0)
    assert torch.equal(torch.rand(3), expected)
    other = untrained_like(model, seed=1)
    for name, value in model.state_dict().items():  # `random_model` is made with seed 0, too
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(other.mask_token, again.mask_token)


def test_rows_become_a_table():
    table = format_correspondence(correspondence_rows(matching_model(), shifted_pairs(), SEED))
    lines = table.splitlines()
    assert len(lines) == 1 + 3 * 3
    assert " ".join(lines[0].split()) == "matches found within matches model untrained same place"
    assert lines[2].startswith("all") and "0.10" in lines[2] and "1.000" in lines[2]


def test_matches_are_drawn_green_where_right_and_red_where_wrong():
    def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((image == colour[::-1]).all(axis=2).sum())

    pairs, green, red = shifted_pairs(), (0, 170, 0), (220, 0, 0)
    right = decode(draw_matches(matching_model(), pairs, [0, 3]))
    wrong = decode(draw_matches(random_model(), pairs, [0, 3]))
    assert right.shape == wrong.shape and right.shape[0] > 2 * 192
    assert count(right, green) > 500 and count(right, red) == 0
    assert count(wrong, red) > 500 > count(wrong, green)


def decode(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_mean_attention_is_that_of_every_block_and_head(monkeypatch):
    def fixed(self, x: Tensor, *memory_and_places: object) -> Tensor:
        index = next(i for i, block in enumerate(model.dec_blocks) if block.cross_attn is self)
        heads = torch.arange(2.0)[:, None, None] + 10 * index
        return heads.expand(len(x), 2, GRID**2, GRID**2)

    model, pairs = random_model(), shifted_pairs(1)
    monkeypatch.setattr(CrossAttention, "weights", fixed)
    a, b = (x.permute(0, 3, 1, 2) / 255 for x in (pairs.images_a, pairs.images_b))
    assert attention_between(model, a, b).unique().tolist() == [5.5]  # of 0, 1, 10 and 11
