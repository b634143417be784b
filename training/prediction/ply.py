"""Meshes as PLY files, binary and little-endian, that viewers open: 20 lines here are less than a
dependency that training would have for them alone.
"""

import numpy as np
import numpy.typing as npt

from training.loading.placed import Floats


def encode_ply(vertices_V3: Floats, faces_F3: npt.NDArray[np.integer]) -> bytes:
    """The bytes of a mesh; its vertices keep their order and unit."""
    if len(faces_F3) and not 0 <= faces_F3.min() <= faces_F3.max() < len(vertices_V3):
        raise ValueError(f"faces name vertices that are not among the {len(vertices_V3)}")
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices_V3)}",
        *(f"property float {axis}" for axis in "xyz"),
        f"element face {len(faces_F3)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    rows = np.empty(len(faces_F3), [("count", "u1"), ("vertices", "<i4", 3)])
    rows["count"], rows["vertices"] = 3, faces_F3
    vertices = np.asarray(vertices_V3, "<f4").tobytes()
    return "\n".join([*header, ""]).encode() + vertices + rows.tobytes()
