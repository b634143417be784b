"""Heatmaps of keypoints: what they should be, how far they are from it, and where they peak.

A map's logits are a distribution over its pixels; the target is a normal distribution around the
keypoint. Its cross-entropy needs no balance of the few pixels that matter against the many that do
not, as a squared error would.

Shapes: B samples, K keypoints, S pixels along a map's side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NEAR_PX = 2  # pixels of the map around a peak that count as agreeing with it


def draw_targets(place_BK2: Tensor, map_px: int, sigma_px: float) -> Tensor:
    """Distributions (B, K, S, S) around places given as shares of the image's side.

    `sigma_px` counts pixels of the map. What lies outside of the image gets the nearest pixels.
    """
    centres_S = torch.arange(map_px, device=place_BK2.device) + 0.5
    offset_BK2S = centres_S - map_px * place_BK2[..., None]
    along_BK2S = (-0.5 * (offset_BK2S / sigma_px) ** 2).softmax(dim=3)
    return along_BK2S[:, :, 1, :, None] * along_BK2S[:, :, 0, None, :]


def heatmap_losses(logits_BKSS: Tensor, place_BK2: Tensor, sigma_px: float) -> Tensor:
    """The divergence (B, K) of each map from its target: 0 at the truth, in nats."""
    target_BKN = draw_targets(place_BK2, logits_BKSS.shape[3], sigma_px).flatten(2)
    log_BKN = logits_BKSS.float().flatten(2).log_softmax(dim=2)
    return F.kl_div(log_BKN, target_BKN, reduction="none").sum(dim=2)


def find_peaks(logits_BKSS: Tensor) -> tuple[Tensor, Tensor]:
    """Where each map peaks, (B, K, 2) as shares of the image's side, and how sure it is, (B, K).

    Along each axis a parabola through three logits is exact for a normal distribution (Zhang et
    al., "Distribution-aware coordinate representation for human pose estimation", CVPR 2020), at
    the border too, where a mean over a window would be drawn inwards. Sureness is the share of the
    distribution within NEAR_PX of the peak.
    """
    logits_BKSS = logits_BKSS.float()
    map_px = logits_BKSS.shape[3]
    peak_BK = logits_BKSS.flatten(2).argmax(dim=2)
    row_BK, column_BK = peak_BK // map_px, peak_BK % map_px
    row_BK1S = row_BK[..., None, None].expand(-1, -1, 1, map_px)
    column_BKS1 = column_BK[..., None, None].expand(-1, -1, map_px, 1)
    x_BK = _vertex(logits_BKSS.gather(2, row_BK1S)[:, :, 0], column_BK)
    y_BK = _vertex(logits_BKSS.gather(3, column_BKS1)[..., 0], row_BK)
    window = 2 * NEAR_PX + 1
    near_BKSS = F.avg_pool2d(
        logits_BKSS.flatten(2).softmax(dim=2).view_as(logits_BKSS),
        window, stride=1, padding=NEAR_PX, divisor_override=1,
    )  # fmt: skip
    sure_BK = near_BKSS.flatten(2).gather(2, peak_BK[..., None])[..., 0]
    return torch.stack([x_BK, y_BK], dim=2) / map_px, sure_BK.clamp(max=1)


def _vertex(line_BKS: Tensor, peak_BK: Tensor) -> Tensor:
    """Where a line peaks, in pixels from its start, within half a pixel of its highest one."""
    middle_BK = peak_BK.clamp(1, line_BKS.shape[2] - 2)
    index_BK3 = middle_BK[..., None] + torch.arange(-1, 2, device=line_BKS.device)
    before_BK, at_BK, after_BK = line_BKS.gather(2, index_BK3).unbind(2)
    bend_BK = before_BK - 2 * at_BK + after_BK
    curved_BK = bend_BK < -1e-6
    shift_BK = (before_BK - after_BK) / (2 * torch.where(curved_BK, bend_BK, -1.0))
    vertex_BK = torch.where(curved_BK, middle_BK + shift_BK, peak_BK)
    return 0.5 + vertex_BK.clamp(peak_BK - 0.5, peak_BK + 0.5)
