"""The body's surface as labels: the part that each triangle belongs to, and its place in the body's
texture.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from catalog.anny_surface import BODY_PARTS, parts_of_faces
from mining.synthetic.body_model import body_model


@dataclass(frozen=True)
class Surface:
    """`part` (F,) int8 names each triangle's part in `BODY_PARTS`; `uv` (F, 3, 2) are its corners'
    places in Anny's texture, from 0 to 1, u to the right and v upwards.
    """

    part: NDArray[np.int8]
    uv: NDArray[np.float32]


@cache
def surface() -> Surface:
    """The labels of the body model's triangles, the same for every person."""
    model = body_model()
    part = parts_of_faces(model.bones, model.bone_weights, model.faces)
    places = model.anny.texture_coordinates.numpy()
    return Surface(part, places[model.anny.face_texture_coordinate_indices.numpy()])


def faces_of(part: str) -> NDArray[np.int64]:
    """The triangles of a part, `body` for all of them. Raises ValueError for an unknown part."""
    if part == "body":
        return np.arange(len(surface().part))
    if part not in BODY_PARTS:
        raise ValueError(f"unknown body part {part!r}; there are: body, {', '.join(BODY_PARTS)}")
    return np.flatnonzero(surface().part == BODY_PARTS.index(part))
