"""Where patches are: the fixed sine-cosine embedding (CroCo v1) and rotary embedding (CroCo v2),
both two-dimensional.

Shapes: N patches in row-major order, D channels, T tokens, H heads, C channels of one head.
"""

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


def rotate(x_BTHC: Tensor, rope_2BTC: Tensor) -> Tensor:
    """Turn queries or keys, heads side by side, by their positions' entries of `rope_table`; B
    there may be 1.

    Memory traffic is what this costs, so it is one copy and two passes.
    """
    other_BTHC = x_BTHC.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)  # of each channel's pair
    cos_BT1C, sin_BT1C = rope_2BTC.to(x_BTHC.dtype).unsqueeze(3)
    return torch.addcmul(x_BTHC * cos_BT1C, other_BTHC, sin_BT1C)
