"""Find the 2D keypoints of a body or of a hand in heatmaps: the cheap probe.

A keypoint counts in training as much as its confidence says. One that lies outside of the image is
not asked for: a heatmap has no place for it.

Shapes: B samples, K keypoints, S pixels along a heatmap's side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shards.labels import Label
from training.heads.dense import WIDTHS, DenseHead, DenseHeadConfig, Size
from training.heads.heatmaps import find_peaks, heatmap_losses
from training.heads.light import LightHead
from training.loading.placed import Placed
from training.metrics.keypoints import correct_keypoints, pck
from training.metrics.table import summarize
from training.tasks.skeletons import NAMES, draw_skeleton
from training.tasks.task import EncoderSize, Features, Outputs, Targets

ALPHAS = (0.05, 0.1)  # of PCK, as shares of the longer side of the person's box
PARTS = {"body": ("body",), "hand": ("left_hand", "right_hand")}


@dataclass(frozen=True, kw_only=True)
class KeypointsConfig:
    """Whose keypoints, and what finds them."""

    of: Literal["body", "hand"] = "body"  # COCO's 17, or 21 of a hand (left ones are mirrored)
    head_kind: Literal["light", "dense"] = "light"  # from the last tokens, or from four stages
    head: DenseHeadConfig = field(default_factory=DenseHeadConfig)
    sigma_px: float = 1.5  # of the target's normal distribution, in pixels of the heatmap

    def __post_init__(self) -> None:
        if self.sigma_px <= 0:
            raise ValueError(f"task.sigma_px must be above 0, got {self.sigma_px}")


def config_for(size: Size) -> KeypointsConfig:
    """Heads that suit encoders of a size."""
    return KeypointsConfig(head=DenseHeadConfig(width=WIDTHS[size]))


class Keypoints:
    """The task `keypoints`."""

    name = "keypoints"
    num_images = 1
    reads_maps = False
    headline = "pck_0.1"
    larger_is_better = True
    factors: Mapping[str, float] = {"heatmap": 1.0}

    def __init__(self, config: KeypointsConfig) -> None:
        self.config = config
        self.parts: tuple[str, ...] = PARTS[config.of]
        self.mirror_left = config.of == "hand"
        self.keypoint_names = NAMES[config.of]

    def target(self, label: Label, images: Sequence[Placed]) -> dict[str, npt.NDArray[np.generic]]:
        """`keypoints` (K, 3): x and y as shares of the image's side, confidence; `side` of the
        person's box as a share of the image's.
        """
        image = images[0]
        keypoints = image.keypoints_px()
        if len(keypoints) != len(self.keypoint_names):
            raise ValueError(
                f"sample {label.label_id} has {len(keypoints)} keypoints, but those of a "
                f"{self.config.of} are {len(self.keypoint_names)}: set task.of"
            )
        if not (keypoints[:, 2] > 0).any():
            raise ValueError(f"sample {label.label_id} has no keypoints")
        # A mirrored body would need left and right exchanged; only left hands are ever mirrored.
        assert not (image.placement.mirrored and label.part == "body")
        keypoints[:, :2] /= image.image_px
        outside = ((keypoints[:, :2] < 0) | (keypoints[:, :2] >= 1)).any(axis=1)
        keypoints[outside, 2] = 0
        side = image.person_side_px() / image.image_px
        return {"keypoints": keypoints.astype(np.float32), "side": np.array(side, np.float32)}

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head, which returns `heatmaps` (B, K, S, S), logits."""
        return _KeypointsHead(self.config, encoder, len(self.keypoint_names))

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """`heatmap`: 1 where any keypoint is in the image."""
        return {"heatmap": (targets["keypoints"][..., 2] > 0).any(dim=1).float()}

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """`heatmap`: the divergence of a sample's maps, weighted by confidence."""
        place_BK2, weight_BK = targets["keypoints"][..., :2], targets["keypoints"][..., 2]
        loss_BK = heatmap_losses(outputs["heatmaps"], place_BK2, self.config.sigma_px)
        total_B = weight_BK.sum(dim=1).clamp(min=1e-6)
        return {"heatmap": (loss_BK * weight_BK).sum(dim=1) / total_B}

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """PCK, the mean distance, and whether each keypoint is found within 0.1 of the box."""
        place_BK2, _ = find_peaks(outputs["heatmaps"])
        true_BK3, side_B = targets["keypoints"], targets["side"]
        found = {f"pck_{alpha}": pck(place_BK2, true_BK3, side_B, alpha) for alpha in ALPHAS}
        away_BK = (place_BK2 - true_BK3[..., :2]).norm(dim=2) / side_B[:, None]
        away_BK = torch.where(true_BK3[..., 2] > 0, away_BK, torch.nan)
        each_BK = correct_keypoints(place_BK2, true_BK3, side_B, ALPHAS[-1])
        of_each = {
            f"found_{ALPHAS[-1]}_{name}": each_BK[:, k]
            for k, name in enumerate(self.keypoint_names)
        }
        return {**found, "distance_share_of_box": away_BK.nanmean(dim=1), **of_each}

    def summarize(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """Means; those of single keypoints are PCK for each."""
        return summarize(rows)

    def draw(
        self, image_HW3: npt.NDArray[np.uint8], outputs: Outputs, targets: Targets, row: int
    ) -> npt.NDArray[np.uint8]:
        """The skeleton found beside the true one."""
        place_BK2, sure_BK = find_peaks(outputs["heatmaps"][row : row + 1])
        found = np.column_stack([place_BK2[0].numpy(), sure_BK[0].numpy()])
        true = targets["keypoints"][row].numpy()
        hand = self.config.of == "hand"
        return np.hstack([draw_skeleton(image_HW3, keypoints, hand) for keypoints in (found, true)])

    def answer(self, outputs: Outputs, row: int) -> dict[str, Any]:
        """`keypoints` (K, 3): x and y as shares of the image's side, sureness 0..1; their names."""
        place_BK2, sure_BK = find_peaks(outputs["heatmaps"][row : row + 1])
        keypoints = torch.cat([place_BK2[0], sure_BK[0, :, None]], dim=1)
        return {"keypoints": keypoints.numpy(), "names": self.keypoint_names}


class _KeypointsHead(nn.Module):
    def __init__(self, config: KeypointsConfig, encoder: EncoderSize, num_keypoints: int) -> None:
        super().__init__()
        kind = DenseHead if config.head_kind == "dense" else LightHead
        self.heatmaps = kind(config.head, encoder, num_keypoints)

    def forward(self, features: Features) -> Outputs:
        return {"heatmaps": self.heatmaps(features)}
