"""A few vertices that stand for a whole mesh: which ones, and the others as weighted means of them.

Shapes: M vertices of the mesh, V chosen ones, C bones.
"""

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 8  # chosen vertices that a vertex is made of
# Vertices that other bones move count as farther away: a finger is not made of its neighbour, an
# arm not of the hip it rests on. All of a vertex's weights on another bone add this distance.
OTHER_BONE_M = 0.1
STIFFNESS = 1e-3  # how strongly equal weights are preferred, as a share of the neighbours' spread


def farthest_points(points_M3: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Choose `count` points, sorted, each the farthest from those before it; the first is the
    farthest from the middle of all.

    Raises ValueError for a count that the points do not have.
    """
    if not 1 <= count <= len(points_M3):
        raise ValueError(
            f"a mesh of {len(points_M3)} vertices cannot give {count}; choose 1 to {len(points_M3)}"
        )
    points_M3 = points_M3.astype(np.float64)
    gap_M = ((points_M3 - points_M3.mean(axis=0)) ** 2).sum(axis=1)
    chosen = [int(gap_M.argmax())]
    gap_M[:] = np.inf
    while len(chosen) < count:
        gap_M = np.minimum(gap_M, ((points_M3 - points_M3[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(gap_M.argmax()))
    return np.sort(np.array(chosen, np.int64))


def upsampling_weights(
    points_M3: NDArray[np.float32],
    bone_weights_MC: NDArray[np.float32],
    chosen_V: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Make each vertex of few chosen ones: their places among `chosen_V` and their weights, both
    (M, N), rows that sum to 1.

    The weights give back the vertex's place in the reference pose as nearly as they can while
    they stay even (the local weights of locally linear embedding, Roweis and Saul 2000). A chosen
    vertex is itself.
    """
    features = np.concatenate([points_M3, OTHER_BONE_M * bone_weights_MC], axis=1).astype(float)
    few = min(NEIGHBOURS, len(chosen_V))
    squares_V = (features[chosen_V] ** 2).sum(axis=1)
    nearest = np.empty((len(points_M3), few), np.int64)
    for start in range(0, len(points_M3), 2048):
        block = features[start : start + 2048]
        gaps = squares_V - 2.0 * block @ features[chosen_V].T
        nearest[start : start + 2048] = np.argsort(gaps, axis=1, kind="stable")[:, :few]
    apart = points_M3[chosen_V[nearest]].astype(float) - points_M3[:, None]
    gram = apart @ apart.transpose(0, 2, 1)
    spread = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    gram += np.eye(few) * (STIFFNESS * spread + 1e-12)
    weights = np.linalg.solve(gram, np.ones((len(points_M3), few, 1)))[:, :, 0]
    weights /= weights.sum(axis=1, keepdims=True)
    weights[chosen_V] = nearest[chosen_V] == np.arange(len(chosen_V))[:, None]
    return nearest, weights.astype(np.float32)
