"""Heads give maps of the size that is asked for, and treat each sample alone."""

import pytest
import torch

from training.heads.dense import DenseHead, DenseHeadConfig
from training.heads.heatmaps import draw_targets, find_peaks, heatmap_losses
from training.heads.light import LightHead
from training.heads.placed_tokens import TokenMap
from training.heads.pooled import PooledHead
from training.tasks.task import EncoderSize, Features

SIZES = [(128, 8, 64, 4), (64, 7, 112, 4), (96, 14, 224, 4), (64, 14, 224, 2), (64, 8, 64, 8)]


def features_of(encoder: EncoderSize, num: int = 2, seed: int = 0) -> Features:
    torch.manual_seed(seed)
    tokens = torch.randn(5, num, encoder.grid**2, encoder.width)
    return Features(tokens[0], tuple(tokens[1:]))


@pytest.mark.parametrize("kind", [DenseHead, LightHead])
@pytest.mark.parametrize(("width", "grid", "image_px", "stride_px"), SIZES)
def test_maps_have_the_size_asked_for(kind, width, grid, image_px, stride_px):
    encoder = EncoderSize(width=width, grid=grid, image_px=image_px)
    head = kind(DenseHeadConfig(width=32, stride_px=stride_px), encoder, 5)
    side = image_px // stride_px
    assert head(features_of(encoder)).shape == (2, 5, side, side)


def test_an_image_that_is_no_multiple_of_the_stride_is_refused():
    with pytest.raises(ValueError, match=r"head\.stride_px"):
        DenseHeadConfig(stride_px=4).output_px(70)
    with pytest.raises(ValueError, match=r"head\.width must be a multiple of 16, got 50"):
        DenseHeadConfig(width=50)


def test_every_stage_reaches_the_maps():
    encoder = EncoderSize(width=64, grid=8, image_px=64)
    head = DenseHead(DenseHeadConfig(width=32), encoder, 3)
    features = features_of(encoder)
    for stage in features.stages:
        stage.requires_grad_()
    head(features).square().sum().backward()
    assert all(stage.grad.abs().sum() > 0 for stage in features.stages)


@pytest.mark.parametrize("kind", [DenseHead, LightHead])
def test_tokens_move_what_is_at_their_place(kind):
    encoder = EncoderSize(width=64, grid=8, image_px=64)
    head = kind(DenseHeadConfig(width=32), encoder, 3)
    before = features_of(encoder, num=1)
    moved = [tokens.clone() for tokens in (before.tokens_BNC, *before.stages)]
    for tokens in moved:
        tokens[:, 8 * 1 + 6] *= -3  # row 1, column 6 of the grid
    change = (head(Features(moved[0], tuple(moved[1:]))) - head(before)).abs().sum(dim=(0, 1))
    row, column = divmod(int(change.argmax()), 16)
    assert abs(row - 2.5) <= 2 and abs(column - 12.5) <= 2


@pytest.mark.parametrize("kind", [DenseHead, LightHead])
def test_maps_know_places_where_tokens_do_not(kind):
    encoder = EncoderSize(width=64, grid=16, image_px=64)
    head, same = kind(DenseHeadConfig(width=32), encoder, 3), torch.ones(1, 256, 64)
    places = [module for module in head.modules() if isinstance(module, TokenMap)]
    for place in places:
        places_D256 = place(same)[0].flatten(1)
        assert torch.cdist(places_D256.T, places_D256.T).fill_diagonal_(1).min() > 1e-2
    told = head(Features(same, (same,) * 4))
    for place in places:
        place.position_ND.zero_()
    untold = head(Features(same, (same,) * 4))
    assert (told - untold).abs().mean() > 0.1 * untold.abs().mean()


@pytest.mark.parametrize("kind", [DenseHead, LightHead])
def test_a_sample_does_not_change_its_neighbour(kind):
    encoder = EncoderSize(width=64, grid=8, image_px=64)
    head, both = kind(DenseHeadConfig(width=32), encoder, 3), features_of(encoder)
    alone = Features(both.tokens_BNC[:1], tuple(stage[:1] for stage in both.stages))
    torch.testing.assert_close(head(both)[:1], head(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_pooling_knows_no_order_of_tokens(pool):
    encoder = EncoderSize(width=64, grid=8, image_px=64)
    head, features = PooledHead(encoder, 4, pool, heads=4), features_of(encoder)
    mixed = features.tokens_BNC[:, torch.randperm(64)]
    logits = head(features)
    assert logits.shape == (2, 4)
    torch.testing.assert_close(logits, head(Features(mixed, features.stages)))


@pytest.mark.parametrize("sigma_px", [1.0, 1.5, 2.5])
def test_a_drawn_heatmap_is_decoded_to_its_point(sigma_px):
    torch.manual_seed(0)
    places = torch.rand(1, 200, 2)
    found, _ = find_peaks(draw_targets(places, 16, sigma_px).clamp(min=1e-20).log())
    assert (64 * (found - places)).abs().max() < 0.3  # pixels of an image of 64, border included


def test_a_narrow_peak_is_surer_than_a_wide_one():
    place = torch.tensor([[[0.5, 0.5]]])
    sure = [find_peaks(draw_targets(place, 16, sigma).log())[1].item() for sigma in (1, 2, 4)]
    assert 1 >= sure[0] > sure[1] > sure[2] > 0
    flat = find_peaks(torch.zeros(1, 1, 16, 16))[1].item()
    assert sure[2] > flat


def test_a_peak_at_the_border_and_a_flat_map_give_places_inside():
    flat, corner = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    corner[0, 0, 15, 0] = 50
    for logits in (flat, corner):
        place, _ = find_peaks(logits)
        assert place.isfinite().all() and (place >= 0).all() and (place <= 1).all()
    assert (find_peaks(corner)[0] * 16 - torch.tensor([0.5, 15.5])).abs().max() < 0.1


def test_the_loss_of_heatmaps_is_zero_at_the_truth_and_grows_away_from_it():
    place = torch.tensor([[[0.4, 0.6]]])
    losses = [
        heatmap_losses(
            draw_targets(place + step / 16, 16, 1.5).clamp(min=1e-20).log(), place, 1.5
        ).item()
        for step in (0, 0.5, 1, 3)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-5)
    assert losses == sorted(losses)


def test_a_summary_of_the_grid_knows_places_and_not_its_neighbours():
    encoder = EncoderSize(width=64, grid=8, image_px=64)
    head, features = PooledHead(encoder, 4, "grid", heads=4).eval(), features_of(encoder)
    mixed = features.tokens_BNC[:, torch.randperm(64)]
    logits = head(features)
    assert logits.shape == (2, 4)
    assert (logits - head(Features(mixed, features.stages))).abs().max() > 1e-2
    alone = head(Features(features.tokens_BNC[:1], features.stages))
    torch.testing.assert_close(logits[:1], alone)
