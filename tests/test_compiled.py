"""What is compiled gives what is not: losses, gradients and images."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.pair_batches import random_batch
from training.loading.colour import compile_finish
from training.models.croco import Croco, CrocoConfig
from training.models.gelu import Gelu, gelu_of_few_instructions

SMALL = CrocoConfig(
    image_px=32, patch_px=8, encoder_depth=1, encoder_width=32, encoder_heads=2,
    decoder_depth=1, decoder_width=32, decoder_heads=2,
)  # fmt: skip


def exact_gelu(x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes, in float64."""
    x = x.detach().double().requires_grad_()
    y = F.gelu(x)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 8e-3)])
def test_gelu_of_few_instructions_is_the_exact_one(compiled, dtype, error):
    torch.compiler.reset()
    gelu = torch.compile(gelu_of_few_instructions) if compiled else gelu_of_few_instructions
    x = torch.linspace(-12, 12, 4001).to(dtype).requires_grad_()
    y = gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == slope.dtype == dtype
    true_y, true_slope = exact_gelu(x)
    # In bfloat16 the result is rounded to 8 bits, and nothing more.
    torch.testing.assert_close(y.double(), true_y, atol=1e-6, rtol=error / 2)
    torch.testing.assert_close(slope.double(), true_slope, atol=2e-6, rtol=error / 2)


def test_a_compiled_step_has_the_losses_and_gradients_of_one_that_is_not(monkeypatch):
    torch.compiler.reset()
    torch.manual_seed(0)
    model, batch = Croco(SMALL), random_batch()
    expected = loss_and_gradients(model, batch.inputs(), batch)
    monkeypatch.setattr(Gelu, "forward", lambda self, x: gelu_of_few_instructions(x))  # a GPU's
    model.compile()
    found = loss_and_gradients(model, batch.inputs(compile_finish()), batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("background", ["keep", "grey"])
def test_compiled_images_are_those_that_are_not(background):
    torch.compiler.reset()
    batch = random_batch(image_px=40)
    batch.image_px, batch.background = 32, background
    batch.looks_a[:, :3] = torch.tensor([0.1, 0.05, 0.8])  # windows of whole images
    batch.looks_a[:, 3:] = torch.rand(len(batch), 4) + 0.5
    batch.looks_b[:, :3] = batch.looks_a[:, :3]
    torch.testing.assert_close(batch.inputs(compile_finish()), batch.inputs(), atol=1e-5, rtol=0)


def loss_and_gradients(model: Croco, images, batch) -> list[Tensor]:
    model.zero_grad()
    loss = model(*images, batch.visible, batch.masked).loss_BM.mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *(gradient.clone() for gradient in gradients)]
