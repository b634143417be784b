"""The one case in which views without cameras can be joined: nobody else is there.

When every view of a synchronized capture shows at most one person at a time, and the views show one
at the same times, it is the same person. A bystander in a single view ends that certainty.
"""

from collections.abc import Sequence

import numpy as np

from mining.geometry.instants import group_instants
from mining.identity.fits import Track

MIN_SHARED = 0.5  # share of the instants of the view with fewer that two views must have in common


def join_the_only_person(
    tracks: Sequence[Track], *, max_sync_error_s: float
) -> tuple[frozenset[int], str | None]:
    """The tracks that are one person, and None; or no tracks, and one sentence that says why not.

    `tracks` are all of a capture without cameras, also of people who are not wanted otherwise, on
    one clock; instants up to `max_sync_error_s` apart are one. Tracks of one view may follow each
    other (a person lost and found again), but not overlap.
    """
    _, places = group_instants([track.times_s for track in tracks], max_sync_error_s)
    seen: dict[int, list[int]] = {}
    for track, here in zip(tracks, places, strict=True):
        seen.setdefault(track.view, []).extend(set(here.tolist()))
    if len(seen) < 2:
        return frozenset(), "people are seen in fewer than two views"
    for view, instants in sorted(seen.items()):
        if len(set(instants)) < len(instants):
            return frozenset(), f"view {view} sees two people at once"
    views = sorted(seen)
    for k, a in enumerate(views):
        for b in views[k + 1 :]:
            fewer = min(len(seen[a]), len(seen[b]))
            shared = np.intersect1d(seen[a], seen[b]).size / fewer
            if shared < MIN_SHARED:
                return frozenset(), (
                    f"views {a} and {b} see someone at the same time for only {shared:.2f} of it"
                )
    return frozenset(range(len(tracks))), None
