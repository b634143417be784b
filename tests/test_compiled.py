"""What is compiled gives what is not: losses, gradients and images."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.pair_batches import random_batch
from training.compiling import COMPILERS, compile_model
from training.loading.pair_batch import PairBatch
from training.models.croco import Croco, CrocoConfig
from training.models.gelu import Gelu, gelu_of_few_instructions

SMALL = CrocoConfig(
    image_px=32, patch_px=8, encoder_depth=1, encoder_width=32, encoder_heads=2,
    decoder_depth=1, decoder_width=32, decoder_heads=2,
)  # fmt: skip

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-7), (torch.bfloat16, 4e-3)])
def test_gelu_of_few_instructions_is_the_exact_one(compiled, dtype, error):
    torch.compiler.reset()
    gelu = gelu_of_few_instructions
    if compiled:
        gelu = torch.compile(gelu, fullgraph=True)
    x = torch.linspace(-12, 12, 4001).to(dtype).requires_grad_()
    y = gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == slope.dtype == dtype
    exact = x.detach().double().requires_grad_()
    true_y = F.gelu(exact)
    (true_slope,) = torch.autograd.grad(true_y.sum(), exact)
    # In bfloat16 the result is rounded to 8 bits, and nothing more.
    torch.testing.assert_close(y.double(), true_y, atol=1e-6, rtol=error)
    torch.testing.assert_close(slope.double(), true_slope, atol=1e-6, rtol=error)


@needs_compiler
@pytest.mark.parametrize("checkpoint_blocks", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_compiled_step_has_the_losses_and_gradients_of_one_that_is_not(
    checkpoint_blocks, monkeypatch
):
    torch.compiler.reset()
    torch.manual_seed(0)
    model, batch = Croco(SMALL), random_batch()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # of norms, whose scales and shifts would do nothing, and biases
            nn.init.normal_(parameter, mean=0.5)
    expected = loss_and_gradients(model, batch, compiled=False)
    monkeypatch.setattr(Gelu, "forward", lambda self, x: gelu_of_few_instructions(x))  # a GPU's
    model.checkpoint_blocks = checkpoint_blocks
    model.compile(fullgraph=not checkpoint_blocks)
    found = loss_and_gradients(model, batch, compiled=True)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", marks=[needs_compiler, pytest.mark.slow]),
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def test_a_compiled_step_in_bfloat16_has_the_gradients_of_float32(device):
    torch.compiler.reset()
    torch.manual_seed(0)
    model, batch = Croco(SMALL).to(device), random_batch(size=16).to(torch.device(device))
    _, *expected = loss_and_gradients(model, batch, compiled=False)
    model.compile()
    with torch.autocast(device, torch.bfloat16):
        _, *found = loss_and_gradients(model, batch, compiled=True)
    for of_bfloat16, of_float32 in zip(found, expected, strict=True):
        if of_float32.norm() > 1e-5:
            assert (of_bfloat16 - of_float32).norm() < 0.05 * of_float32.norm()


def test_a_machine_without_a_compiler_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match="takes a C\\+\\+ compiler, and none of g\\+\\+"):
        compile_model(Croco(SMALL))


@needs_compiler
@pytest.mark.parametrize("background", ["keep", "grey"])
def test_compiled_images_are_those_that_are_not(background):
    torch.compiler.reset()
    batch = whole_images(background)
    torch.testing.assert_close(batch.inputs(compiled=True), batch.inputs(), atol=1e-4, rtol=0)


def test_images_owe_nothing_to_the_precision_of_the_step():
    batch = whole_images("grey")
    with torch.autocast("cpu", torch.bfloat16):
        found = batch.inputs()
    torch.testing.assert_close(found, batch.inputs(), atol=0, rtol=0)


def whole_images(background: str) -> PairBatch:
    """Images of which other windows are to be cut, with people of random outlines."""
    rng = torch.Generator().manual_seed(0)
    batch = random_batch(image_px=40)
    batch.image_px, batch.background = 32, background  # type: ignore[assignment]
    for looks in (batch.looks_a, batch.looks_b):
        looks[:, :2], looks[:, 2] = torch.rand(len(batch), 2, generator=rng) / 5, 0.8
        looks[:, 3:] = torch.rand(len(batch), 4, generator=rng) + 0.5
    cells = torch.randint(0, 256, (2, *batch.cells_a.shape), generator=rng, dtype=torch.uint8)
    batch.cells_a, batch.cells_b = cells
    return batch


def loss_and_gradients(model: Croco, batch: PairBatch, compiled: bool) -> list[Tensor]:
    model.zero_grad()
    loss = model(*batch.inputs(compiled), batch.visible, batch.masked).loss_BM.mean()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *(gradient.clone() for gradient in gradients)]
