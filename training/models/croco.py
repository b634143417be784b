"""CroCo: complete the masked patches of one image from its visible ones and a second image.

The encoder is shared. It sees only the visible patches of image a, and all patches of image b; the
decoder fills image a's masked places with a mask token and reads image b by cross-attention; one
linear layer predicts pixels. Both versions of the base method are here: v1 adds fixed sine-cosine
positions before the encoder and before the decoder, v2 rotates queries and keys in every attention
(RoPE). Module names are those of the published checkpoints. Two variations share everything else:
without a second image the decoder has no cross-attention, which is MAE; and a linear head may find
2D keypoints in the encoder's tokens of image b, which is seen whole.

Shapes: B samples, N patches of an image, V visible and M masked ones (V + M = N), T tokens of one
or more images, D channels, C channels of one head, P values of one patch (rows x columns x RGB).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.keypoints import NUM_KEYPOINTS
from training.models.blocks import NORM_EPS, DecoderBlock, EncoderBlock, norm_memory
from training.models.positions import rope_table, sincos_embedding

TARGET_EPS = 1e-6  # added to a patch's variance, so that a plain patch has the target zero
MASK_TOKEN_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class CrocoConfig:
    """Size of the model; the defaults are CroCo v2 with a ViT-B encoder and the small decoder."""

    image_px: int = 224  # side of an image
    patch_px: int = 16  # side of a patch: one token
    positions: Literal["sincos", "rope"] = "rope"  # added to tokens (v1), or rotations (v2)
    rope_base: float = 100.0  # of the rotations' frequencies
    encoder_depth: int = 12  # blocks
    encoder_width: int = 768  # channels of a token
    encoder_heads: int = 12  # of attention
    decoder_depth: int = 8  # blocks of the decoder
    decoder_width: int = 512  # channels of a token there
    decoder_heads: int = 16  # of attention there
    mlp_ratio: float = 4.0  # channels within a block's MLP over those of a token
    second_image: bool = True  # False: the decoder sees image a alone (MAE)
    keypoint_head: bool = False  # find 2D keypoints in image b; see loss.keypoint_weight

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_px // self.patch_px


class Completion(NamedTuple):
    """What the model made of the masked patches, and how far it is from the truth."""

    prediction_BMP: Tensor  # around each true patch's mean, in units of its standard deviation
    target_BMP: Tensor
    loss_BM: Tensor  # mean squared error of each patch, float32
    keypoints_BNK3: Tensor | None  # of image b: logit, and x and y within the patch, 0..1


class Croco(nn.Module):
    """The whole model; images are normalized (B, 3, image_px, image_px)."""

    enc_pos_embed: Tensor  # v1: what is added, (N, D); v2: the table of rotations, (2, N, C)
    dec_pos_embed: Tensor

    def __init__(self, config: CrocoConfig) -> None:
        super().__init__()
        if config.image_px % config.patch_px:
            raise ValueError(
                f"image_px {config.image_px} is not a multiple of patch_px {config.patch_px}"
            )
        self.config = config
        e, d, ratio = config.encoder_width, config.decoder_width, config.mlp_ratio
        self.patch_embed = PatchEmbed(config.image_px, config.patch_px, 3, e)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(e, config.encoder_heads, ratio) for _ in range(config.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(e, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(e, d)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, d))
        block = DecoderBlock if config.second_image else EncoderBlock
        self.dec_blocks = nn.ModuleList(
            block(d, config.decoder_heads, ratio) for _ in range(config.decoder_depth)
        )
        self.dec_norm = nn.LayerNorm(d, eps=NORM_EPS)
        self.prediction_head = nn.Linear(d, config.patch_px**2 * 3)
        # v1's are part of the weights: an encoder that starts from a ViT brings positions with it.
        is_saved = config.positions == "sincos"
        self.register_buffer("enc_pos_embed", _positions(config, e, config.encoder_heads), is_saved)
        self.register_buffer("dec_pos_embed", _positions(config, d, config.decoder_heads), is_saved)
        self.keypoint_head = nn.Linear(e, NUM_KEYPOINTS * 3) if config.keypoint_head else None
        self.checkpoint_blocks = False  # compute activations again, and keep fewer
        self.apply(_initialize)
        nn.init.normal_(self.mask_token, std=MASK_TOKEN_STD)

    def forward(
        self, a_B3HW: Tensor, b_B3HW: Tensor, visible_BV: Tensor, masked_BM: Tensor
    ) -> Completion:
        """Complete image a; `visible_BV` and `masked_BM` are indices of its patches, int64.

        Image b is not looked at by a model that has neither a second image nor a keypoint head.
        """
        patches_BNP = patchify(a_B3HW, self.config.patch_px)
        seen_BVP = _gather(patches_BNP, visible_BV)
        b_BND = None
        if self.config.second_image or self.keypoint_head is not None:
            b_BNP = patchify(b_B3HW, self.config.patch_px)
            seen_BVD, b_BND = self.encode_pair(seen_BVP, visible_BV, b_BNP)
        else:
            seen_BVD = self._encode(seen_BVP, visible_BV, [visible_BV.shape[1]])
        prediction_BMP = self.decode(seen_BVD, visible_BV, masked_BM, b_BND)
        target_BMP = normalize_patches(_gather(patches_BNP, masked_BM))
        loss_BM = (prediction_BMP.float() - target_BMP).square().mean(dim=2)
        keypoints_BNK3 = None
        if self.keypoint_head is not None:
            keypoints_BNK3 = self.keypoint_head(b_BND).unflatten(2, (-1, 3)).float()
        return Completion(prediction_BMP, target_BMP, loss_BM, keypoints_BNK3)

    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Encode whole images, (B, N, D): what fine-tuning builds on."""
        patches_BNP = patchify(image_B3HW, self.config.patch_px)
        places_1N = torch.arange(patches_BNP.shape[1], device=patches_BNP.device)[None]
        return self._encode(patches_BNP, places_1N, [patches_BNP.shape[1]])

    def encode_pair(
        self, seen_BVP: Tensor, visible_BV: Tensor, b_BNP: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encode image a's visible patches and all of image b's: (B, V, D) and (B, N, D).

        Everything but attention works on single tokens, so the two run together as V + N tokens;
        attention keeps them apart.
        """
        num_samples, num_patches, _ = b_BNP.shape
        places_BN = torch.arange(num_patches, device=b_BNP.device).expand(num_samples, -1)
        places_BT = torch.cat([visible_BV, places_BN], dim=1)
        sections = [visible_BV.shape[1], num_patches]
        tokens_BTD = self._encode(torch.cat([seen_BVP, b_BNP], dim=1), places_BT, sections)
        seen_BVD, b_BND = tokens_BTD.split(sections, dim=1)
        return seen_BVD, b_BND

    def decode(
        self, seen_BVD: Tensor, visible_BV: Tensor, masked_BM: Tensor, b_BND: Tensor | None
    ) -> Tensor:
        """Predict image a's masked patches, (B, M, P); `b_BND` is needed with a second image."""
        seen_BVD = self.decoder_embed(seen_BVD)
        num_patches = self.config.grid**2
        tokens_BND = self.mask_token.to(seen_BVD.dtype).expand(len(seen_BVD), num_patches, -1)
        x_BND = tokens_BND.scatter(1, _widen(visible_BV, seen_BVD.shape[2]), seen_BVD)
        rope_21NC = None
        if self.config.positions == "rope":
            rope_21NC = self.dec_pos_embed.to(x_BND.dtype)[:, None]
        if rope_21NC is None:
            x_BND = x_BND + self.dec_pos_embed
        if self.config.second_image:
            memory_BND = self.decoder_embed(b_BND)
            if rope_21NC is None:
                memory_BND = memory_BND + self.dec_pos_embed
            memory_BND = norm_memory(memory_BND)
            for block in self.dec_blocks:
                x_BND = self._run(block, x_BND, memory_BND, rope_21NC)
        else:
            for block in self.dec_blocks:
                x_BND = self._run(block, x_BND, rope_21NC, [num_patches])
        prediction_BMP: Tensor = self.prediction_head(self.dec_norm(_gather(x_BND, masked_BM)))
        return prediction_BMP

    def _encode(self, patches_BTP: Tensor, places_BT: Tensor, sections: Sequence[int]) -> Tensor:
        x_BTD, rope_2BTC = self.embed(patches_BTP, places_BT)
        for block in self.enc_blocks:
            x_BTD = self._run(block, x_BTD, rope_2BTC, sections)
        x_BTD = self.enc_norm(x_BTD)
        return x_BTD

    def embed(self, patches_BTP: Tensor, places_BT: Tensor) -> tuple[Tensor, Tensor | None]:
        """The tokens (B, T, D) of patches at given places, and the rotations for every attention
        (v2), else None.
        """
        # The patch convolution as a matrix product, so that masked patches cost nothing.
        weight_D3pp, bias_D = self.patch_embed.proj.parameters()
        x_BTD = F.linear(patches_BTP, weight_D3pp.permute(0, 2, 3, 1).flatten(1), bias_D)
        if self.config.positions == "rope":
            return x_BTD, self.enc_pos_embed.to(x_BTD.dtype)[:, places_BT]
        return x_BTD + self.enc_pos_embed[places_BT], None

    def _run(self, block: nn.Module, *arguments: Any) -> Tensor:
        if self.checkpoint_blocks and torch.is_grad_enabled():
            kept: Tensor = checkpoint(block, *arguments, use_reentrant=False)
            return kept
        result: Tensor = block(*arguments)
        return result


def patchify(image_B3HW: Tensor, patch_px: int) -> Tensor:
    """Cut images into patches (B, N, P), row by row; each runs over its rows, columns, RGB."""
    x = image_B3HW.unflatten(3, (-1, patch_px)).unflatten(2, (-1, patch_px))
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches_BNP: Tensor, patch_px: int) -> Tensor:
    """Put the patches of square images back together: the inverse of `patchify`."""
    grid = int(patches_BNP.shape[1] ** 0.5)
    x = patches_BNP.unflatten(2, (patch_px, patch_px, 3)).unflatten(1, (grid, grid))
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def normalize_patches(patches_BMP: Tensor) -> Tensor:
    """Give each patch mean 0 and (unbiased) variance 1 over its values: the loss's target."""
    patches_BMP = patches_BMP.float()
    variance_BM1, mean_BM1 = torch.var_mean(patches_BMP, dim=2, keepdim=True)
    return (patches_BMP - mean_BM1) * torch.rsqrt(variance_BM1 + TARGET_EPS)


def _positions(config: CrocoConfig, width: int, heads: int) -> Tensor:
    if config.positions == "rope":
        return rope_table(width // heads, config.grid, config.rope_base)
    return sincos_embedding(width, config.grid)


def _widen(index_BM: Tensor, width: int) -> Tensor:
    return index_BM[:, :, None].expand(-1, -1, width)


def _gather(x_BND: Tensor, index_BM: Tensor) -> Tensor:
    return x_BND.gather(1, _widen(index_BM, x_BND.shape[2]))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):  # the patch convolution is a linear layer, too
        nn.init.xavier_uniform_(module.weight.data.flatten(1))  # a view: fills the weight itself
        assert module.bias is not None
        nn.init.zeros_(module.bias)
