"""The encoder as a ViT of timm, both ways: the same features, and nothing that does not fit."""

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from tests.test_model import SMALL, small_model
from training import presets
from training.models.croco import Croco, CrocoConfig
from training.models.from_timm import from_timm, resample_positions
from training.models.timm_vit import describe_timm, to_timm

SIZES = {
    "small": CrocoConfig(**SMALL),
    "tiny preset": presets.tiny().model,
    "four heads, mlp of two": CrocoConfig(
        image_px=48, patch_px=16, encoder_depth=1, encoder_width=64, encoder_heads=4, mlp_ratio=2.0
    ),
    "of width 384": CrocoConfig(image_px=32, encoder_depth=1, encoder_width=384, encoder_heads=6),
}
TIMM_SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def random_model(config: CrocoConfig, seed: int = 0) -> Croco:
    return randomize(Croco(config), seed)


def randomize(model, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def export(model: Croco, folder: Path, **changes) -> nn.Module:
    """Write the encoder and load it with timm, strictly."""
    name, kwargs = describe_timm(model.config)
    file = folder / "encoder.safetensors"
    tensors = to_timm(model.config, model.state_dict())
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, file)
    kwargs = {**kwargs, **changes}
    return timm.create_model(name, pretrained=False, checkpoint_path=str(file), **kwargs).eval()


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@pytest.mark.parametrize("size", SIZES)
def test_timm_gives_the_features_of_our_encoder(size, positions, tmp_path):
    model = random_model(CrocoConfig(**{**SIZES[size].__dict__, "positions": positions}))
    image = torch.randn(2, 3, model.config.image_px, model.config.image_px)
    with torch.no_grad():
        found = export(model, tmp_path).forward_features(image)
        torch.testing.assert_close(found, model.encode(image), rtol=1e-4, atol=1e-5)


def test_rotary_features_are_the_same_at_another_image_size(tmp_path):
    model = random_model(CrocoConfig(**SMALL))
    wider = Croco(CrocoConfig(**{**SMALL, "image_px": 64}))
    wider.load_state_dict(model.state_dict())
    image = torch.randn(2, 3, 64, 64)
    for changes in ({"img_size": 64}, {"dynamic_img_size": True}):
        with torch.no_grad():
            found = export(model, tmp_path, **changes).forward_features(image)
            torch.testing.assert_close(found, wider.encode(image), rtol=1e-4, atol=1e-5)


def test_another_rotary_base_is_kept(tmp_path):
    model = random_model(CrocoConfig(**SMALL, rope_base=10.0))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        found = export(model, tmp_path).forward_features(image)
        torch.testing.assert_close(found, model.encode(image), rtol=1e-4, atol=1e-5)


def test_timm_knows_how_images_are_normalized(tmp_path):
    data = timm.data.resolve_model_data_config(export(small_model("sincos"), tmp_path))
    assert tuple(data["mean"]) == (0.485, 0.456, 0.406)
    assert tuple(data["std"]) == (0.229, 0.224, 0.225)
    assert tuple(data["input_size"]) == (3, 32, 32)


def encoder_of(vit: nn.Module, model: Croco):
    expected = {k: v for k, v in model.state_dict().items() if k.startswith(("patch_", "enc_"))}
    loaded = from_timm(model.config, vit, vit.state_dict(), expected, "the ViT")
    model.load_state_dict(loaded.weights, strict=False)
    return loaded


@pytest.mark.parametrize("changes", [{}, {"init_values": 0.5}, {"fc_norm": False}])
def test_a_vit_without_a_class_token_gives_its_features(changes):
    vit = timm.models.VisionTransformer(
        **TIMM_SMALL, class_token=False, global_pool="avg", **changes
    )
    randomize(vit)
    model = small_model("sincos")
    note = encoder_of(vit, model).note
    expected = vit.forward_features(torch.ones(1, 3, 32, 32))
    if "fc_norm" not in changes:
        expected = vit.fc_norm(expected)
        assert "norm behind the pooling" in note
    torch.testing.assert_close(
        model.encode(torch.ones(1, 3, 32, 32)), expected, rtol=1e-4, atol=1e-5
    )


def test_an_exported_rotary_encoder_comes_back(tmp_path):
    model, again = random_model(CrocoConfig(**SMALL)), small_model("rope", seed=5)
    encoder_of(export(model, tmp_path), again)
    for name, tensor in again.state_dict().items():
        if name.startswith(("patch_embed.", "enc_")):
            assert torch.equal(tensor, model.state_dict()[name]), name


@pytest.mark.parametrize(
    "tokens", [{}, {"reg_tokens": 3}, {"reg_tokens": 2, "no_embed_class": True}]
)
def test_class_and_register_tokens_are_dropped_with_their_positions(tokens):
    vit = randomize(timm.models.VisionTransformer(**TIMM_SMALL, **tokens))
    model = small_model("sincos")
    encoder_of(vit, model)
    expected = vit.pos_embed[0, -16:]
    assert torch.equal(model.enc_pos_embed, expected)


def test_positions_are_resampled_to_our_grid():
    vit = randomize(timm.models.VisionTransformer(**{**TIMM_SMALL, "img_size": 64}))
    with torch.no_grad():
        vit.pos_embed[:] = torch.linspace(0, 1, 8).repeat(8, 1).flatten()[[0, *range(64)], None]
    model = small_model("sincos")
    encoder_of(vit, model)
    columns = model.enc_pos_embed[:, 0].view(4, 4)
    assert torch.allclose(columns, columns[:1].expand(4, -1), atol=1e-5)
    assert (columns.diff(dim=1) > 0.1).all()


def test_positions_of_no_square_are_refused():
    with pytest.raises(ValueError, match="not those of a square image"):
        resample_positions(torch.zeros(15, 8), 4)


def test_a_rotary_model_says_that_it_leaves_positions_out():
    vit = randomize(timm.models.VisionTransformer(**TIMM_SMALL))
    loaded = encoder_of(vit, small_model("rope"))
    assert "positions were left out" in loaded.note
    assert torch.equal(loaded.weights["enc_norm.weight"], vit.norm.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, "has enc_blocks.2.norm1.weight, .* and 9 more, which the model has not"),
        ({"depth": 1}, "lacks enc_blocks.1.norm1.weight"),
        ({"embed_dim": 48}, "patch_embed.proj.weight 48 x 3 x 8 x 8 instead of 32 x 3 x 8 x 8"),
        ({"patch_size": 16}, "patch_embed.proj.weight 32 x 3 x 16 x 16 instead of 32 x 3 x 8 x 8"),
        ({"num_heads": 4}, "it has 4 heads in its attention, and model.encoder_heads is 2"),
        ({"qk_norm": True}, "has enc_blocks.0.attn.q_norm.weight"),
        ({"qkv_bias": False}, "lacks enc_blocks.0.attn.qkv.bias"),
        ({"pre_norm": True}, "has norm_pre.weight"),
        ({"mlp_ratio": 2.0}, "mlp.fc1.weight 64 x 32 instead of 128 x 32"),
        ({"act_layer": nn.ReLU}, "its activation is ReLU"),
    ],
)
def test_a_vit_that_does_not_fit_is_refused(changes, message):
    vit = timm.models.VisionTransformer(**{**TIMM_SMALL, **changes})
    with pytest.raises(ValueError, match=message):
        encoder_of(vit, small_model("sincos"))


@pytest.mark.parametrize(
    ("positions", "changes", "message"),
    [
        ("sincos", {}, "model.positions is sincos: set it to rope"),
        ("rope", {"rope_temperature": 10.0}, "temperature 10.0, ours 100.0"),
        ("rope", {"rope_grid_indexing": "ij"}, "grid_indexing ij, ours xy"),
        ("rope", {"rope_type": "mixed"}, "rotary positions have"),
        ("rope", {"swiglu_mlp": True}, "its activation is SiLU"),
    ],
)
def test_other_rotations_are_refused(positions, changes, message):
    name, kwargs = describe_timm(CrocoConfig(**SMALL))
    with pytest.raises(ValueError, match=message):
        encoder_of(timm.create_model(name, **{**kwargs, **changes}), small_model(positions))


def test_what_is_no_vit_is_refused():
    with pytest.raises(ValueError, match="not a plain vision transformer"):
        encoder_of(timm.create_model("resnet18"), small_model("sincos"))
