"""Runs a labelled dataset's adapter on a fixture, and the camera's formula written out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.labelling.source import (
    Found,
    Image,
    LabelledImage,
    LabelledListing,
    LabelledSample,
    make_labelled_source,
)
from mining.sources.base import DatasetSpec, SourceProblem

Array = NDArray[np.float64]
MIRROR = np.diag([-1.0, 1.0, 1.0])
GROWTH_M = 0.01  # along x, of all of `write_mano`'s hand, for each of its ten shape values


def root_at_rest(shape: Array) -> Array:
    """Where the root joint of `write_mano`'s hand lies, about its origin."""
    return np.array([0.095 + GROWTH_M * sum(shape), 0.006, 0.007])


def write_mano(folder: Path, mean_pose: Array) -> None:
    """A MANO file of four vertices, the root joint between the first two."""
    folder.mkdir(parents=True)
    root = root_at_rest(np.zeros(10))
    apart = np.array([0.01, 0.0, 0.0])
    vertices = np.array([root + apart, root - apart, [0, 0.1, 0], [0, 0, 0.1]])
    shapes = np.zeros((4, 3, 12))
    shapes[:, 0] = GROWTH_M
    joints = np.zeros((16, 4))
    joints[:, :2] = 0.5
    np.savez(
        folder / "MANO_RIGHT.npz",
        hands_mean=mean_pose, v_template=vertices, shapedirs=shapes, J_regressor=joints,
        posedirs=np.zeros((4, 3, 135)), kintree_table=np.zeros((2, 16), np.int64),
        weights=np.full((4, 16), 1 / 16), f=np.array([[0, 1, 2]]),
    )  # fmt: skip


def list_labelled(adapter: str, root: Path, **options: Any) -> LabelledListing:
    spec = DatasetSpec(name=adapter, adapter=adapter, root=str(root), options=options)
    return make_labelled_source(adapter).units(spec)


def found_in(adapter: str, root: Path, **options: Any) -> dict[str, list[Found]]:
    """What each unit gives, by the unit's name."""
    source = make_labelled_source(adapter)
    units = list_labelled(adapter, root, **options).units
    return {unit.name: list(source.labelled(unit)) for unit in units}


def samples_in(adapter: str, root: Path, **options: Any) -> dict[str, list[LabelledSample]]:
    """The samples of each unit, of which nothing is broken."""
    found = found_in(adapter, root, **options)
    for unit in found.values():
        assert not [one for one in unit if not isinstance(one, LabelledSample)]
    return found  # type: ignore[return-value]


def problems_in(found: dict[str, list[Found]]) -> dict[str, str]:
    """The broken samples: name to what is said of them."""
    return {
        one.unit: one.error
        for unit in found.values()
        for one in unit
        if isinstance(one, SourceProblem)
    }


def pixels_of(image: LabelledImage) -> Image:
    return image.image() if callable(image.image) else image.image


def check_joints(image: LabelledImage, joints_cam: Array, has: list[int]) -> None:
    """The joints `has` are the true ones, and no others are there."""
    assert image.joints_cam_m is not None
    assert np.flatnonzero(image.joints_cam_m[:, 3] > 0).tolist() == has
    assert np.abs(image.joints_cam_m[has, :3] - joints_cam[has]).max() < 1e-6


def check_projection(image: LabelledImage, places: list[int]) -> None:
    """The camera shows these joints on their keypoints."""
    assert image.joints_cam_m is not None and image.pixels_from_cam is not None
    shown = image.joints_cam_m[places, :3] @ image.pixels_from_cam.T
    assert np.abs(shown[:, :2] / shown[:, 2:] - image.keypoints_px[places, :2]).max() < 0.01


def rotation(axis_angle: Array) -> Array:
    """Rodrigues' formula."""
    angle = float(np.linalg.norm(axis_angle))
    x, y, z = axis_angle / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
