"""From an encoder's tokens to the parameters of a body model, as changes of its mean pose, shape
and place.

Shapes: B samples, N tokens, J joints, S shape values, Q queries, D channels.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from training.bodies.model import BodyModel
from training.bodies.rotations import matrix_to_6d
from training.heads.grid import DROPOUT, GridSummary
from training.heads.query_decoder import QueryDecoder, QueryDecoderConfig
from training.tasks.task import EncoderSize, Features, Outputs

START_STD = 0.01  # of the last layers' weights: at first a head gives nearly the mean

Asking = Literal["grid", "joints", "one", "pooled"]


@dataclass(frozen=True, kw_only=True)
class BodyHeadConfig:
    """How the tokens are asked: by a query for each joint and one for shape and place; by one query
    for all; or not: all tokens, each at its place (`grid`: cheap, and quick to learn), or their
    mean (`pooled`) go through a small network.
    """

    asking: Asking = "joints"  # how the tokens are asked, see above
    decoder: QueryDecoderConfig = field(default_factory=QueryDecoderConfig)
    dropout: float = DROPOUT  # of the grid's channels, in training

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must lie in [0, 1), got {self.dropout}")


class BodyHead(nn.Module):
    """`Features` to `rotations_6d` (B, J, 6), `shape` (B, S) and `camera` (B, 3), see
    `mesh_camera`.
    """

    mean_pose_J6: Tensor
    mean_shape_S: Tensor
    mean_camera_3: Tensor

    def __init__(
        self,
        config: BodyHeadConfig,
        encoder: EncoderSize,
        body: BodyModel,
        mean_camera: tuple[float, float, float],
    ) -> None:
        super().__init__()
        mean_pose_J6 = matrix_to_6d(body.mean_rotations_J33)
        self.register_buffer("mean_pose_J6", mean_pose_J6.cpu(), persistent=False)
        self.register_buffer("mean_shape_S", body.mean_shape_S.cpu(), persistent=False)
        self.register_buffer("mean_camera_3", torch.tensor(mean_camera), persistent=False)
        width, joints = config.decoder.width, body.num_joints
        self.look: nn.Module
        if config.asking == "pooled":
            self.look = _Pooled(encoder.width, width)
        elif config.asking == "grid":
            summary = GridSummary(encoder, width, config.dropout)
            self.look = nn.Sequential(summary, nn.Unflatten(1, (1, width)))
        else:
            queries = joints + 1 if config.asking == "joints" else 1
            self.look = QueryDecoder(config.decoder, encoder, queries)
        self.shared = config.asking == "joints"
        # Joints that are asked one by one still need layers of their own: their means differ.
        self.pose = nn.Linear(width, joints * 6)
        self.rest = nn.Linear(width, body.num_shape + 3)
        for layer in (self.pose, self.rest):
            nn.init.normal_(layer.weight, std=START_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Features) -> Outputs:
        """Predict; the last layers work in float32: bfloat16 has steps of 8 mm at a metre."""
        found_BQD = self.look(features.tokens_BNC)
        with torch.autocast(found_BQD.device.type, enabled=False):
            found_BQD = found_BQD.float()
            if self.shared:
                weight_J6D = self.pose.weight.unflatten(0, (-1, 6))
                turns_BJ6 = torch.einsum("bjd,jcd->bjc", found_BQD[:, :-1], weight_J6D)
                turns_BJ6 = turns_BJ6 + self.pose.bias.unflatten(0, (-1, 6))
            else:
                turns_BJ6 = self.pose(found_BQD[:, -1]).unflatten(1, (-1, 6))
            rest_BR = self.rest(found_BQD[:, -1])
        return {
            "rotations_6d": self.mean_pose_J6 + turns_BJ6,
            "shape": self.mean_shape_S + rest_BR[:, :-3],
            "camera": self.mean_camera_3 + rest_BR[:, -3:],
        }


class _Pooled(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden),
            nn.GELU(),
        )  # fmt: skip

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        pooled_BD: Tensor = self.layers(tokens_BNC.mean(dim=1))
        return pooled_BD[:, None]
