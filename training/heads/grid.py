"""A summary of all tokens, each at its place: a small network over the whole grid.

Cheap and quick to learn, as every place has weights of its own; an encoder of another grid needs
another head.

Shapes: B samples, N tokens of a grid, C channels of the encoder, D of the summary.
"""

from torch import Tensor, nn

from training.tasks.task import EncoderSize

NARROWED = 4  # a token has so many times fewer channels than the summary
DROPOUT = 0.5  # of the tokens' channels, in training: few images are soon known by heart


class GridSummary(nn.Module):
    """Tokens (B, N, C) to (B, D)."""

    def __init__(self, encoder: EncoderSize, width: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        narrow = max(1, width // NARROWED)
        self.narrow = nn.Sequential(nn.LayerNorm(encoder.width), nn.Linear(encoder.width, narrow))
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(encoder.grid**2 * narrow, 2 * width), nn.GELU(),
            nn.Linear(2 * width, width), nn.GELU(),
        )  # fmt: skip

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Narrow each token, and look at all of them side by side."""
        summary_BD: Tensor = self.layers(self.narrow(tokens_BNC).flatten(1))
        return summary_BD
