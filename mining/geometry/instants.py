"""Instants: times of several views, which never agree to the last digit, grouped into moments that
are one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def group_instants(
    times_s: Sequence[NDArray[np.float64]], max_sync_error_s: float
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Find instants (M,), in seconds and ascending, that cover all times, and the place (N,) of
    each list's times.

    An instant begins with the earliest time that no other covers, and covers what follows within
    `max_sync_error_s`.
    """
    every = np.unique(np.concatenate([np.zeros(0), *times_s]))
    starts: list[float] = []
    for time_s in every:
        if not starts or time_s - starts[-1] > max_sync_error_s:
            starts.append(float(time_s))
    instants = np.array(starts)
    return instants, [np.searchsorted(instants, times, side="right") - 1 for times in times_s]
