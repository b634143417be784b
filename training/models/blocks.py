"""The transformer blocks of CroCo, with the parameter names of the published checkpoints.

Positions, where they are rotary, come as a table of cosines and sines (`positions.py`).
Activations are in `gelu.py`.

Shapes: B samples, N patches of an image, T tokens of one or more images, D channels, H heads, C
channels of one head.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from training.models.gelu import Gelu
from training.models.positions import rotate

NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention, named as timm's so that an encoder moves there unchanged."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, rope_2BTC: Tensor | None, sections: Sequence[int]) -> Tensor:
        """Attend within each section of the tokens (one per image), so that one call serves two."""
        q, k, v = _split_heads(self.qkv(x_BTD), 3, self.heads, rope_2BTC)
        qkv_BTHC = (_place(q, rope_2BTC), _place(k, rope_2BTC), v.flatten(-3))
        parts = zip(*(t.split(sections, dim=1) for t in qkv_BTHC), strict=True)
        out_BTD: Tensor = self.proj(torch.cat([_attend(q, k, v) for q, k, v in parts], dim=1))
        return out_BTD


class CrossAttention(nn.Module):
    """Attention from the tokens of image a to those of image b.

    In the published model every block norms image b's tokens anew, and only scale and shift of
    these norms differ. So the tokens come here normed but for those, and scale and shift move into
    the layers of keys and values: the same result, but for rounding.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x_BND: Tensor, memory_BND: Tensor, norm: nn.LayerNorm, rope_2BNC: Tensor | None
    ) -> Tensor:
        """Both images have all N patches here, so one table of positions serves both.

        `memory_BND` is what `norm_memory` returns; the scale and shift of `norm` are still to be
        applied.
        """
        out_BND: Tensor = self.proj(_attend(*self._project(x_BND, memory_BND, norm, rope_2BNC)))
        return out_BND

    def weights(
        self, x_BND: Tensor, memory_BND: Tensor, norm: nn.LayerNorm, rope_2BNC: Tensor | None
    ) -> Tensor:
        """Return how much each patch of image a looks at each of b's: (B, H, N, N), rows sum to 1.

        `forward` never holds these; finding correspondences reads them.
        """
        q_BNHC, k_BNHC, _ = self._project(x_BND, memory_BND, norm, rope_2BNC)
        scores_BHNN = q_BNHC.transpose(1, 2) @ k_BNHC.permute(0, 2, 3, 1) * q_BNHC.shape[3] ** -0.5
        return scores_BHNN.float().softmax(dim=3)

    def _project(
        self, x_BND: Tensor, memory_BND: Tensor, norm: nn.LayerNorm, rope_2BNC: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of image a, keys and values of image b: (B, N, H, C) each."""
        weight = torch.cat([self.projk.weight, self.projv.weight])
        bias = torch.cat([self.projk.bias, self.projv.bias])
        bias = bias + (weight * norm.bias).sum(1)  # as a product it would be rounded to bfloat16
        kv_BND = F.linear(memory_BND, weight * norm.weight, bias)
        (q,) = _split_heads(self.projq(x_BND), 1, self.heads, rope_2BNC)
        k, v = _split_heads(kv_BND, 2, self.heads, rope_2BNC)
        return _place(q, rope_2BNC), _place(k, rope_2BNC), v.flatten(-3)


def _split_heads(
    x_BTD: Tensor, count: int, heads: int, rope_2BTC: Tensor | None
) -> tuple[Tensor, ...]:
    """Split what a layer gives into `count` parts of all heads, (B, T, H, ...) each.

    Where positions are rotary, channels are taken apart as `rotate` has them, and are put together
    as late as can be: earlier, the way back compiles into kernels that read number by number.
    """
    apart = (1, 1, -1) if rope_2BTC is None else (2, 2, -1)
    return x_BTD.unflatten(2, (count, heads, *apart)).unbind(2)


def _place(x: Tensor, rope_2BTC: Tensor | None) -> Tensor:
    """Turn queries or keys by their positions, where these are rotary: (B, T, H, C)."""
    return (x if rope_2BTC is None else rotate(x, rope_2BTC)).flatten(-3)


def _attend(q_BTHC: Tensor, k_BSHC: Tensor, v_BSHC: Tensor) -> Tensor:
    """Attention of T tokens to S, heads put together again: (B, T, D)."""
    q_BHTC, k_BHSC, v_BHSC = (x.transpose(1, 2) for x in (q_BTHC, k_BSHC, v_BSHC))
    return F.scaled_dot_product_attention(q_BHTC, k_BHSC, v_BHSC).transpose(1, 2).flatten(2)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: self-attention, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio), act_layer=Gelu)

    def forward(self, x_BTD: Tensor, rope_2BTC: Tensor | None, sections: Sequence[int]) -> Tensor:
        """Update the tokens of one or more images, each section by itself."""
        x_BTD = x_BTD + self.attn(self.norm1(x_BTD), rope_2BTC, sections)
        x_BTD = x_BTD + self.mlp(self.norm2(x_BTD))
        return x_BTD


class DecoderBlock(nn.Module):
    """Self-attention on image a, cross-attention to image b, then an MLP.

    Image b's tokens are never updated, and come normed by `norm_memory`.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm_y = nn.LayerNorm(width, eps=NORM_EPS)  # its scale and shift; see norm_memory
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio), act_layer=Gelu)

    def forward(self, x_BND: Tensor, memory_BND: Tensor, rope_2BNC: Tensor | None) -> Tensor:
        """Update image a's tokens with the help of image b's, which `norm_memory` returned."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), rope_2BNC, [x_BND.shape[1]])
        x_BND = x_BND + self.cross_attn(self.norm2(x_BND), memory_BND, self.norm_y, rope_2BNC)
        x_BND = x_BND + self.mlp(self.norm3(x_BND))
        return x_BND


def norm_memory(memory_BND: Tensor) -> Tensor:
    """Norm image b's tokens for all decoder blocks at once; each has its own scale and shift."""
    normed_BND = F.layer_norm(memory_BND, memory_BND.shape[2:], eps=NORM_EPS)
    return normed_BND.to(memory_BND.dtype)  # autocast norms in float32; no block needs that
