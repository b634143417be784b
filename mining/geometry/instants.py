"""Instants: times of several views, which never agree to the last digit, grouped into moments that
are one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDING_S = 1e-6  # 0.1 - 0.08 is a little more than 0.02


def group_instants(
    times_s: Sequence[NDArray[np.float64]], max_sync_error_s: float
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Find instants (M,), in seconds and ascending, that cover all times, and the place (N,) of
    each list's times.

    All times of an instant lie within `max_sync_error_s` of each other, not only of their
    neighbours: the nearest neighbours are joined first, and groups are joined only while all that
    is in them stays that close. An instant's own time is its earliest. Cost: N log N.
    """
    every = np.unique(np.concatenate([np.zeros(0), *times_s]))
    gaps_s = np.diff(every)
    first = np.arange(len(every))  # of the group that ends at each place
    last = np.arange(len(every))  # of the group that begins at each place
    is_cut = np.ones(len(every), np.bool_)  # whether a group begins at each place
    for left in np.argsort(gaps_s, kind="stable"):
        if gaps_s[left] > max_sync_error_s + ROUNDING_S:
            break
        start, end = first[left], last[left + 1]
        if every[end] - every[start] <= max_sync_error_s + ROUNDING_S:
            is_cut[left + 1] = False
            first[end], last[start] = start, end
    instants = every[is_cut]
    return instants, [np.searchsorted(instants, times, side="right") - 1 for times in times_s]
