"""What chance does to a labelled image: where its window lies, how it is turned, its colours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.loading.augment import Look
from training.loading.placed import Placement

Floats = npt.NDArray[np.floating[Any]]

NUM_DRAWS = 8  # numbers that a placement and a look take


@dataclass(frozen=True, kw_only=True)
class LabelAugmentConfig:
    """How much chance may do; both views of a sample are treated independently."""

    zoom: float = 0.15  # the window's scale varies in 1 - zoom .. 1 + zoom
    shift: float = 0.06  # of the window's centre, as a share of the image's side, either way
    turn_deg: float = 20.0  # of the picture, either way
    jitter: float = 0.3  # brightness, contrast and saturation each vary in 1 - jitter .. 1 + jitter
    margin_zoom: float = 1.0  # of the window before chance: above 1 cuts the stored margin away

    def __post_init__(self) -> None:
        if not 0 <= self.zoom < 1 or not 0 <= self.jitter <= 1 or self.margin_zoom <= 0:
            raise ValueError(
                f"augment.zoom {self.zoom} must lie in [0, 1), augment.jitter {self.jitter} in "
                f"[0, 1] and augment.margin_zoom {self.margin_zoom} above 0"
            )


def place(config: LabelAugmentConfig, chance_8: Floats | None, mirrored: bool) -> Placement:
    """Where an image's window lies, from numbers in [0, 1); without them nothing is random."""
    if chance_8 is None:
        return Placement(zoom=config.margin_zoom, mirrored=mirrored)
    zoom, shift_x, shift_y, turn = (2 * chance_8[:4] - 1).tolist()
    return Placement(
        zoom=config.margin_zoom * (1 + config.zoom * zoom),
        shift_x=config.shift * shift_x,
        shift_y=config.shift * shift_y,
        turn_deg=config.turn_deg * turn,
        mirrored=mirrored,
    )


def look(config: LabelAugmentConfig, chance_8: Floats | None) -> Look:
    """The colours of an image that is cut already."""
    brightness, contrast, saturation = 1.0, 1.0, 1.0
    if chance_8 is not None:
        drawn = 1 + config.jitter * (2 * chance_8[4:7] - 1)
        brightness, contrast, saturation = drawn.tolist()
    return Look(
        left=0.0, top=0.0, side=1.0,
        brightness=brightness, contrast=contrast, saturation=saturation, grey=0.5,
    )  # fmt: skip
