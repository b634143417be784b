"""Distances along the surface of a mesh, and the vertex that a point of a chart lies at.

What is wrong in a dense prediction is how far one would have to walk on the body from the place
named to the true one: a geodesic distance. It is measured on the body model in rest pose, in
metres.

Shapes: V vertices, F triangles, N points, T rows of a chart table.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

CHUNK_ROWS = 64  # sources whose distances are found in one call
MAX_ROWS = 8192  # of distances that are kept, 4 bytes for each vertex (0.45 GB for Anny)
NO_VERTEX = -1  # of a point that is on no chart: background


class SurfaceDistances:
    """Geodesic distances between vertices of one mesh, found when first asked for and then kept.

    Shortest paths run along edges (Dijkstra). They are never shorter than the true ones; on Anny's
    13,718 vertices, against exact distances (pygeodesic), they are 4.3 % too long in the mean. Two
    more points on each edge, as Lanthier et al. ("Approximating weighted shortest paths on
    polyhedral surfaces", 1997) have them, would make that 1.0 %, and take ten times as long.
    Needs scipy.
    """

    def __init__(self, vertices_V3_m: ArrayLike, faces_F3: ArrayLike) -> None:
        """Take vertices (V, 3) in metres and triangles (F, 3) of vertex indices.

        `MAX_ROWS` of V distances are kept, the oldest go first.
        """
        self.vertices_V3_m = np.asarray(vertices_V3_m, np.float64)
        faces_F3 = np.asarray(faces_F3, np.int64)
        if faces_F3.ndim != 2 or faces_F3.shape[1] != 3:
            raise ValueError(
                f"faces have shape {faces_F3.shape}, not (F, 3): split them into triangles"
            )
        self._graph = _graph(self.vertices_V3_m, faces_F3)
        self._rows: dict[int, NDArray[np.float32]] = {}

    @property
    def num_vertices(self) -> int:
        """Number of vertices V."""
        return len(self.vertices_V3_m)

    def rows_m(self, sources_N: ArrayLike) -> NDArray[np.float32]:
        """Return the distances in metres from N vertices to all, (N, V); infinite where no path
        leads.
        """
        from scipy.sparse.csgraph import dijkstra

        sources_N = np.asarray(sources_N, np.int64)
        wanted = np.unique(sources_N)
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self.num_vertices:
            raise ValueError(
                f"vertices {wanted[0]} to {wanted[-1]} are asked for, but the mesh has 0 to "
                f"{self.num_vertices - 1}"
            )
        found = {source: self._rows[source] for source in wanted.tolist() if source in self._rows}
        new = np.array([source for source in wanted.tolist() if source not in found], np.int64)
        for start in range(0, len(new), CHUNK_ROWS):
            part = new[start : start + CHUNK_ROWS]
            rows = dijkstra(self._graph, directed=False, indices=part)
            found.update(zip(part.tolist(), rows.astype(np.float32), strict=True))
        self._rows.update((source, found[source]) for source in new.tolist())
        while len(self._rows) > MAX_ROWS:
            self._rows.pop(next(iter(self._rows)))
        return (
            np.stack([found[source] for source in sources_N.tolist()])
            if found
            else np.empty((0, self.num_vertices), np.float32)
        )

    def between_m(self, pred_N: Tensor, true_N: Tensor) -> Tensor:
        """Return the distances in metres between predicted and true vertices, any shape alike.

        Infinite where the prediction is `NO_VERTEX` (background) or no path leads; NaN where the
        truth is. Paths are sought from the true vertices: they are the same in each evaluation.
        """
        pred = pred_N.detach().cpu().numpy().ravel()
        true = true_N.detach().cpu().numpy().ravel()
        distances = np.where(true < 0, np.nan, np.inf)
        both = np.flatnonzero((true >= 0) & (pred >= 0))
        sources, which = np.unique(true[both], return_inverse=True)
        for start in range(0, len(sources), CHUNK_ROWS):
            rows = self.rows_m(sources[start : start + CHUNK_ROWS])
            here = (which >= start) & (which < start + CHUNK_ROWS)
            distances[both[here]] = rows[which[here] - start, pred[both[here]]]
        return torch.from_numpy(distances).view(true_N.shape).to(true_N.device)


class ChartTable:
    """Where the vertices of a mesh lie on its charts: from (chart, u, v) to the nearest vertex.

    Charts are DensePose's parts or any others, numbered from 1: 0 is background. A vertex on a seam
    has a row for each chart it is on.
    """

    def __init__(self, vertex_T: Tensor, chart_T: Tensor, uv_T2: Tensor) -> None:
        """Take rows of a vertex, its chart (from 1), and u and v there, 0 to 1."""
        if not len(vertex_T) == len(chart_T) == len(uv_T2):
            raise ValueError(
                f"the table has {len(vertex_T)} vertices, {len(chart_T)} charts and {len(uv_T2)} "
                "places: give one of each for each row"
            )
        self._uv_of = {
            int(chart): (vertex_T[chart_T == chart].long(), uv_T2[chart_T == chart].double())
            for chart in chart_T.unique()
            if chart > 0
        }

    def nearest_vertex(self, chart: Tensor, uv: Tensor) -> Tensor:
        """Return the vertices nearest on their charts: charts (...) and uv (..., 2) to (...).

        `NO_VERTEX` for background, for a chart without vertices and for places that are no numbers.
        Nearness is that of u and v, as in DensePose's evaluation.
        """
        vertices = torch.full_like(chart, NO_VERTEX, dtype=torch.long)
        finite = uv.isfinite().all(dim=-1)
        for number, (vertex_T, uv_T2) in self._uv_of.items():
            here = (chart == number) & finite
            places_N2 = uv[here].double()
            nearest = [
                torch.cdist(part_N2, uv_T2.to(uv.device)).argmin(dim=1)
                for part_N2 in places_N2.split(4096)
            ]
            vertices[here] = vertex_T.to(uv.device)[torch.cat(nearest)]
        return vertices


def _graph(vertices_V3: NDArray[np.float64], faces_F3: NDArray[np.int64]) -> Any:
    """The sparse graph of the mesh's edges, (V, V)."""
    try:
        from scipy.sparse import coo_array
    except ImportError as error:
        raise ValueError(
            "distances along a surface are found by scipy, which is not installed: "
            "pip install scipy"
        ) from error
    sides_S2 = np.concatenate([faces_F3[:, [0, 1]], faces_F3[:, [1, 2]], faces_F3[:, [2, 0]]])
    edges_E2 = np.unique(np.sort(sides_S2, axis=1), axis=0)
    lengths_E = np.linalg.norm(vertices_V3[edges_E2[:, 0]] - vertices_V3[edges_E2[:, 1]], axis=1)
    # Points in one place are linked all the same: a stored zero would be no link.
    lengths_E = np.maximum(lengths_E, 1e-9)
    graph = coo_array((lengths_E, edges_E2.T), shape=(len(vertices_V3), len(vertices_V3)))
    return graph.tocsr()
