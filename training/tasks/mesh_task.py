"""What all mesh tasks have in common: the body model, the targets, the figures, the picture, the
answer. A task of its own adds a head, how its outputs become points, and its losses.

Losses are taken on few vertices, spread evenly over the body, and figures on all: a small model
is trained faster, and judged all the same.

Shapes: B samples, V vertices, K keypoints.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shards.labels import Label
from training.bodies.model import BodyModel
from training.bodies.registry import make_body
from training.loading.placed import Placed
from training.mesh_pictures import PREDICTED, TRUE, draw_mesh, draw_turned
from training.metrics.table import summarize
from training.tasks.mesh_config import MeshConfig
from training.tasks.mesh_losses import shared_losses, shared_weights
from training.tasks.mesh_metrics import mesh_figures
from training.tasks.mesh_points import MeshPoints, root_keypoints, true_points
from training.tasks.mesh_targets import MeshSizes, mesh_target
from training.tasks.task import EncoderSize, Outputs, Targets


class MeshTask(ABC):
    """The base of the mesh tasks."""

    name: str
    num_images = 1
    parts: tuple[str, ...] = ("body",)
    mirror_left = False
    reads_maps = False
    headline = "pve_mm"
    larger_is_better = False
    factors: Mapping[str, float]

    def __init__(self, config: MeshConfig) -> None:
        """Make the body model.

        Raises ValueError when it, or its file, is not there.
        """
        self.config = config
        self._few = make_body(config.body, config.folder, config.num_vertices)
        self._whole: dict[str, BodyModel] = {}  # by gender
        self.sizes = MeshSizes(self._few, config.folder)
        self.roots = root_keypoints(self._few)

    def __getstate__(self) -> dict[str, Any]:
        """Loader processes only make targets: they get no body model, which may be large."""
        return {name: value for name, value in self.__dict__.items() if name not in _MODELS}

    def few(self, device: torch.device) -> BodyModel:
        """The body model with the vertices of the losses."""
        self._few = self._few.to(device)
        return self._few

    def whole(self, device: torch.device, gender: str = "neutral") -> BodyModel:
        """The body model with all its vertices; made when it is first needed. What a head predicts
        is the neutral one; labels may be of others.
        """
        if gender not in self._whole:
            made = make_body(self.config.body, self.config.folder, gender=gender)
            self._whole[gender] = made
        return self._whole[gender].to(device)

    @torch.no_grad()
    def truth(self, targets: Targets, whole: bool) -> MeshPoints:
        """The labels' meshes, with the vertices of the losses or with all."""
        device = targets["rotations"].device
        body = self.whole(device) if whole else self.few(device)
        return true_points(body, partial(self.whole, device), targets)

    @abstractmethod
    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """See Task."""

    @abstractmethod
    def points(self, outputs: Outputs, shares_from_cam_B33: Tensor, whole: bool) -> MeshPoints:
        """The meshes predicted, with the vertices of the losses or with all."""

    def target(self, label: Label, images: Sequence[Placed]) -> dict[str, npt.NDArray[np.generic]]:
        """See `mesh_targets`; of two views, the first is asked for."""
        return mesh_target(
            label.label_id,
            images[0],
            self.sizes,
            self.config.assumed_focal,
            self.config.other_bodies,
        )

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """See Task."""
        return shared_weights(targets, self.roots)

    @abstractmethod
    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """See Task."""

    def shared(self, outputs: Outputs, targets: Targets, truth: MeshPoints) -> dict[str, Tensor]:
        """The terms that all mesh tasks have, see `mesh_losses`."""
        points = self.points(outputs, targets["shares_from_cam"], whole=False)
        return shared_losses(points, truth, targets, self.roots)

    @torch.no_grad()
    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """See `mesh_metrics`."""
        truth = self.truth(targets, whole=True)
        points = self.points(outputs, targets["shares_from_cam"], whole=True)
        return self.figures(points, truth, targets)

    def figures(self, points: MeshPoints, truth: MeshPoints, targets: Targets) -> dict[str, Tensor]:
        """What meshes are judged by."""
        return mesh_figures(points, truth, targets, self.roots)

    def summarize(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """Means, and how many samples they are of."""
        return summarize(rows)

    @torch.no_grad()
    def draw(
        self, image_HW3: npt.NDArray[np.uint8], outputs: Outputs, targets: Targets, row: int
    ) -> npt.NDArray[np.uint8]:
        """The predicted mesh over the image and from its side, and the true one, where there is."""
        targets = {name: value[row : row + 1] for name, value in targets.items()}
        outputs = {name: value[row : row + 1] for name, value in outputs.items()}
        camera_133 = targets["shares_from_cam"]
        body, side_px = self.whole(camera_133.device), len(image_HW3)
        pixels_from_cam = np.diag([side_px, side_px, 1.0]) @ camera_133[0].numpy()
        faces_F3 = body.faces_F3.numpy()
        shown = [(self.points(outputs, camera_133, whole=True), PREDICTED)]
        if targets["has_body"][0] > 0:
            shown.append((self.truth(targets, whole=True), TRUE))
        tiles = [image_HW3]
        for points, colour in shown:
            vertices_V3 = (points.vertices_BV3 + points.root_B3[:, None])[0].numpy()
            tiles += [
                draw_mesh(image_HW3, vertices_V3, faces_F3, pixels_from_cam, colour),
                draw_turned(side_px, vertices_V3, faces_F3, colour=colour),
            ]
        tiles += [np.full_like(image_HW3, 255)] * (5 - len(tiles))
        return np.hstack(tiles)

    @torch.no_grad()
    def answer(
        self, outputs: Outputs, row: int, shares_from_cam_33: Tensor | None = None
    ) -> dict[str, Any]:
        """The mesh in the image's camera, `vertices_m` (V, 3) and `faces`; `joints_m` (K, 3) and
        their names; `root_m` (3,); the camera, `shares_from_cam` (3, 3), which projects to shares
        of the image's side: that given, or an assumed one that looks at the image's centre.
        """
        outputs = {name: value[row : row + 1].float() for name, value in outputs.items()}
        focal = self.config.assumed_focal
        assumed_33 = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1.0]])
        camera_33 = assumed_33 if shares_from_cam_33 is None else shares_from_cam_33
        device = outputs["camera"].device
        points = self.points(outputs, camera_33.to(device)[None], whole=True)
        root_B13 = points.root_B3[:, None]
        return {
            "vertices_m": (points.vertices_BV3 + root_B13)[0].cpu().numpy(),
            "faces": self.whole(device).faces_F3.cpu().numpy(),
            "joints_m": (points.keypoints_BK3 + root_B13)[0].cpu().numpy(),
            "joint_names": self.whole(device).keypoint_names,
            "root_m": points.root_B3[0].cpu().numpy(),
            "shares_from_cam": camera_33.cpu().numpy(),
        }


_MODELS = ("_few", "_whole", "_levels")
