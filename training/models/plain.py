"""The same model, plainly written: what the speed of `croco.py` is measured against.

This is how one writes CroCo from its description: image a goes through the patch convolution whole
and hidden patches are dropped after it, image b is encoded in a second pass, attention is two
products around a softmax, and the head predicts all patches. Parameters have Croco's names, results
are the same, and nothing is slower than that style makes it.

Shapes: B samples, N patches of an image, V visible and M masked ones, T tokens of an image, S
tokens that are looked at, D channels, H heads, C channels of one head, P values of one patch.
"""

import torch
from torch import Tensor, nn

from training.models.blocks import NORM_EPS
from training.models.croco import Croco, CrocoConfig
from training.models.positions import sincos_embedding


class Rotary(nn.Module):
    """Turns queries and keys by row and column: half of a head's channels for each."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_width: int, grid: int, base: float) -> None:
        super().__init__()
        self.grid = grid
        half = head_width // 2
        frequencies = base ** (-torch.arange(0, half, 2).double() / half)
        angles = torch.arange(grid).double()[:, None] * frequencies.repeat(2)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, x_BHTC: Tensor, places_BT: Tensor) -> Tensor:
        """`places_BT` are the patches' indices."""
        by_row, by_column = x_BHTC.chunk(2, dim=-1)
        rows, columns = places_BT // self.grid, places_BT % self.grid
        return torch.cat([self._turn(by_row, rows), self._turn(by_column, columns)], dim=-1)

    def _turn(self, x: Tensor, index_BT: Tensor) -> Tensor:
        cos, sin = self.cos[index_BT][:, None].to(x.dtype), self.sin[index_BT][:, None].to(x.dtype)
        low, high = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-high, low], dim=-1) * sin


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self, width: int, heads: int, rotary: Rotary | None) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, places_BT: Tensor) -> Tensor:
        """Every token looks at all."""
        q, k, v = (split_heads(x, self.heads) for x in self.qkv(x_BTD).chunk(3, dim=2))
        if self.rotary:
            q, k = self.rotary(q, places_BT), self.rotary(k, places_BT)
        return self.proj(attend(q, k, v))


class CrossAttention(nn.Module):
    """Attention from the tokens of image a to those of image b."""

    def __init__(self, width: int, heads: int, rotary: Rotary | None) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, memory_BND: Tensor, places_BN: Tensor) -> Tensor:
        """Every token of a looks at all of b's."""
        q = split_heads(self.projq(x_BND), self.heads)
        k = split_heads(self.projk(memory_BND), self.heads)
        v = split_heads(self.projv(memory_BND), self.heads)
        if self.rotary:
            q, k = self.rotary(q, places_BN), self.rotary(k, places_BN)
        return self.proj(attend(q, k, v))


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Each token by itself."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    """Self-attention, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, rotary: Rotary | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads, rotary)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BTD: Tensor, places_BT: Tensor) -> Tensor:
        """Update the tokens of one image."""
        x_BTD = x_BTD + self.attn(self.norm1(x_BTD), places_BT)
        return x_BTD + self.mlp(self.norm2(x_BTD))


class DecoderBlock(nn.Module):
    """Self-attention on image a, cross-attention to image b, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, rotary: Rotary | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads, rotary)
        self.norm_y = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(width, heads, rotary)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x_BND: Tensor, memory_BND: Tensor, places_BN: Tensor) -> Tensor:
        """Update image a's tokens with the help of image b's."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), places_BN)
        x_BND = x_BND + self.cross_attn(self.norm2(x_BND), self.norm_y(memory_BND), places_BN)
        return x_BND + self.mlp(self.norm3(x_BND))


class PlainCroco(nn.Module):
    """Croco, with the weights of one; images are normalized (B, 3, image_px, image_px)."""

    enc_places: Tensor
    dec_places: Tensor

    def __init__(self, croco: Croco) -> None:
        super().__init__()
        config = self.config = croco.config
        e, d, ratio = config.encoder_width, config.decoder_width, config.mlp_ratio
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, e, config.patch_px, stride=config.patch_px)}
        )
        enc_rotary = _rotary(config, e // config.encoder_heads)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(e, config.encoder_heads, ratio, enc_rotary)
            for _ in range(config.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(e, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(e, d)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, d))
        dec_rotary = _rotary(config, d // config.decoder_heads)
        self.dec_blocks = nn.ModuleList(
            DecoderBlock(d, config.decoder_heads, ratio, dec_rotary)
            for _ in range(config.decoder_depth)
        )
        self.dec_norm = nn.LayerNorm(d, eps=NORM_EPS)
        self.prediction_head = nn.Linear(d, config.patch_px**2 * 3)
        for name, width in (("enc_places", e), ("dec_places", d)):
            table = sincos_embedding(width, config.grid) if config.positions == "sincos" else None
            self.register_buffer(name, table, persistent=False)
        weights = croco.state_dict()
        self.load_state_dict({name: weights[name] for name in self.state_dict()})

    def forward(self, a_B3HW: Tensor, b_B3HW: Tensor, visible_BV: Tensor) -> Tensor:
        """Predict all patches of image a, (B, N, P), from its visible ones and image b."""
        everything_BN = torch.arange(self.config.grid**2, device=a_B3HW.device).expand(
            len(a_B3HW), -1
        )
        seen_BVD = self.decoder_embed(self.encode(a_B3HW, visible_BV))
        memory_BND = self.decoder_embed(self.encode(b_B3HW, everything_BN))
        x_BND = self.mask_token.to(seen_BVD.dtype).repeat(*everything_BN.shape, 1)
        x_BND = x_BND.scatter(1, _widen(visible_BV, seen_BVD), seen_BVD)
        if self.config.positions == "sincos":
            x_BND, memory_BND = x_BND + self.dec_places, memory_BND + self.dec_places
        for block in self.dec_blocks:
            x_BND = block(x_BND, memory_BND, everything_BN)
        return self.prediction_head(self.dec_norm(x_BND))

    def encode(self, image_B3HW: Tensor, places_BT: Tensor) -> Tensor:
        """Encode the patches of an image that are at some places."""
        x_BND = self.patch_embed["proj"](image_B3HW).flatten(2).transpose(1, 2)
        if self.config.positions == "sincos":
            x_BND = x_BND + self.enc_places
        x_BTD = x_BND.gather(1, _widen(places_BT, x_BND))
        for block in self.enc_blocks:
            x_BTD = block(x_BTD, places_BT)
        return self.enc_norm(x_BTD)


def attend(q_BHTC: Tensor, k_BHSC: Tensor, v_BHSC: Tensor) -> Tensor:
    """Average the values by softmax weights; returns (B, T, D)."""
    scores_BHTS = q_BHTC @ k_BHSC.transpose(2, 3) * q_BHTC.shape[3] ** -0.5
    out_BHTC = scores_BHTS.softmax(dim=3) @ v_BHSC
    return out_BHTC.transpose(1, 2).flatten(2)


def split_heads(x_BTD: Tensor, heads: int) -> Tensor:
    """Give each head its channels: (B, H, T, C)."""
    return x_BTD.unflatten(2, (heads, -1)).transpose(1, 2)


def _rotary(config: CrocoConfig, head_width: int) -> Rotary | None:
    if config.positions == "sincos":
        return None
    return Rotary(head_width, config.grid, config.rope_base)


def _widen(index_BT: Tensor, x_BTD: Tensor) -> Tensor:
    return index_BT[:, :, None].expand(-1, -1, x_BTD.shape[2])
