"""The model against a slow, plain version of it, written from the method's description."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from training import presets
from training.models.croco import Croco, CrocoConfig, normalize_patches, patchify, unpatchify
from training.models.positions import grid_positions, rope_table, rotate, sincos_embedding

SMALL = dict(
    image_px=32, patch_px=8, encoder_depth=2, encoder_width=32, encoder_heads=2,
    decoder_depth=2, decoder_width=16, decoder_heads=2,
)  # fmt: skip


def small_model(positions: str, seed: int = 0) -> Croco:
    """A model whose every parameter is random, biases and norms included."""
    torch.manual_seed(seed)
    model = Croco(CrocoConfig(**SMALL, positions=positions))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def random_batch(model: Croco, batch: int = 3, visible: int = 5, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    px = model.config.image_px
    a, b = torch.randn(2, batch, 3, px, px, generator=generator)
    order = torch.rand(batch, model.config.grid**2, generator=generator).argsort(1)
    return a, b, order[:, :visible], order[:, visible:]


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        (presets.croco_v1_base, 120.1),
        (presets.croco_v2_small, 120.1),
        (presets.croco_v2_base, 200.3),
        (presets.croco_v2_large, 417.9),
    ],
)
def test_parameter_counts_are_the_published_ones(preset, millions):
    with torch.device("meta"):
        model = Croco(preset().model)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_model_equals_a_plain_one(positions):
    model = small_model(positions)
    a, b, visible, masked = random_batch(model)
    completion = model(a, b, visible, masked)
    for i in range(len(a)):
        expected = plain_croco(model, a[i], b[i], visible[i].tolist())[masked[i]]
        torch.testing.assert_close(completion.prediction_BMP[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_hidden_pixels_do_not_reach_the_prediction(positions):
    model = small_model(positions)
    a, b, visible, masked = random_batch(model)
    patches = patchify(a, 8)
    index = masked[:, :, None].expand(-1, -1, patches.shape[2])
    blanked = unpatchify(patches.scatter(1, index, 7.0), 8)
    assert not torch.equal(a, blanked)
    torch.testing.assert_close(
        model(a, b, visible, masked).prediction_BMP,
        model(blanked, b, visible, masked).prediction_BMP,
    )


def test_the_second_image_reaches_the_prediction():
    model = small_model("rope")
    a, b, visible, masked = random_batch(model)
    one, other = (model(a, x, visible, masked).prediction_BMP for x in (b, b.flip(0)))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("positions", ["rope", "sincos"])
def test_encoding_a_pair_equals_encoding_each_alone(positions):
    model = small_model(positions)
    a, b, _, _ = random_batch(model)
    everything = torch.arange(16).expand(3, -1)
    seen, memory = model.encode_pair(patchify(a, 8), everything, patchify(b, 8))
    torch.testing.assert_close(seen, model.encode(a))
    torch.testing.assert_close(memory, model.encode(b))


def test_v1_encoder_is_a_timm_vit():
    model = small_model("sincos")
    vit = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        class_token=False, global_pool="", num_classes=0,
    )  # fmt: skip
    weights = {name.replace("enc_", ""): value for name, value in model.state_dict().items()}
    weights = {name: value for name, value in weights.items() if name in vit.state_dict()}
    weights["pos_embed"] = weights["pos_embed"][None]
    vit.load_state_dict(weights)
    image = random_batch(model)[0]
    torch.testing.assert_close(vit(image), model.encode(image), rtol=1e-4, atol=1e-5)


def test_loss_equals_numpy():
    model = small_model("rope")
    a, b, visible, masked = random_batch(model)
    completion = model(a, b, visible, masked)
    for i, row in enumerate(masked.tolist()):
        for j, patch in enumerate(row):
            y, x = 8 * (patch // 4), 8 * (patch % 4)
            truth = a[i, :, y : y + 8, x : x + 8].permute(1, 2, 0).numpy().reshape(-1)
            target = (truth - truth.mean()) / np.sqrt(truth.var(ddof=1) + 1e-6)
            expected = np.mean((completion.prediction_BMP[i, j].detach().numpy() - target) ** 2)
            assert completion.loss_BM[i, j].item() == pytest.approx(expected, rel=1e-4)


def test_a_plain_patch_has_target_zero():
    assert normalize_patches(torch.full((1, 1, 12), 0.3)).abs().max() < 1e-3


def turn(x_BTHC: Tensor, table: Tensor) -> Tensor:
    return rotate(x_BTHC.unflatten(-1, (2, 2, -1)), table).flatten(-3)


def test_a_rotation_is_turned_back_by_its_gradient():
    table = rope_table(16, grid=3, base=100.0)[:, None]
    x = torch.randn(2, 9, 3, 16, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(2, 9, 3, 16, dtype=torch.float64)
    (found,) = torch.autograd.grad(turn(x, table), x, gradient)
    # A rotation keeps lengths and angles: what it is turned by is turned back.
    torch.testing.assert_close(turn(found, table), gradient, atol=1e-6, rtol=0)
    assert torch.autograd.gradcheck(lambda x: turn(x, table.double()), x)


def test_rotation_equals_complex_multiplication():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 9, 16, generator=generator)
    table = rope_table(16, grid=3, base=100.0)[:, None]
    turned = turn(x.transpose(1, 2), table).transpose(1, 2)[0, 0]
    for patch, (row, column) in enumerate(grid_positions(3).tolist()):
        for first, position in ((0, row), (8, column)):
            for i in range(4):
                low, high = first + i, first + i + 4
                z = complex(x[0, 0, patch, low], x[0, 0, patch, high])
                z *= np.exp(1j * position * 100.0 ** (-2 * i / 8))
                assert turned[patch, low].item() == pytest.approx(z.real, abs=1e-5)
                assert turned[patch, high].item() == pytest.approx(z.imag, abs=1e-5)


def test_rotary_attention_depends_on_offsets_only():
    q, k = torch.randn(2, 1, 1, 1, 16)
    table = rope_table(16, grid=4, base=100.0)[:, None]

    def score(query_place: int, key_place: int) -> Tensor:
        turned = [turn(t, table[:, :, [p]]) for t, p in ((q, query_place), (k, key_place))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(score(0, 5), score(5, 10))  # one down, one to the right
    assert (score(0, 5) - score(0, 6)).abs() > 1e-4


def test_sincos_holds_the_column_first():
    table = sincos_embedding(8, grid=3)
    for patch, (row, column) in enumerate(grid_positions(3).tolist()):
        expected = []
        for position in (column, row):
            angles = [position, position / 100]
            expected += [*np.sin(angles), *np.cos(angles)]
        np.testing.assert_allclose(table[patch], expected, atol=1e-6)


def test_patchify_has_an_inverse():
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(unpatchify(patchify(image, 8), 8), image)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="not a multiple"):
        Croco(CrocoConfig(image_px=100, patch_px=16))


def plain_croco(model: Croco, a: Tensor, b: Tensor, visible: list[int]) -> Tensor:
    """CroCo for one pair, token by token and head by head; returns all patches' predictions.

    The encoder runs on all of image a's tokens with the hidden ones barred from attention, which
    must equal running it on the visible ones alone.
    """
    weights, config = model.state_dict(), model.config
    rope = config.positions == "rope"

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: list[int]) -> Tensor:
        out, width = torch.zeros_like(q), q.shape[1] // heads
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q_head, k_head = q[:, part], k[:, part]
            if rope:
                q_head, k_head = plain_rotate(q_head, config), plain_rotate(k_head, config)
            scores = q_head @ k_head[allowed].T / width**0.5
            out[:, part] = scores.exp() / scores.exp().sum(1, keepdim=True) @ v[allowed, part]
        return out

    def self_attention(x: Tensor, name: str, heads: int, allowed: list[int]) -> Tensor:
        q, k, v = linear(x, f"{name}.qkv").chunk(3, dim=1)
        return linear(attend(q, k, v, heads, allowed), f"{name}.proj")

    def mlp(x: Tensor, name: str) -> Tensor:
        return linear(torch.nn.functional.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    def encode(image: Tensor, allowed: list[int]) -> Tensor:
        p = config.patch_px
        x = torch.nn.functional.conv2d(
            image[None], weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], p
        )[0].flatten(1).T  # fmt: skip
        if not rope:
            x = x + model.enc_pos_embed
        for i in range(config.encoder_depth):
            name = f"enc_blocks.{i}"
            x = x + self_attention(
                norm(x, f"{name}.norm1"), f"{name}.attn", config.encoder_heads, allowed
            )
            x = x + mlp(norm(x, f"{name}.norm2"), f"{name}.mlp")
        return norm(x, "enc_norm")

    everything = list(range(config.grid**2))
    x = linear(encode(a, visible), "decoder_embed")
    memory = linear(encode(b, everything), "decoder_embed")
    x = torch.stack([x[i] if i in visible else weights["mask_token"][0, 0] for i in everything])
    if not rope:
        x, memory = x + model.dec_pos_embed, memory + model.dec_pos_embed
    for i in range(config.decoder_depth):
        name, heads = f"dec_blocks.{i}", config.decoder_heads
        x = x + self_attention(norm(x, f"{name}.norm1"), f"{name}.attn", heads, everything)
        normed, cross = norm(memory, f"{name}.norm_y"), f"{name}.cross_attn"
        q = linear(norm(x, f"{name}.norm2"), f"{cross}.projq")
        k, v = linear(normed, f"{cross}.projk"), linear(normed, f"{cross}.projv")
        x = x + linear(attend(q, k, v, heads, everything), f"{cross}.proj")
        x = x + mlp(norm(x, f"{name}.norm3"), f"{name}.mlp")
    return linear(norm(x, "dec_norm"), "prediction_head")


def plain_rotate(x: Tensor, config: CrocoConfig) -> Tensor:
    """Rotary positions by complex numbers: half of the channels by row, half by column."""
    quarter = x.shape[1] // 4
    turned = []
    for axis, half in enumerate(x.chunk(2, dim=1)):
        speed = config.rope_base ** (-torch.arange(quarter) / quarter)
        angle = grid_positions(config.grid)[:, axis, None] * speed
        z = torch.complex(half[:, :quarter], half[:, quarter:]) * torch.exp(1j * angle)
        turned += [z.real, z.imag]
    return torch.cat(turned, dim=1)
