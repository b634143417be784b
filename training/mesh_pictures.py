"""Meshes drawn over images, by OpenCV alone.

Triangles that face the camera are filled from the farthest to the nearest; with thousands of small
ones no depth buffer is needed. Nothing of the image hides the mesh.

Shapes: V vertices, F triangles, H x W image.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Floats = npt.NDArray[np.floating[Any]]

LIGHT = np.array([-0.35, -0.6, -0.72])  # where it comes from, in the camera's axes
AMBIENT = 0.4
NEAR_M = 0.05  # triangles nearer than this are behind the lens
FINE_BITS = 4  # fractions of a pixel that OpenCV fills by
SMOOTH_UNDER_PX = 1000  # images smaller than this are drawn at twice their size, for their edges
PREDICTED = (90, 160, 255)
TRUE = (120, 210, 130)


def draw_mesh(
    image_HW3: Picture,
    vertices_cam_V3: Floats,
    faces_F3: npt.NDArray[np.integer[Any]],
    pixels_from_cam: Floats,
    colour: tuple[int, int, int] = PREDICTED,
    opacity: float = 0.85,
) -> Picture:
    """Return the image with a mesh over it; vertices are in metres in the image's camera.

    Call it once for each person, the farthest first.
    """
    height, width = image_HW3.shape[:2]
    times = 2 if max(height, width) < SMOOTH_UNDER_PX else 1
    size = (height * times, width * times)
    enlarge = np.diag([times, times, 1.0])
    layer_HW4 = _fill(vertices_cam_V3, faces_F3, enlarge @ pixels_from_cam, colour, size)
    if times > 1:
        layer_HW4 = cv2.resize(layer_HW4, (width, height), interpolation=cv2.INTER_AREA)
    # The layer's colours are already weighted by how much of each pixel the mesh covers.
    covered_HW1 = layer_HW4[..., 3:].astype(np.float32) * (opacity / 255)
    blended = image_HW3 * (1 - covered_HW1) + opacity * layer_HW4[..., :3].astype(np.float32)
    return np.asarray(blended.round(), np.uint8)


def draw_turned(
    side_px: int,
    vertices_V3: Floats,
    faces_F3: npt.NDArray[np.integer[Any]],
    colour: tuple[int, int, int] = PREDICTED,
) -> Picture:
    """Draw a mesh by itself on white, filling the picture, from the side: turned by a quarter about
    the camera's vertical.
    """
    turned_V3 = vertices_V3 @ np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])
    low, high = turned_V3.min(axis=0), turned_V3.max(axis=0)
    extent = float((high - low)[:2].max())
    placed_V3 = turned_V3 - (low + high) / 2 + np.array([0, 0, 6 * extent])
    focal_px = 6 * 0.85 * side_px
    camera = np.array([[focal_px, 0, side_px / 2], [0, focal_px, side_px / 2], [0, 0, 1.0]])
    white = np.full((side_px, side_px, 3), 255, np.uint8)
    return draw_mesh(white, placed_V3, faces_F3, camera, colour, opacity=1.0)


def _fill(
    vertices_V3: Floats,
    faces_F3: npt.NDArray[np.integer[Any]],
    pixels_from_cam: Floats,
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> Picture:
    """The mesh alone: RGB and coverage (H, W, 4), 0 where it is not."""
    layer_HW4 = np.zeros((*size, 4), np.uint8)
    vertices_V3 = np.asarray(vertices_V3, np.float64)
    if not np.isfinite(vertices_V3).all():
        return layer_HW4
    seen_V3 = vertices_V3 @ np.asarray(pixels_from_cam, np.float64).T
    depth_V = seen_V3[:, 2]
    pixels_V2 = seen_V3[:, :2] / np.maximum(depth_V, NEAR_M)[:, None]
    corners_F32 = pixels_V2[faces_F3]
    normals_F3 = np.cross(
        vertices_V3[faces_F3[:, 1]] - vertices_V3[faces_F3[:, 0]],
        vertices_V3[faces_F3[:, 2]] - vertices_V3[faces_F3[:, 0]],
    )
    towards_F = -(normals_F3 * vertices_V3[faces_F3[:, 0]]).sum(axis=1)
    inside_F = (corners_F32.max(axis=1) > 0).all(axis=1)
    inside_F &= (corners_F32.min(axis=1) < (size[1], size[0])).all(axis=1)
    shown_F = np.flatnonzero((depth_V[faces_F3].min(axis=1) > NEAR_M) & (towards_F > 0) & inside_F)
    shown_F = shown_F[np.argsort(-depth_V[faces_F3[shown_F]].mean(axis=1), kind="stable")]

    shade_F = _shade(len(vertices_V3), faces_F3, normals_F3)[shown_F]
    colours_F4 = np.column_stack([shade_F[:, None] * np.array(colour), np.full(len(shown_F), 255)])
    # Pixel centres are half a pixel from the corners that positions are counted from.
    fixed_F32 = np.rint((corners_F32[shown_F] - 0.5) * 2**FINE_BITS)
    fixed_F32 = fixed_F32.clip(-(2**20), 2**20).astype(np.int32)
    for corners_32, filling in zip(fixed_F32, colours_F4.tolist(), strict=True):
        cv2.fillConvexPoly(layer_HW4, corners_32, filling, cv2.LINE_8, FINE_BITS)
    return layer_HW4


def _shade(
    num_vertices: int, faces_F3: npt.NDArray[np.integer[Any]], normals_F3: Floats
) -> npt.NDArray[np.float64]:
    """How bright each triangle is, 0..1: by the mean normal of its corners, so that it looks
    smooth.
    """
    normals_V3 = np.zeros((num_vertices, 3))
    for axis in range(3):
        for corner in range(3):
            normals_V3[:, axis] += np.bincount(
                faces_F3[:, corner], normals_F3[:, axis], minlength=num_vertices
            )
    normals_V3 /= np.linalg.norm(normals_V3, axis=1, keepdims=True).clip(1e-12)
    smooth_F3 = normals_V3[faces_F3].mean(axis=1)
    lit_F = (smooth_F3 @ (LIGHT / np.linalg.norm(LIGHT))).clip(0)
    return np.asarray(AMBIENT + (1 - AMBIENT) * lit_F)
