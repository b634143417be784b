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

from catalog.cache import cache_folder
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

    `boxes_world` (P, 8, 3) are the corners of the axis-aligned box around each, in metres.
    """

    mesh: Any
    normals: Any
    boxes_world: NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One image, RGB uint8 (H, W, 3), and what is seen at each pixel's centre.

    `face` (H, W) counts the triangles of all people (-1: nobody), so `face // F` is who; `hit`
    (H, W, 3) are the weights of its first two corners and the distance in metres.
    """

    image: NDArray[np.uint8]
    face: NDArray[np.int32]
    hit: NDArray[np.float32]


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


def make_mesh(
    topology: Topology, vertices_world: NDArray[np.float32], reused: Any = None
) -> PosedMesh:
    """Build the BVH and the smooth normals of people (P, V, 3) in metres.

    A BVH is built around reference bodies side by side and fitted to the pose: rays take as long,
    and that makes the mesh of as many people that is given as `reused` (and no longer of use) good
    for any others, 20 times faster than building anew and with the same hits.
    """
    device = device_name()
    num_people, num_vertices, _ = vertices_world.shape
    if reused is None:
        apart_m = np.arange(num_people)[:, None, None] * np.array([2.0, 0.0, 0.0])
        start = (topology.reference.numpy()[None] + apart_m).reshape(-1, 3)
        offsets = np.arange(num_people, dtype=np.int32)[:, None] * num_vertices
        indices = (topology.faces.numpy().reshape(1, -1) + offsets).ravel()
        mesh = wp.Mesh(
            points=wp.array(start, dtype=wp.vec3, device=device),
            indices=wp.array(indices, dtype=int, device=device),
        )
    else:
        mesh = reused
    mesh.points.assign(vertices_world.reshape(-1, 3))
    mesh.refit()
    normals = wp.empty(len(mesh.points), dtype=wp.vec3, device=device)
    wp.launch(
        kernels.vertex_normals_kernel,
        dim=len(mesh.points),
        inputs=[mesh.points, topology.faces, topology.faces_around],
        outputs=[normals],
        device=device,
    )
    return PosedMesh(mesh, normals, np.stack([_box(vertices) for vertices in vertices_world]))


def make_part_mesh(vertices_world: NDArray[np.float32], faces: NDArray[np.int32]) -> PosedMesh:
    """Build the BVH of some faces (N, 3) of one body (V, 3), for casting rays only."""
    device = device_name()
    mesh = wp.Mesh(
        points=wp.array(vertices_world, dtype=wp.vec3, device=device),
        indices=wp.array(np.ascontiguousarray(faces).ravel(), dtype=int, device=device),
    )
    return PosedMesh(mesh, None, _box(vertices_world[faces.ravel()])[None])


def _box(vertices: NDArray[np.float32]) -> NDArray[np.float64]:
    """The corners (8, 3) of the axis-aligned box around vertices (V, 3)."""
    ends = np.stack([vertices.min(axis=0), vertices.max(axis=0)]).astype(np.float64)
    return np.stack(np.meshgrid(*ends.T), axis=-1).reshape(8, 3)


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
) -> Drawn:
    """Render one image in front of `wall` (H, W, 3), 0 to 1.

    `looks` is a device array of P Looks and `patterns` of 4 Patterns for each person. The camera
    must have no distortion.
    """
    device = device_name()
    height, width = wall.shape[:2]
    lens = _lens(camera)
    hit_face, hit = _cast(posed, camera, width, height)
    image = wp.empty((height, width), dtype=wp.vec3, device=device)
    wp.launch(
        kernels.shade_kernel,
        dim=(height, width),
        inputs=[
            posed.mesh.id, lens, light, topology.faces, posed.mesh.points, posed.normals,
            topology.reference, topology.arm_and_eye, looks, patterns, floor_pattern, floor_share,
            wp.array(wall, dtype=wp.vec3, device=device), _shadows(posed, light), hit_face, hit,
        ],
        outputs=[image],
        device=device,
    )  # fmt: skip
    pixels = np.clip(image.numpy() * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return Drawn(pixels, hit_face.numpy(), hit.numpy())


def cast(
    posed: PosedMesh, camera: Camera, width_px: int, height_px: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What is seen at each pixel's centre, without an image: `face` and `hit` as in Drawn."""
    face, hit = _cast(posed, camera, width_px, height_px)
    return face.numpy(), hit.numpy()


def _cast(posed: PosedMesh, camera: Camera, width: int, height: int) -> tuple[Any, Any]:
    device = device_name()
    hit_face = wp.full((height, width), -1, dtype=int, device=device)
    hit = wp.zeros((height, width), dtype=wp.vec3, device=device)
    rectangles = np.array(
        [_rectangle_of(camera, box, width, height) for box in posed.boxes_world], np.float32
    )
    left, top = rectangles[:, :2].min(axis=0).astype(int).tolist()
    right, bottom = rectangles[:, 2:].max(axis=0).astype(int).tolist()
    wp.launch(
        kernels.cast_kernel,
        dim=(bottom - top, right - left),
        inputs=[
            posed.mesh.id, _lens(camera), left, top,
            wp.array(rectangles, dtype=wp.vec4, device=device),
        ],
        outputs=[hit_face, hit],
        device=device,
    )  # fmt: skip
    return hit_face, hit


def _shadows(posed: PosedMesh, light: Light) -> Any:
    """Rectangles of the floor (left, top, right, bottom in world x and y) that hold all shadows."""
    towards = np.array(list(light.direction), dtype=np.float64)
    boxes = posed.boxes_world
    on_floor = (boxes - boxes[..., 2:] / towards[2] * towards)[..., :2]
    rectangles = np.concatenate([on_floor.min(axis=1), on_floor.max(axis=1)], axis=1)
    return wp.array(rectangles.astype(np.float32), dtype=wp.vec4, device=device_name())


def gaps_before(
    posed: PosedMesh, camera: Camera, points_world: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """How far in metres before each point (N, 3) the camera's ray meets a body, and at which
    triangle of all people (-1: nowhere).
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
    return gap_m.numpy(), hit_face.numpy()


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
