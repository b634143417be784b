"""Dense pose: which part of the body each pixel shows, and where on that part (u and v).

The head gives each pixel logits of the parts and the background, and a u and v for each part, of
which those of the right part are trained (Güler, Neverova and Kokkinos, "DensePose", CVPR 2018).

Shapes: B samples, P parts, K = P + 1 with the background, M labelled points, S pixels along the
output's side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.labels import DENSE_PARTS, Label
from training.heads.dense import WIDTHS, DenseHead, DenseHeadConfig, Size
from training.loading.placed import Placed
from training.metrics.average_precision import average_precision
from training.metrics.dense_pose import gpsm
from training.metrics.table import summarize
from training.tasks.chart_surface import surface_of_chart
from training.tasks.dense_pictures import paint_map, paint_points
from training.tasks.dense_points import dense_points
from training.tasks.task import EncoderSize, Features, Outputs, Targets


@dataclass(frozen=True, kw_only=True)
class DensePoseConfig:
    """The chart, the head, and how the losses weigh."""

    chart: str = "anny"  # whose parts, u and v: `anny` or `densepose`
    head: DenseHeadConfig = field(default_factory=DenseHeadConfig)
    background_share: float = 0.5  # of a sample's loss of parts, however large its background is
    uv_factor: float = 3.0  # of the error of u and v; more of it keeps parts from being learnt
    uv_beta: float = 0.05  # error of u or v from which its loss grows in proportion
    geodesic: bool = True  # measure distances on the surface, too; takes Anny and scipy

    def __post_init__(self) -> None:
        if self.chart not in DENSE_PARTS:
            raise ValueError(
                f"unknown task.chart {self.chart!r}; there are: {', '.join(DENSE_PARTS)}"
            )
        if not 0 < self.background_share < 1:
            raise ValueError(
                f"task.background_share must be between 0 and 1, got {self.background_share}"
            )


def config_for(size: Size) -> DensePoseConfig:
    """Heads that suit encoders of a size."""
    return DensePoseConfig(head=DenseHeadConfig(width=WIDTHS[size]))


class DensePose:
    """The task `dense_pose`."""

    name = "dense_pose"
    num_images = 1
    parts = ("body",)
    mirror_left = False
    reads_maps = True
    headline = "part_accuracy"
    larger_is_better = True

    def __init__(self, config: DensePoseConfig) -> None:
        self.config = config
        self.num_parts = DENSE_PARTS[config.chart]
        self.factors: Mapping[str, float] = {"part": 1.0, "uv": config.uv_factor}

    def target(self, label: Label, images: Sequence[Placed]) -> dict[str, npt.NDArray[np.generic]]:
        """The arrays of `dense_points`."""
        image = images[0]
        points = dense_points(image, self.config.head.output_px(image.image_px))
        if points is None:
            raise ValueError(f"sample {label.label_id} has no dense labels")
        if image.label.dense_chart != self.config.chart:
            raise ValueError(
                f"sample {label.label_id} is labelled on the chart {image.label.dense_chart!r}, "
                f"not {self.config.chart!r}: set task.chart"
            )
        # A mirrored body would need left and right exchanged; only left hands are ever mirrored.
        assert not image.placement.mirrored
        return points

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head, which returns `part` (B, K, S, S), logits, and `uv` (B, 2P, S, S): u and v of
        the first part, then of the next.
        """
        return _DensePoseHead(self.config, encoder, self.num_parts)

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """`part`: 1 with any labelled point; `uv`: 1 with any on the person."""
        part_BM, weight_BM = targets["part"], targets["weight"]
        return {
            "part": (weight_BM > 0).any(dim=1).float(),
            "uv": ((weight_BM > 0) & (part_BM > 0)).any(dim=1).float(),
        }

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """`part`: cross-entropy, background and person balanced; `uv`: of the true part, smooth
        L1 on the person.
        """
        true_BM, weight_BM = targets["part"].long(), targets["weight"]
        logits_BKM = _sample(outputs["part"], targets["place"])
        loss_BM = F.cross_entropy(logits_BKM, true_BM, reduction="none")
        person_BM, rest_BM = weight_BM * (true_BM > 0), weight_BM * (true_BM == 0)
        share = self.config.background_share
        balance_BM = (1 - share) * _normalized(person_BM) + share * _normalized(rest_BM)
        uv_BM2 = self._uv_of(outputs, targets["place"], true_BM)
        away_BM2 = F.smooth_l1_loss(
            uv_BM2, targets["uv"], reduction="none", beta=self.config.uv_beta
        )
        return {
            "part": (_normalized(balance_BM) * loss_BM).sum(dim=1),
            "uv": (_normalized(person_BM) * away_BM2.sum(dim=2)).sum(dim=1),
        }

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Parts and u, v on the person; who is person at all; distances on the surface."""
        true_BM, place_BM2 = targets["part"].long(), targets["place"]
        labelled_BM = targets["weight"] > 0
        person_BM, rest_BM = labelled_BM & (true_BM > 0), labelled_BM & (true_BM == 0)
        pred_BM = _sample(outputs["part"], place_BM2).argmax(dim=1)
        either_BM = person_BM | (labelled_BM & (pred_BM > 0))
        iou_B = _mean_over((pred_BM > 0) & person_BM, either_BM)
        uv_BM2 = self._uv_of(outputs, place_BM2, true_BM)
        away_BM = (uv_BM2 - targets["uv"]).norm(dim=2)
        row = {
            "part_accuracy": _mean_over(pred_BM == true_BM, person_BM),
            # With points of the person alone, everything could be called person.
            "foreground_iou": torch.where(rest_BM.any(dim=1), iou_B, torch.nan),
            "uv_error": _mean_over(away_BM, person_BM),
            "sureness": _sureness(outputs["part"]),
        }
        surface = surface_of_chart(self.config.chart) if self.config.geodesic else None
        if surface is None:
            nothing_B = torch.full_like(row["uv_error"], torch.nan)
            return {**row, "gps": nothing_B, "gpsm": nothing_B, "geodesic_median_cm": nothing_B}
        found_BM2 = self._uv_of(outputs, place_BM2, pred_BM).clamp(0, 1)
        kept_BM = torch.where(person_BM, true_BM, 0)
        judged = surface.judge(pred_BM, found_BM2, kept_BM, targets["uv"])
        return {**row, **judged, "gpsm": gpsm(judged["gps"], row["foreground_iou"])}

    def summarize(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """Means over samples; and AP and AR over `gps` and `gpsm`, as COCO has them, of people
        whose boxes are given: each sample that can be judged is one person to be found, by one
        prediction as sure as its map is where it sees a person.
        """
        figures = summarize(rows)
        for name in ("gps", "gpsm"):
            judged_B = ~rows[name].isnan()
            scores, similarities = (rows[x][judged_B].double() for x in ("sureness", name))
            found = average_precision(
                scores[:, None].unbind(), similarities[:, None, None].unbind()
            )
            figures |= {f"{measure}_{name}": found[measure] for measure in ("ap", "ar")}
        return figures

    def draw(
        self, image_HW3: npt.NDArray[np.uint8], outputs: Outputs, targets: Targets, row: int
    ) -> npt.NDArray[np.uint8]:
        """The image; parts, then u and v, as found; the same as they are labelled."""
        answer = self.answer(outputs, row)
        found = paint_map(image_HW3, answer["part"], answer["uv"], self.num_parts)
        place, part, uv, weight = (
            targets[name][row].numpy() for name in ("place", "part", "uv", "weight")
        )
        shown = weight > 0
        true = paint_points(
            image_HW3, place[shown], part[shown], uv[shown], self.num_parts,
            self.config.head.stride_px,
        )  # fmt: skip
        return np.hstack([image_HW3, found, true])

    def answer(self, outputs: Outputs, row: int) -> dict[str, Any]:
        """`part` (S, S) uint8, 0 for the background; `uv` (S, S, 2), 0..1, of that part;
        `sureness` (S, S), the part's probability.
        """
        shares_KSS = outputs["part"][row].float().softmax(dim=0)
        sure_SS, part_SS = shares_KSS.max(dim=0)
        uv_P2SS = outputs["uv"][row].float().unflatten(0, (self.num_parts, 2))
        index_12SS = (part_SS - 1).clamp(min=0)[None, None].expand(-1, 2, -1, -1)
        uv_2SS = uv_P2SS.gather(0, index_12SS)[0].clamp(0, 1) * (part_SS > 0)
        return {
            "part": part_SS.to(torch.uint8).numpy(),
            "uv": uv_2SS.permute(1, 2, 0).numpy(),
            "sureness": sure_SS.numpy(),
        }

    def _uv_of(self, outputs: Outputs, place_BM2: Tensor, part_BM: Tensor) -> Tensor:
        """U and v of the named parts at places, (B, M, 2); those of the first on background."""
        uv_BP2M = _sample(outputs["uv"], place_BM2).unflatten(1, (self.num_parts, 2))
        index_B12M = (part_BM - 1).clamp(min=0)[:, None, None].expand(-1, 1, 2, -1)
        return uv_BP2M.gather(1, index_B12M)[:, 0].transpose(1, 2)


class _DensePoseHead(nn.Module):
    def __init__(self, config: DensePoseConfig, encoder: EncoderSize, num_parts: int) -> None:
        super().__init__()
        self.maps = DenseHead(config.head, encoder, 1 + 3 * num_parts)
        self.num_parts = num_parts

    def forward(self, features: Features) -> Outputs:
        part_BKSS, uv_B2PSS = self.maps(features).split([1 + self.num_parts, 2 * self.num_parts], 1)
        return {"part": part_BKSS, "uv": uv_B2PSS}


def _sample(maps_BKSS: Tensor, place_BM2: Tensor) -> Tensor:
    """The maps at places given as shares of the side, between pixels by bilinear weights."""
    grid_BM12 = (2 * place_BM2 - 1)[:, :, None]
    return F.grid_sample(
        maps_BKSS.float(), grid_BM12, mode="bilinear", padding_mode="border", align_corners=False
    )[..., 0]


def _sureness(part_BKSS: Tensor) -> Tensor:
    """The mean probability of the parts where a person is seen, (B,); 0 where none is."""
    sure_BSS, part_BSS = part_BKSS.float().softmax(dim=1).max(dim=1)
    return _mean_over(sure_BSS.flatten(1), part_BSS.flatten(1) > 0).nan_to_num(0.0)


def _normalized(weight_BM: Tensor) -> Tensor:
    """Weights of each sample that sum to 1, or stay 0."""
    return weight_BM / weight_BM.sum(dim=1, keepdim=True).clamp(min=1e-6)


def _mean_over(value_BM: Tensor, chosen_BM: Tensor) -> Tensor:
    """Each sample's mean over its chosen points, float64; NaN without any."""
    return (value_BM.double() * chosen_BM).sum(dim=1) / chosen_BM.sum(dim=1)
