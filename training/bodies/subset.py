"""A few vertices that stand for a whole mesh: which ones, and the others as weighted means of them.

Shapes: P poses, M vertices of the mesh, V chosen ones, N chosen ones that a vertex is made of.
"""

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 8
# How strongly equal weights are preferred, as a share of the neighbours' spread. Less fits the
# given poses more closely, with weights that are larger and so add noise of the chosen vertices.
STIFFNESS = 1e-3


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
    points_PM3: NDArray[np.float32], chosen_V: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Make each vertex of the few chosen ones that stay near it: their places among `chosen_V` and
    their weights, both (M, N), rows that sum to 1.

    The weights give back the vertex's place in all poses as nearly as they can while they stay
    even (the local weights of locally linear embedding, Roweis and Saul 2000). Many poses tell
    what moves together: a finger is not made of its neighbour, nor an arm of the hip it rests on.
    A chosen vertex is itself.
    """
    few, num_points = min(NEIGHBOURS, len(chosen_V)), points_PM3.shape[1]
    gaps_MV = np.zeros((num_points, len(chosen_V)), np.float32)
    for points_M3 in points_PM3:
        gaps_MV += (points_M3[chosen_V] ** 2).sum(axis=1)
        gaps_MV -= 2.0 * points_M3 @ points_M3[chosen_V].T
    gaps_MV[chosen_V, np.arange(len(chosen_V))] = -np.inf
    nearest_MN = np.argpartition(gaps_MV, few - 1, axis=1)[:, :few]
    points_MP3 = points_PM3.transpose(1, 0, 2)
    apart = points_MP3[chosen_V[nearest_MN]] - points_MP3[:, None]
    apart = apart.reshape(num_points, few, -1).astype(np.float64)
    gram = apart @ apart.transpose(0, 2, 1)
    spread = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    gram += np.eye(few) * (STIFFNESS * spread + 1e-12)
    weights_MN = np.linalg.solve(gram, np.ones((num_points, few, 1)))[:, :, 0]
    weights_MN /= weights_MN.sum(axis=1, keepdims=True)
    weights_MN[chosen_V] = nearest_MN[chosen_V] == np.arange(len(chosen_V))[:, None]
    return nearest_MN, weights_MN.astype(np.float32)
