"""When each camera takes its frames: all at once, or each by a clock of its own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.config import SyntheticConfig

SLOWEST, FASTEST = 0.8, 1.25  # of the config's frame rate


@dataclass(frozen=True)
class Clock:
    """`times_s` (F,) are a camera's frames on the capture's clock; the first is at `offset_s`.

    `fps` is its nominal rate: where frames were lost, times have gaps.
    """

    offset_s: float
    fps: float
    times_s: NDArray[np.float64]


def make_clocks(
    config: SyntheticConfig, rng_of: Callable[..., np.random.Generator]
) -> tuple[Clock, ...]:
    """One clock for each camera; the first camera's begins at 0. `rng_of` gives the generator of a
    named choice.
    """
    if config.clock == "shared":
        shared = Clock(0.0, config.fps, np.arange(config.num_frames) / config.fps)
        return (shared,) * config.num_views
    clocks = []
    for view in range(config.num_views):
        rng = rng_of("clock", view)
        offset_s = float(rng.uniform(0, config.max_offset_s)) if view else 0.0
        fps = float(config.fps * rng.uniform(SLOWEST, FASTEST))
        kept = rng.random(config.num_frames) >= config.dropped_share
        kept[[0, -1]] = True
        clocks.append(Clock(offset_s, fps, offset_s + np.flatnonzero(kept) / fps))
    return tuple(clocks)
