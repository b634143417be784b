"""The finished Anny body model (Apache-2.0 code, CC0 data), prepared once for each machine and
shared by all its processes.

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
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catalog.cache import cache_folder

if TYPE_CHECKING:
    import torch


def load_anny(skinning_method: str | None = None) -> Any:
    """Load the body model, an `anny.Anny` whose rotations are relative to the parent bone, in the
    axes of the reference pose; its file is built when this machine has none yet.

    With `lbs` it needs neither warp nor a GPU; by default it poses vertices with warp, which the
    caller may want to start first. Raises ValueError when Anny is not installed.
    """
    path = _model_file()
    from anny.models.model_data import ModelData
    from anny.models.phenotype import Anny

    return Anny.from_model_data(
        ModelData.load_safetensors(path),
        skinning_method=skinning_method,
        pose_parameterization="local-ref",
        bone_orientation="cached",
        root_identity_orientation=False,
    )


def _model_file() -> Path:
    """The finished model's file, built under a lock when it is missing."""
    try:
        name = f"body-{version('anny')}-float32.safetensors"
    except PackageNotFoundError:
        raise ValueError(
            "the Anny body model is not installed; install it with: pip install anny"
        ) from None
    folder = cache_folder("anny")
    path = folder / name
    if not path.exists():
        with open(folder / f"{name}.lock", "w") as lock:
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
            # Nothing is skinned here, and this way of skinning alone does not start warp.
            data = Anny(skinning_method="lbs").to_model_data()
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
