"""Classes of a whole image: its tokens pooled, by their mean, by attention, or each at its place,
then a linear layer.

Shapes: B samples, N tokens, C channels, K classes.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from training.heads.grid import GridSummary
from training.tasks.task import EncoderSize, Features

Pool = Literal["mean", "attention", "grid"]
QUERY_STD = 0.02


class PooledHead(nn.Module):
    """`Features` to logits (B, K)."""

    def __init__(self, encoder: EncoderSize, num_classes: int, pool: Pool, heads: int) -> None:
        super().__init__()
        self.pool: nn.Module = _Mean()
        if pool == "attention":
            self.pool = AttentionPool(encoder.width, heads)
        elif pool == "grid":
            self.pool = GridSummary(encoder, encoder.width)
        self.norm = nn.LayerNorm(encoder.width)
        self.classify = nn.Linear(encoder.width, num_classes)

    def forward(self, features: Features) -> Tensor:
        """Pool the last tokens and classify them."""
        logits_BK: Tensor = self.classify(self.norm(self.pool(features.tokens_BNC)))
        return logits_BK


class _Mean(nn.Module):
    def forward(self, tokens_BNC: Tensor) -> Tensor:
        return tokens_BNC.mean(dim=1)


class AttentionPool(nn.Module):
    """One learned query that looks at all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"tokens of {width} channels do not split into {heads} heads")
        self.query = nn.Parameter(torch.randn(1, 1, width) * QUERY_STD)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Return the weighted mean of the tokens' values, (B, C)."""
        query_B1C = self.query.to(tokens_BNC.dtype).expand(len(tokens_BNC), -1, -1)
        pooled_B1C, _ = self.attention(query_B1C, tokens_BNC, tokens_BNC, need_weights=False)
        return pooled_B1C[:, 0]
