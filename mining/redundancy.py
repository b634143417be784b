"""Near-duplicate moments of one person: a pair of them would teach nothing, so one is enough.

A moment is dropped only when the person looks the same in every view that sees them, so that the
views of the moments that stay are complete and can be paired with each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from catalog.parts import Row
from mining.crop import phash_distance
from mining.geometry.pose import pose_distance
from mining.identify import keypoints_of


@dataclass(frozen=True, kw_only=True)
class RedundancyConfig:
    """When two crops in one view count as the same picture: both bounds must hold."""

    max_phash_bits: int = 4  # of 64 that differ
    max_pose_distance: float = 0.02  # share of the pose's size; a detector's jitter is about that
    max_sync_error_s: float = 0.02  # detections this close are of one moment


def find_near_duplicates(
    detections: Sequence[Row], config: RedundancyConfig
) -> dict[int, tuple[str, str]]:
    """Compare each moment of one person with the last one kept; cost is linear in the detections.

    Returns, for the indices of detections to drop, the reason and the figures that decided.
    """
    rejects: dict[int, tuple[str, str]] = {}
    last_kept: dict[str, Row] = {}
    for moment in _moments(detections, config.max_sync_error_s):
        details = [
            _same_picture(detections[i], last_kept.get(detections[i]["view_id"]), config)
            for i in moment
        ]
        if all(details):
            rejects |= {
                i: ("near_duplicate", detail)
                for i, detail in zip(moment, details, strict=True)
                if detail is not None
            }
        else:
            last_kept |= {detections[i]["view_id"]: detections[i] for i in moment}
    return rejects


def _same_picture(row: Row, last: Row | None, config: RedundancyConfig) -> str | None:
    if last is None:
        return None
    bits = phash_distance(row["phash"], last["phash"])
    if bits > config.max_phash_bits:
        return None
    distance = pose_distance(*keypoints_of([row, last]))
    if distance is None or distance > config.max_pose_distance:
        return None
    return f"{bits} bits and pose distance {distance:.3f} from {last['detection_id']}"


def _moments(detections: Sequence[Row], max_sync_error_s: float) -> Iterator[list[int]]:
    """Indices of the detections of each moment, in the order of time."""
    moment: list[int] = []
    for i in sorted(range(len(detections)), key=lambda i: float(detections[i]["time_s"])):
        start_s = detections[moment[0]]["time_s"] if moment else detections[i]["time_s"]
        if detections[i]["time_s"] - start_s > max_sync_error_s:
            yield moment
            moment = []
        moment.append(i)
    if moment:
        yield moment
