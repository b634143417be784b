"""From an encoder's tokens straight to vertices, coarse ones first.

Each group of coarse vertices that lie together has a query. What it finds gives its vertices'
offsets from the mean body; a fixed matrix makes fine vertices of them, and the same query gives
those an offset each.

Shapes: B samples, V fine vertices, C coarse ones, G groups, D channels, P vertices of a group.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.bodies.levels import Levels
from training.heads.query_decoder import QueryDecoder, QueryDecoderConfig
from training.tasks.task import EncoderSize, Features, Outputs

START_STD = 0.01  # of the last layers' weights: at first a head gives nearly the mean
FINE_SHARE = 0.2  # of coarse offsets that fine ones have at first, so that surfaces stay smooth


@dataclass(frozen=True, kw_only=True)
class VertexHeadConfig:
    """How many vertices are found first, and by how many queries."""

    num_coarse: int = 128  # vertices that are found first
    num_groups: int = 32  # of vertices that lie together, each with a query
    decoder: QueryDecoderConfig = field(default_factory=QueryDecoderConfig)


class VertexHead(nn.Module):
    """`Features` to `coarse` (B, C, 3) and `fine` (B, V, 3) in metres around the root joint, and
    `camera` (B, 3), see `mesh_camera`.
    """

    mean_C3: Tensor
    centre_G3: Tensor
    mean_camera_3: Tensor
    fine_from_coarse_VC: Tensor

    def __init__(
        self,
        config: VertexHeadConfig,
        encoder: EncoderSize,
        levels: Levels,
        mean_camera: tuple[float, float, float],
    ) -> None:
        super().__init__()
        mean_C3 = levels.mean_V3[levels.coarse_C]
        centre_G3 = torch.stack(
            [mean_C3[levels.group_C == group].mean(dim=0) for group in range(config.num_groups)]
        )
        self.register_buffer("mean_C3", mean_C3, persistent=False)
        self.register_buffer("centre_G3", centre_G3 / mean_C3.std(), persistent=False)
        self.register_buffer("mean_camera_3", torch.tensor(mean_camera), persistent=False)
        self.register_buffer("fine_from_coarse_VC", levels.fine_from_coarse_VC, persistent=False)
        width = config.decoder.width
        self.where = nn.Linear(3, width)
        self.look = QueryDecoder(config.decoder, encoder, config.num_groups + 1)
        size_m = float(mean_C3.std())
        self.coarse = _Offsets(levels.group_C, width, size_m)
        self.fine = _Offsets(levels.group_V, width, FINE_SHARE * size_m)
        self.camera = nn.Linear(width, 3)
        nn.init.normal_(self.camera.weight, std=START_STD)
        nn.init.zeros_(self.camera.bias)

    def forward(self, features: Features) -> Outputs:
        """Predict; the last layers work in float32: bfloat16 has steps of 8 mm at a metre."""
        asked_QD = torch.cat([self.where(self.centre_G3), self.where.bias[None]])
        found_BQD = self.look(features.tokens_BNC, asked_QD)
        with torch.autocast(found_BQD.device.type, enabled=False):
            found_BQD = found_BQD.float()
            group_BGD = found_BQD[:, :-1]
            coarse_BC3 = self.mean_C3 + self.coarse(group_BGD)
            fine_BV3 = self.fine_from_coarse_VC @ coarse_BC3 + self.fine(group_BGD)
            camera_B3 = self.mean_camera_3 + self.camera(found_BQD[:, -1])
        return {"coarse": coarse_BC3, "fine": fine_BV3, "camera": camera_B3}


class _Offsets(nn.Module):
    """What a group's query found (B, G, D) to an offset in metres for each of its vertices."""

    slot_V: Tensor

    def __init__(self, group_V: Tensor, width: int, size_m: float) -> None:
        super().__init__()
        self.size_m = size_m  # a hand's offsets are a tenth of a body's
        seats = int(group_V.bincount().max())
        slot_V = torch.zeros_like(group_V)
        for group in group_V.unique().tolist():
            members = (group_V == group).nonzero()[:, 0]
            slot_V[members] = group * seats + torch.arange(len(members))
        self.register_buffer("slot_V", slot_V, persistent=False)
        self.layer = nn.Linear(width, seats * 3)
        nn.init.normal_(self.layer.weight, std=START_STD)
        nn.init.zeros_(self.layer.bias)

    def forward(self, group_BGD: Tensor) -> Tensor:
        offsets_BP3 = self.size_m * self.layer(group_BGD).unflatten(2, (-1, 3)).flatten(1, 2)
        offsets_BV3: Tensor = offsets_BP3[:, self.slot_V]
        return offsets_BV3
