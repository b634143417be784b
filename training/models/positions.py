"""Where patches are: the fixed sine-cosine embedding (CroCo v1) and rotary embedding (CroCo v2),
both two-dimensional.

Shapes: N patches in row-major order, D channels, T tokens, H heads, C channels of one head, F
frequencies: a quarter of C.
"""

from typing import Any

import torch
from torch import Tensor

SINCOS_BASE = 10_000.0


def grid_positions(grid: int) -> Tensor:
    """Return the (row, column) of each patch of a square grid, (N, 2) int64, in row-major order."""
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], dim=1)


def sincos_embedding(width: int, grid: int) -> Tensor:
    """Return the fixed embedding (N, D): sines then cosines of the column, then those of the row.

    Columns come first, as in MAE, whose table CroCo v1 shares. Raises ValueError unless `width`
    divides by 4.
    """
    if width % 4:
        raise ValueError(f"a sine-cosine embedding needs a width that divides by 4, got {width}")
    quarter = width // 4
    frequencies = SINCOS_BASE ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    positions_N2 = grid_positions(grid).double()
    parts = []
    for axis in (1, 0):
        angles = positions_N2[:, axis, None] * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).float()


def rope_table(head_width: int, grid: int, base: float) -> Tensor:
    """Return cosines and signed sines (2, N, C) of the rotation of each channel at each patch.

    The first half of a head's channels turns with the row, the second with the column. Within a
    half of width h, channels i and i + h/2 form one pair that turns by position x base^(-2i/h); the
    sine has the sign with which the other channel of the pair is added. Raises ValueError unless
    `head_width` divides by 4.
    """
    if head_width % 4:
        raise ValueError(f"rotary positions need a head width that divides by 4, got {head_width}")
    half = head_width // 2
    frequencies = base ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    angles_N2F = grid_positions(grid).double()[:, :, None] * frequencies
    cosines_NC = torch.cat([angles_N2F, angles_N2F], dim=2).cos().flatten(1)
    sines_NC = torch.cat([-angles_N2F.sin(), angles_N2F.sin()], dim=2).flatten(1)
    return torch.stack([cosines_NC, sines_NC]).float()


def rotate(x_BTH22F: Tensor, rope_2BTC: Tensor) -> Tensor:
    """Turn queries or keys, heads side by side, by their positions' entries of `rope_table`; B
    there may be 1.

    Channels are taken apart: row or column, first or second of a pair, which pair.
    """
    rotated: Tensor = _Rotation.apply(x_BTH22F, rope_2BTC.to(x_BTH22F.dtype))
    return rotated


class _Rotation(torch.autograd.Function):
    """A rotation that is turned back by another one, as the gradient of an orthogonal map is; what
    autograd makes of `_turn` takes more passes.

    It is one where a pair's cosines are equal and its sines each other's negative.
    """

    @staticmethod
    def forward(ctx: Any, x_BTH22F: Tensor, rope_2BTC: Tensor) -> Tensor:
        ctx.save_for_backward(rope_2BTC)
        cos, sin = rope_2BTC.unsqueeze(3).unflatten(-1, (2, 2, -1))
        return _turn(x_BTH22F, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient_BTH22F: Tensor) -> tuple[Tensor, None]:
        """Turn back."""
        (rope_2BTC,) = ctx.saved_tensors
        cos, sin = rope_2BTC.unsqueeze(3).unflatten(-1, (2, 2, -1))
        return _turn(gradient_BTH22F, cos, -sin), None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Memory traffic is what this costs: a copy and two passes, or compiled, one pass.

    Inductor (torch 2.11 to 2.15) makes loads of single numbers of `flip`, and wide ones of
    broadcasts; not compiled, `flip` is the faster one.
    """
    if not torch.compiler.is_compiling():
        return torch.addcmul(x * cos, x.flip(-2), sin)
    (cos_a, cos_b), (sin_a, sin_b) = (table.split(1, dim=-2) for table in (cos, sin))
    first, second = x.split(1, dim=-2)
    of_first, of_second = torch.cat([cos_a, sin_b], dim=-2), torch.cat([sin_a, cos_b], dim=-2)
    return first * of_first + second * of_second
