"""Time: when frames of different views are of one instant, and the capture's clock, on which they
meet.

A view counts from its own first frame; `offset_s` is the time of that frame on the capture's clock,
which begins with the first frame of the earliest view. A view whose offset was sought and not found
(None) is read from its own first frame, and is of one instant with no other view.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catalog.parts import Row
from mining.geometry.instants import ROUNDING_S


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """The bound on time differences between views, and what it takes to find offsets from
    motion.
    """

    max_sync_error_s: float = 0.02  # frames of different views this close are of one instant
    max_offset_s: float = 10.0  # largest offset between two views that is sought
    min_overlap_s: float = 1.0  # of two tracks, for an offset between them to be looked at
    min_evidence: float = 10.0  # log-likelihood by which an offset must beat the usual one
    min_peak_margin: float = 4.0  # and by which it must beat the best other peak

    def __post_init__(self) -> None:
        """Raise ValueError for bounds that nothing can keep."""
        for name in ("max_sync_error_s", "max_offset_s", "min_overlap_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"sync.{name} must be 0 or more, got {getattr(self, name)}")


def set_clock(views: Sequence[Row]) -> float:
    """Shift `offset_s` of rows of `views` so that the earliest view begins at 0; return the time
    from there to the end of the last, in seconds.
    """
    start_s = min((offset for view in views if (offset := view["offset_s"]) is not None), default=0)
    for view in views:
        if view["offset_s"] is not None:
            view["offset_s"] = view["offset_s"] - start_s
    return max(first_s(view) + _duration_s(view) for view in views)


def first_s(view: Row) -> float:
    """The time of a view's first frame on the capture's clock; 0 where that is not known."""
    offset_s: float | None = view["offset_s"]
    return 0.0 if offset_s is None else offset_s


def own_times(view: Row, times_s: Iterable[float]) -> list[float]:
    """Those of the moments of the capture's clock at which a view (a row of `views`) was filming,
    counted from its own first frame.
    """
    own = [time_s - first_s(view) for time_s in times_s]
    end_s = _duration_s(view) - ROUNDING_S
    return [max(0.0, time_s) for time_s in own if -ROUNDING_S <= time_s < end_s]


def _duration_s(view: Row) -> float:
    return float(view["num_frames"] / view["fps"])
