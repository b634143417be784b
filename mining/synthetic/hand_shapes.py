"""What hands do: everyday shapes of five fingers as curls in degrees, and random hands around them.

A curl of 0 is a straight finger and 90 a closed one; `spread` fans the fingers out.
"""

import numpy as np
from numpy.typing import NDArray

FINGERS = ("thumb", "index", "middle", "ring", "little")
HAND_ANGLES = (*FINGERS, "spread")

# thumb, index, middle, ring, little, spread
HAND_SHAPES: dict[str, tuple[float, float, float, float, float, float]] = {
    "relaxed": (15, 22, 30, 35, 38, 0),
    "loose": (10, 12, 16, 20, 22, 2),
    "flat": (5, 2, 2, 2, 3, 0),
    "open": (0, 0, 0, 0, 0, 10),
    "cupped": (25, 38, 40, 42, 42, 1),
    "hook": (5, 62, 65, 66, 66, 0),
    "fist": (48, 84, 86, 86, 84, -2),
    "point": (42, 4, 78, 82, 82, 0),
    "victory": (48, 4, 4, 80, 80, 9),
    "pinch": (38, 52, 30, 26, 24, 3),
    "pen": (34, 48, 56, 70, 74, 0),
    "thumb up": (-6, 82, 84, 84, 82, 0),
    "phone call": (-8, 78, 82, 80, 6, 4),
    "three": (46, 3, 3, 5, 78, 7),
    "bottle": (30, 50, 52, 54, 56, 0),
}
LIMITS_DEG = {
    **dict.fromkeys(FINGERS[1:], (-4.0, 90.0)),
    "thumb": (-10.0, 55.0),
    "spread": (-3, 12),
}
_SPREAD_DEG = np.array([7.0, 9.0, 8.0, 8.0, 9.0, 2.5])


def random_hand(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a hand: (6,) degrees in the order of `HAND_ANGLES`, between two shapes or near one."""
    shapes = np.array(list(HAND_SHAPES.values()))
    first, second = shapes[rng.integers(len(shapes), size=2)]
    share = float(rng.beta(0.35, 0.35))
    low, high = np.array([LIMITS_DEG[name] for name in HAND_ANGLES]).T
    drawn = (1.0 - share) * first + share * second + rng.normal(size=6) * _SPREAD_DEG
    hand: NDArray[np.float64] = np.clip(drawn, low, high)
    return hand
