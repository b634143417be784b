"""Tokens that are told where they lie.

Some encoders tell places only by how far apart they are (rotary positions), so their tokens need
not say where they lie. A head must know it: to look at a place, to tell where it looked, and to
draw a map. Without it, heatmaps of a frozen encoder do not even find where keypoints are on
average.

Shapes: B samples, N tokens of a grid, C channels of the encoder, D of the head.
"""

from torch import Tensor, nn

from training.models.positions import sincos_embedding
from training.tasks.task import EncoderSize


class PlacedTokens(nn.Module):
    """Tokens (B, N, C) in the head's width, (B, N, D), with a fixed embedding of their places."""

    position_ND: Tensor

    def __init__(self, encoder: EncoderSize, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(encoder.width, width)
        position_ND = sincos_embedding(width, encoder.grid)
        self.register_buffer("position_ND", position_ND, persistent=False)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Bring them to the width, and add the places."""
        projected_BND: Tensor = self.project(tokens_BNC)
        return projected_BND + self.position_ND


class TokenMap(PlacedTokens):
    """The same laid out as a map (B, D, H, W) of the grid."""

    def __init__(self, encoder: EncoderSize, width: int) -> None:
        super().__init__(encoder, width)
        self.grid = encoder.grid

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Add the places, and lay the tokens out."""
        placed_BND = super().forward(tokens_BNC)
        return placed_BND.transpose(1, 2).unflatten(2, (self.grid, self.grid))
