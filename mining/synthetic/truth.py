"""What a scene knows of its images beyond keypoints: labels of every pixel, the surface that two
images share, and what an image lacks of somebody. All by casting rays against the whole scene.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.synthetic.body_model import body_model
from mining.synthetic.render import PosedMesh, cast, gaps_before, make_part_mesh
from mining.synthetic.surface import faces_of, surface

SKIN_M = 0.002  # a ray that ends this near before a triangle's middle met the triangle itself
MOST_PIXELS = 400_000  # of a silhouette that reaches beyond the image; larger ones are thinned out
FURTHEST = 4.0  # image sizes beyond its borders in which a silhouette is still looked at


@dataclass(frozen=True)
class PixelTruth:
    """What each pixel's centre shows, (H, W) each: `person` int16 (-1: nobody), `part` int8, a
    place in `BODY_PARTS` (-1: nobody), `uv` float32 (H, W, 2) in Anny's texture, u to the
    right and v upwards from 0 to 1 (NaN: nobody), and `depth_m` float32 along the camera's axis
    (infinite: nobody).
    """

    person: NDArray[np.int16]
    part: NDArray[np.int8]
    uv: NDArray[np.float32]
    depth_m: NDArray[np.float32]


def pixel_truth(posed: PosedMesh, camera: Camera, width_px: int, height_px: int) -> PixelTruth:
    """Label every pixel of an image."""
    return of_hits(*cast(posed, camera, width_px, height_px), camera)


def of_hits(face: NDArray[np.int32], hit: NDArray[np.float32], camera: Camera) -> PixelTruth:
    """Label every pixel by what its ray met, as in `render.Drawn`."""
    faces_each = len(surface().part)
    shown = face >= 0
    person = np.full(face.shape, -1, np.int16)
    part = np.full(face.shape, -1, np.int8)
    uv = np.full((*face.shape, 2), np.nan, np.float32)
    depth_m = np.full(face.shape, np.inf, np.float32)
    own_face = face[shown] % faces_each
    person[shown] = face[shown] // faces_each
    part[shown] = surface().part[own_face]
    weights = np.column_stack([hit[shown][:, :2], 1.0 - hit[shown][:, :2].sum(axis=1)])
    uv[shown] = np.einsum("nc,ncd->nd", weights, surface().uv[own_face])
    rows, columns = np.nonzero(shown)
    pixels = np.column_stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    rays = pixels @ np.linalg.inv(camera.intrinsics).T
    depth_m[shown] = hit[shown][:, 2] / np.linalg.norm(rays, axis=1)
    return PixelTruth(person, part, uv, depth_m)


def visible_faces(
    posed: PosedMesh,
    vertices_world: NDArray[np.float32],
    person: int,
    camera: Camera,
    size_px: tuple[int, int],
) -> NDArray[np.bool_]:
    """Which triangles (F,) of a person an image of a size sees; see `Scene.covisibility`."""
    corners = vertices_world[body_model().faces].astype(np.float64)
    middles = corners.mean(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.einsum("fd,fd->f", normals, camera.centre_world - middles) > 0
    pixels = camera.project(middles)
    inside = ((pixels >= 0) & (pixels < np.array(size_px))).all(axis=1)  # not so for NaN
    seen: NDArray[np.bool_] = facing & inside
    asked = np.flatnonzero(seen)
    gap_m, hit_face = gaps_before(posed, camera, middles[asked])
    own = asked + person * len(corners)
    seen[asked] = (hit_face < 0) | (hit_face == own) | (gap_m < SKIN_M)
    return seen


def areas_m2(vertices_world: NDArray[np.float32]) -> NDArray[np.float64]:
    """The areas (F,) of a body's triangles."""
    corners = vertices_world[body_model().faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas: NDArray[np.float64] = np.linalg.norm(normals, axis=1) / 2
    return areas


def shared_share(
    seen_a: NDArray[np.bool_], seen_b: NDArray[np.bool_], areas: NDArray[np.float64], part: str
) -> float:
    """Area of a part seen in both over area seen in either; all arguments are (F,)."""
    faces = faces_of(part)
    either = areas[faces][(seen_a | seen_b)[faces]].sum()
    both = areas[faces][(seen_a & seen_b)[faces]].sum()
    return float(both / either) if either > 0 else 0.0


def hidden_and_outside(
    posed: PosedMesh,
    vertices_world: NDArray[np.float32],
    person: int,
    part: str,
    camera: Camera,
    size_px: tuple[int, int],
) -> tuple[float, float]:
    """The shares of a part's silhouette that are covered, and outside; see `Scene.visibility`."""
    faces = faces_of(part)
    used = np.unique(body_model().faces[faces])
    pixels = camera.project(vertices_world[used].astype(np.float64))
    if not np.isfinite(pixels).any():
        return 0.0, 1.0
    size = np.array(size_px, dtype=np.float64)
    low = np.clip(np.floor(np.nanmin(pixels, axis=0)), -FURTHEST * size, size - 1)
    high = np.clip(np.ceil(np.nanmax(pixels, axis=0)), 1, (1 + FURTHEST) * size)
    step = max(1.0, float(np.sqrt((high - low).prod() / MOST_PIXELS)))
    # The image of a camera that looks at the silhouette's whole rectangle, every `step` pixels.
    scaled = np.diag([1 / step, 1 / step, 1.0])
    moved = np.array([[1.0, 0, -low[0]], [0, 1.0, -low[1]], [0, 0, 1.0]])
    wide = replace(camera, intrinsics=scaled @ moved @ camera.intrinsics)
    width, height = np.maximum(np.ceil((high - low) / step), 1).astype(int).tolist()
    alone, _ = cast(make_part_mesh(vertices_world, body_model().faces[faces]), wide, width, height)
    together, _ = cast(posed, wide, width, height)
    x = low[0] + (np.arange(width) + 0.5) * step
    y = low[1] + (np.arange(height) + 0.5) * step
    in_image = ((y >= 0) & (y < size[1]))[:, None] & ((x >= 0) & (x < size[0]))[None]
    silhouette = alone >= 0
    within = silhouette & in_image
    if not within.any():
        return 0.0, 1.0
    own = np.zeros(len(surface().part), dtype=bool)
    own[faces] = True
    faces_each = len(own)
    shown = (together // faces_each == person) & own[together % faces_each] & (together >= 0)
    hidden = 1.0 - (within & shown).sum() / within.sum()
    return float(hidden), float(1.0 - within.sum() / silhouette.sum())
