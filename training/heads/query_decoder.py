"""Learned queries that look at an encoder's tokens: what the heads of meshes are made of.

Shapes: B samples, N tokens, E channels of the encoder, Q queries, D channels of the decoder.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.heads.placed_tokens import PlacedTokens
from training.tasks.task import EncoderSize

QUERY_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class QueryDecoderConfig:
    """The size of a decoder of queries."""

    width: int = 128  # channels of a query
    depth: int = 2  # blocks
    heads: int = 4  # of attention
    mlp_ratio: float = 2.0  # channels within a block's MLP over those of a query

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise ValueError(
                f"head.width must divide by head.heads and by 4, but {self.width} channels and "
                f"{self.heads} heads do not"
            )


class QueryDecoder(nn.Module):
    """Tokens (B, N, E) to what each query found, (B, Q, D), normed."""

    def __init__(self, config: QueryDecoderConfig, encoder: EncoderSize, num_queries: int) -> None:
        super().__init__()
        self.enter = PlacedTokens(encoder, config.width)
        self.query = nn.Parameter(torch.randn(num_queries, config.width) * QUERY_STD)
        self.blocks = nn.ModuleList(_Block(config, num_queries) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens_BNE: Tensor, asked_QD: Tensor | None = None) -> Tensor:
        """Decode; `asked_QD` is added to what is learned of each query."""
        memory_BND = self.enter(tokens_BNE)
        query_QD = self.query if asked_QD is None else self.query + asked_QD
        x_BQD = query_QD.expand(len(tokens_BNE), -1, -1)
        for block in self.blocks:
            x_BQD = block(x_BQD, memory_BND)
        found_BQD: Tensor = self.norm(x_BQD)
        return found_BQD


class _Block(nn.Module):
    def __init__(self, config: QueryDecoderConfig, num_queries: int) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        # A single query has nobody to talk to.
        self.talk = (
            nn.MultiheadAttention(width, heads, batch_first=True) if num_queries > 1 else None
        )
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        hidden = int(config.mlp_ratio * width)
        self.think = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x_BQD: Tensor, memory_BND: Tensor) -> Tensor:
        if self.talk is not None:
            y_BQD = self.norms[0](x_BQD)
            x_BQD = x_BQD + self.talk(y_BQD, y_BQD, y_BQD, need_weights=False)[0]
        y_BQD = self.norms[1](x_BQD)
        x_BQD = x_BQD + self.look(y_BQD, memory_BND, memory_BND, need_weights=False)[0]
        thought_BQD: Tensor = self.think(self.norms[2](x_BQD))
        return x_BQD + thought_BQD
