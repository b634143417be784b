"""The one case in which views without cameras can be joined: nobody else is there.

When every view of a synchronized capture shows at most one person at a time, and the views show one
at the same times, it is the same person. A bystander in a single view ends that certainty.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mining.geometry.instants import group_instants
from mining.identity.fits import Track

MIN_SHARED = 0.5  # share of the instants of the view with fewer that two views must have in common


def is_one_person(tracks: Sequence[Track], *, max_sync_error_s: float) -> bool:
    """Whether tracks of two or more views certainly are one person's.

    `tracks` are all of a capture without cameras, also of people who are not wanted otherwise, on
    one clock; instants up to `max_sync_error_s` apart are one. Tracks of one view may follow each
    other (a person lost and found again), but not overlap.
    """
    _, places = group_instants([track.times_s for track in tracks], max_sync_error_s)
    seen: dict[int, list[int]] = {}
    for track, here in zip(tracks, places, strict=True):
        seen.setdefault(track.view, []).extend(set(here.tolist()))
    if len(seen) < 2:
        return False
    if any(len(set(instants)) < len(instants) for instants in seen.values()):
        return False  # a view sees two people at once
    return all(
        np.intersect1d(a, b).size >= MIN_SHARED * min(len(a), len(b))
        for a, b in combinations(seen.values(), 2)
    )
