"""A crop's foreground map: how much of each cell of its image is the person.

Mining measures it, the catalog and shards carry it as bytes, training reads it. Nothing heavy is
imported here, since training does without the packages of the catalog.
"""

import numpy as np
import numpy.typing as npt

FOREGROUND_GRID = 32  # cells along each side of the map


def cells_of(data: bytes) -> npt.NDArray[np.uint8]:
    """The map in a column `foreground`, (32, 32) row by row: the share (0-255) of each cell.

    Raises ValueError for another number of bytes.
    """
    if len(data) != FOREGROUND_GRID**2:
        raise ValueError(f"a foreground map of {len(data)} bytes, expected {FOREGROUND_GRID**2}")
    return np.frombuffer(data, np.uint8).reshape(FOREGROUND_GRID, FOREGROUND_GRID)
