"""The plain model and the fast one give the same results."""

import copy

import pytest
import torch

from catalog.config import override
from tests.pair_batches import random_batch
from training.distributed import Ranks
from training.loop import stepping_of
from training.models.croco import Croco, CrocoConfig
from training.models.plain import PlainCroco
from training.optimizer import make_optimizer, set_learning_rate
from training.plain import plain_losses, plain_optimizer, plain_step
from training.presets import tiny
from training.pretrain import objective_of
from training.step import Stepper

SMALL = [
    "model.image_px=32", "model.patch_px=8", "model.encoder_depth=2", "model.encoder_width=32",
    "model.encoder_heads=2", "model.decoder_depth=2", "model.decoder_width=16",
    "model.decoder_heads=2",
]  # fmt: skip


def small_config(positions: str, *settings: str):
    return override(tiny(), [*SMALL, f"model.positions={positions}", *settings])


def random_model(config: CrocoConfig) -> Croco:
    """A model whose every parameter is random, biases and norms included."""
    torch.manual_seed(0)
    model = Croco(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def make_stepper(model: Croco, config) -> Stepper:
    optimizer = make_optimizer(model, config.optimizer)
    set_learning_rate(optimizer, 1e-3)
    return Stepper(model, optimizer, None, objective_of(config), stepping_of(config), Ranks())


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_predictions_are_the_same(positions):
    model = random_model(small_config(positions).model)
    generator = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 3, 3, 32, 32, generator=generator)
    order = torch.rand(3, 16, generator=generator).argsort(1)
    visible, masked = order[:, :5], order[:, 5:]
    everywhere = PlainCroco(model)(a, b, visible)
    expected = model(a, b, visible, masked).prediction_BMP
    found = everywhere.gather(1, masked[:, :, None].expand_as(expected))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 1e-2)])
def test_losses_are_the_same(positions, precision, tolerance):
    config = small_config(positions, f"run.precision={precision}", "loss.background_weight=0.5")
    model = random_model(config.model)
    batch = random_batch()
    expected = make_stepper(model, config).backward(batch).loss
    found = plain_losses(PlainCroco(model), batch, config)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_training_steps_are_the_same(positions):
    config = small_config(positions)
    model = random_model(config.model)
    plain = PlainCroco(copy.deepcopy(model))
    stepper = make_stepper(model, config)
    plainly = plain_optimizer(plain, config.optimizer)
    batch = random_batch()
    for _ in range(3):
        set_learning_rate(plainly, 1e-3)
        loss = stepper.step(batch).loss
        assert plain_step(plain, plainly, batch, config) == pytest.approx(loss.item(), rel=1e-4)
    assert not plainly.defaults["fused"]


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_gradients_are_the_same(positions):
    config = small_config(positions)
    model = random_model(config.model)
    plain = PlainCroco(model)
    batch = random_batch()
    make_stepper(model, config).backward(batch)
    plain_losses(plain, batch, config).backward()
    expected = dict(model.named_parameters())
    assert {name for name, _ in plain.named_parameters()} == set(expected)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-6, msg=name
        )
