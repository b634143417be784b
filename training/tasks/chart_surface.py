"""The surface behind a chart: how far a found place is from the true one, along the body.

For Anny's chart that is the Anny mesh in its reference pose. For DensePose's it would be the files
that come with its data under their own licence, which are not read here.

Shapes: B samples, M points.
"""

import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor

from catalog.anny_surface import parts_of_faces
from training.metrics.dense_pose import gps
from training.metrics.surface import ChartTable, SurfaceDistances

# Of the vertices in a cube of this size only one is kept, so that the paths from every vertex that
# is asked for stay in memory. Places then are off by about 1 cm, where GPS falls over 25 cm.
THINNED_TO_M = 0.02


class ChartSurface:
    """Vertices by their place on the chart, and the distances between them."""

    def __init__(self, table: ChartTable, distances: SurfaceDistances) -> None:
        self._table = table
        self._distances = distances

    def judge(
        self, part_BM: Tensor, uv_BM2: Tensor, true_part_BM: Tensor, true_uv_BM2: Tensor
    ) -> dict[str, Tensor]:
        """`gps` and the `geodesic_median_cm` of each sample, (B,) float64.

        Parts are numbers from 1; found 0 is infinitely wrong, true 0 is not judged.
        """
        found_BM = self._table.nearest_vertex(part_BM, uv_BM2)
        true_BM = self._table.nearest_vertex(true_part_BM, true_uv_BM2)
        away_BM_m = self._distances.between_m(found_BM, true_BM)
        return {"gps": gps(away_BM_m), "geodesic_median_cm": 100 * _median(away_BM_m)}


@cache
def surface_of_chart(chart: str) -> ChartSurface | None:
    """The surface of a chart; None, and one warning that says why, where there is none."""
    try:
        if chart != "anny":
            raise ValueError(
                f"the chart {chart!r} needs the mesh that comes with DensePose's data "
                "(UV_Processed.mat), which this version does not read"
            )
        return _anny_surface()
    except (ValueError, ImportError) as error:
        warnings.warn(
            f"no distances on the body's surface, so gps is NaN: {error}; set task.geodesic=false "
            "to leave them out",
            stacklevel=2,
        )
        return None


def _anny_surface() -> ChartSurface:
    from training.bodies.anny_rig import anny, reference

    model, (vertices, _) = anny(), reference()
    faces = model.faces.numpy()
    distances = SurfaceDistances(vertices, faces)
    part_F = parts_of_faces(model.bone_labels, model.dense_vertex_bone_weights.numpy(), faces)
    texture_F3 = model.face_texture_coordinate_indices.numpy()
    corners_T3 = np.stack([faces.ravel(), part_F.repeat(3) + 1, texture_F3.ravel()], axis=1)
    corners_T3 = np.unique(corners_T3, axis=0)
    kept = _thinned(vertices) & np.isfinite(distances.rows_m([faces[part_F == 1][0, 0]])[0])
    vertex_T, part_T, texture_T = torch.from_numpy(corners_T3[kept[corners_T3[:, 0]]]).T
    table = ChartTable(vertex_T, part_T, model.texture_coordinates[texture_T])
    return ChartSurface(table, distances)


def _thinned(vertices_V3_m: np.ndarray) -> np.ndarray:
    cubes_V3 = np.floor(vertices_V3_m / THINNED_TO_M).astype(np.int64)
    _, first = np.unique(cubes_V3, axis=0, return_index=True)
    kept = np.zeros(len(vertices_V3_m), bool)
    kept[first] = True
    return kept


def _median(away_BM: Tensor) -> Tensor:
    """Of each row without its NaN values; torch's own has infinity last, as is wanted here."""
    return away_BM.nanmedian(dim=1).values
