"""Ray casting of posed bodies with warp: one BVH for each instant, shared by all cameras; CPU, or
CUDA where there is.

A first kernel casts one ray through every pixel's centre: who is seen there, which gives exact
masks. A second one shades: pixels at or beside a person take four samples (the centre's and three
more), all others show the floor, with the people's shadows, or the wall. Everything is
deterministic: no atomics, no clock.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from mining.cache import cache_folder
from mining.geometry.cameras import Camera
from mining.synthetic import kernels
from mining.synthetic.kernels import Lens, Light, Pattern


@dataclass(frozen=True)
class Topology:
    """What all bodies share, on the device: faces (F, 3), faces around each vertex, and the
    reference body.
    """

    faces: Any
    faces_around: Any
    reference: Any
    arm_and_eye: Any


@dataclass(frozen=True)
class PosedMesh:
    """The people of one instant as one mesh with a BVH: face // F and vertex // V name the person.

    `corners_world` (8, 3) are those of the axis-aligned box around everybody, in metres.
    """

    mesh: Any
    normals: Any
    corners_world: NDArray[np.float64]


@cache
def device_name() -> str:
    """Start warp quietly, its kernels under our cache, and name its device: `cuda:0` if any.

    Processes that compile the same kernels at once do no harm: warp renames finished folders.
    """
    wp.config.log_level = wp.LOG_ERROR  # no banner, no compile messages
    wp.config.kernel_cache_dir = str(cache_folder("warp"))
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with _silent_stderr():  # its C code warns of what we just found out
            wp.init()
    else:
        wp.init()
    return "cuda:0" if wp.is_cuda_available() else "cpu"


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what C code of this process writes to the error stream."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def make_topology(
    faces: NDArray[np.int32], reference: NDArray[np.float32], arm_and_eye: NDArray[np.float32]
) -> Topology:
    """Put a body's faces (F, 3), reference vertices (V, 3) and vertex attributes (V, 2) on the
    device.
    """
    device = device_name()
    corners = faces.ravel()
    order = np.argsort(corners, kind="stable")
    counts = np.bincount(corners, minlength=len(reference))
    starts = np.cumsum(counts) - counts
    around = np.full((len(reference), counts.max()), -1, np.int32)
    around[corners[order], np.arange(len(corners)) - np.repeat(starts, counts)] = order // 3
    return Topology(
        wp.array(faces, dtype=int, device=device),
        wp.array(around, dtype=int, device=device),
        wp.array(reference, dtype=wp.vec3, device=device),
        wp.array(arm_and_eye, dtype=wp.vec2, device=device),
    )


def make_mesh(topology: Topology, vertices_world: NDArray[np.float32]) -> PosedMesh:
    """Build the BVH and the smooth normals of people (P, V, 3) in metres."""
    device = device_name()
    num_people, num_vertices, _ = vertices_world.shape
    points = wp.array(vertices_world.reshape(-1, 3), dtype=wp.vec3, device=device)
    offsets = np.arange(num_people, dtype=np.int32)[:, None] * num_vertices
    indices = (topology.faces.numpy().reshape(1, -1) + offsets).ravel()
    normals = wp.empty(len(points), dtype=wp.vec3, device=device)
    wp.launch(
        kernels.vertex_normals_kernel,
        dim=len(points),
        inputs=[points, topology.faces, topology.faces_around],
        outputs=[normals],
        device=device,
    )
    ends = np.stack([vertices_world.min(axis=(0, 1)), vertices_world.max(axis=(0, 1))]).astype(
        np.float64
    )
    corners = np.stack(np.meshgrid(*ends.T), axis=-1).reshape(8, 3)
    return PosedMesh(
        wp.Mesh(points=points, indices=wp.array(indices, dtype=int, device=device)),
        normals,
        corners,
    )


def draw(
    topology: Topology,
    posed: PosedMesh,
    camera: Camera,
    light: Light,
    looks: Any,
    patterns: Any,
    floor_pattern: Pattern,
    floor_share: float,
    wall: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Render one image in front of `wall` (H, W, 3): RGB uint8 (H, W, 3), and who is seen at each
    pixel (-1: nobody).

    `looks` is a device array of P Looks and `patterns` of 4 Patterns for each person. The camera
    must have no distortion.
    """
    device = device_name()
    height, width = wall.shape[:2]
    lens = _lens(camera)
    hit_face = wp.full((height, width), -1, dtype=int, device=device)
    hit = wp.zeros((height, width), dtype=wp.vec3, device=device)
    image = wp.empty((height, width), dtype=wp.vec3, device=device)
    left, top, right, bottom = _rectangle_of(camera, posed.corners_world, width, height)
    wp.launch(
        kernels.cast_kernel,
        dim=(bottom - top, right - left),
        inputs=[posed.mesh.id, lens, left, top],
        outputs=[hit_face, hit],
        device=device,
    )
    wp.launch(
        kernels.shade_kernel,
        dim=(height, width),
        inputs=[
            posed.mesh.id, lens, light, topology.faces, posed.mesh.points, posed.normals,
            topology.reference, topology.arm_and_eye, looks, patterns, floor_pattern, floor_share,
            wp.array(wall, dtype=wp.vec3, device=device), hit_face, hit,
        ],
        outputs=[image],
        device=device,
    )  # fmt: skip
    pixels = np.clip(image.numpy() * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    faces = hit_face.numpy()
    return pixels, np.where(faces >= 0, faces // len(topology.faces), -1).astype(np.int32)


def gaps_before(
    topology: Topology, posed: PosedMesh, camera: Camera, points_world: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """How far in metres before each point (N, 3) the camera's ray meets a body, and whose (-1:
    nobody's).
    """
    device = device_name()
    gap_m = wp.empty(len(points_world), dtype=float, device=device)
    hit_face = wp.empty(len(points_world), dtype=int, device=device)
    points = wp.array(points_world.astype(np.float32), dtype=wp.vec3, device=device)
    wp.launch(
        kernels.depth_kernel,
        dim=len(points_world),
        inputs=[posed.mesh.id, wp.vec3(*camera.centre_world.tolist()), points],
        outputs=[gap_m, hit_face],
        device=device,
    )
    faces = hit_face.numpy()
    return gap_m.numpy(), np.where(faces >= 0, faces // len(topology.faces), -1).astype(np.int32)


def _rectangle_of(
    camera: Camera, corners_world: NDArray[np.float64], width: int, height: int
) -> tuple[int, ...]:
    """The pixels (left, top, right, bottom) that a box of 8 corners can cover; all when the camera
    is beside the box.
    """
    pixels = camera.project(corners_world)
    if not np.isfinite(pixels).all():
        return 0, 0, width, height
    low = np.clip(np.floor(pixels.min(axis=0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)), 0, [width, height]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _lens(camera: Camera) -> Lens:
    lens = Lens()
    lens.focal_x, lens.focal_y = float(camera.intrinsics[0, 0]), float(camera.intrinsics[1, 1])
    lens.centre_x, lens.centre_y = float(camera.intrinsics[0, 2]), float(camera.intrinsics[1, 2])
    lens.world_from_cam = wp.mat33(*camera.world_from_cam[:3, :3].ravel().tolist())
    lens.position = wp.vec3(*camera.centre_world.tolist())
    return lens
