"""The Anny body model (Apache-2.0 code, CC0 data), prepared once for each machine and shared by all
processes.

Building the model from its package parses 1,136 text files and takes a minute and 830 MB of
intermediate files. What is kept here is the finished model alone, in float32 (25 MB), built by one
process under a file lock and renamed into place, so that workers that start together wait for one
build and never see half a file. Body frame: metres, x to the person's left, -y forward, z up,
origin at the pelvis.
"""

import fcntl
import gzip
import os
import tempfile
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.cache import cache_folder

if TYPE_CHECKING:
    import torch

COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip


@dataclass(frozen=True)
class BodyModel:
    """Anny and what is read off its reference pose: everything that does not depend on a person.

    `faces` (F, 3) index `reference_vertices` (V, 3), the default person in the reference pose.
    `bone_heads` (B, 3) are the joints of that pose, in the order of `bones`. `keypoint_weights`
    (17, V) regress the COCO keypoints.
    """

    anny: Any
    faces: NDArray[np.int32]
    bones: tuple[str, ...]
    bone_heads: NDArray[np.float64]
    bone_weights: NDArray[np.float32]
    reference_vertices: NDArray[np.float32]
    keypoint_weights: NDArray[np.float32]


@cache
def body_model() -> BodyModel:
    """Load the body model of this process, building its file when this machine has none yet.

    It always runs on the CPU, where posing takes 1 to 4 ms a body.
    """
    from mining.synthetic.render import device_name

    device_name()  # starts warp our way, before anny does
    from anny.keypoints import KeypointsRegressor
    from anny.models.model_data import ModelData
    from anny.models.phenotype import Anny

    anny = Anny.from_model_data(
        ModelData.load_safetensors(_model_file()),
        pose_parameterization="local-ref",
        bone_orientation="cached",
        root_identity_orientation=False,
    )
    output = anny()
    vertices = output["vertices"][0].numpy()
    regressor = KeypointsRegressor.coco(anny, labels=list(COCO_KEYPOINTS))
    weights = regressor.regression_weights.numpy()
    bone_weights = np.zeros((len(vertices), len(anny.bone_labels)), np.float32)
    np.add.at(
        bone_weights,
        (np.arange(len(vertices))[:, None], anny.vertex_bone_indices.numpy()),
        anny.vertex_bone_weights.numpy(),
    )
    return BodyModel(
        anny=anny,
        faces=anny.faces.numpy().astype(np.int32),
        bones=tuple(anny.bone_labels),
        bone_heads=output["bone_poses"][0, :, :3, 3].numpy().astype(np.float64),
        bone_weights=bone_weights,
        reference_vertices=vertices,
        keypoint_weights=weights,
    )


def _model_file() -> Path:
    """The finished model's file, built under a lock when it is missing."""
    folder = cache_folder("anny")
    path = folder / f"body-{version('anny')}-float32.safetensors"
    if not path.exists():
        with open(folder / f"{path.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _build(path)
    return path


def _build(path: Path) -> None:
    import anny.models.full_model
    import torch
    from anny.models.phenotype import Anny
    from anny.paths import get_anny_cache_path, set_anny_cache_path

    slow_parser, own_cache = anny.models.full_model.load_blend_shape, get_anny_cache_path()
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # Its own parser makes one tensor a line; whole arrays give the same numbers 10 x faster.
        anny.models.full_model.load_blend_shape = _load_blend_shape
        set_anny_cache_path(scratch)
        try:
            data = Anny().to_model_data()
        finally:
            anny.models.full_model.load_blend_shape = slow_parser
            set_anny_cache_path(own_cache)
        doubles = {
            field.name: getattr(data, field.name).float()
            for field in fields(data)
            if getattr(getattr(data, field.name), "dtype", None) is torch.float64
        }
        replace(data, **doubles).save_safetensors(Path(scratch) / "finished")
        os.replace(Path(scratch) / "finished", path)


def _load_blend_shape(
    filename: str, vertices_count: int, world_transformation: Any, dtype: "torch.dtype"
) -> "torch.Tensor":
    """Read one target file, lines of `vertex x y z`, as a (1, vertices_count, 3) blend shape in
    world axes.
    """
    import torch

    with gzip.open(filename, "rt") as lines:
        rows = np.array(lines.read().split(), dtype=np.float64).reshape(-1, 4)
    offsets = torch.zeros((vertices_count, 3), dtype=dtype)
    offsets[torch.from_numpy(rows[:, 0].astype(np.int64))] = torch.from_numpy(rows[:, 1:]).to(dtype)
    shape: torch.Tensor = world_transformation.apply(offsets)
    return shape
