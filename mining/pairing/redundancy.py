"""Near-duplicates: moments of one person that look the same, and pairs that repeat another pair.
One of them is enough.

A moment is dropped only when the person looks the same in every view that sees them, so that the
views of the moments that stay are complete and can be paired with each other. What then still looks
the same in one view alone (somebody in another view moves where this one does not see it) is given
the same look, and of the pairs that join the same two looks only the first is kept.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from catalog.parts import Row
from mining.cropping.crop import phash_distance
from mining.geometry.instants import group_instants
from mining.geometry.pose import pose_distance
from mining.identity.linking import keypoints_of
from mining.pairing.candidates import Kind

HASH_BITS = 64
MAX_COMPARED = 16  # looks in one bucket that a crop is compared with: bounds the cost


@dataclass(frozen=True, kw_only=True)
class RedundancyConfig:
    """When two crops in one view count as the same picture: both bounds must hold."""

    max_phash_bits: int = 4  # of 64 that differ
    max_pose_distance: float = 0.02  # share of the pose's size; a detector's jitter is about that

    def __post_init__(self) -> None:
        """Raise ValueError for a bound beyond the hash's bits."""
        if not 0 <= self.max_phash_bits < HASH_BITS:
            raise ValueError(f"max_phash_bits must be from 0 to 63, got {self.max_phash_bits}")


def find_near_duplicates(
    detections: Sequence[Row],
    config: RedundancyConfig,
    *,
    max_sync_error_s: float,
    min_confidence: float,
    min_joints: int,
) -> dict[int, tuple[str, str]]:
    """Compare each moment of one person with the last one kept; cost is linear in the detections.

    Detections within `max_sync_error_s` are of one moment. Poses are compared where `min_joints`
    keypoints are seen in both with more than `min_confidence`; elsewhere nothing is a duplicate.
    Returns, for the indices of detections to drop, the reason and the figures that decided.
    """
    rejects: dict[int, tuple[str, str]] = {}
    last_kept: dict[str, Row] = {}
    same_picture = partial(
        _same_picture, config=config, min_confidence=min_confidence, min_joints=min_joints
    )
    for moment in _moments(detections, max_sync_error_s):
        details = [
            same_picture(detections[i], last_kept.get(detections[i]["view_id"])) for i in moment
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


def find_looks(
    crops: Sequence[Row], config: RedundancyConfig, *, min_confidence: float, min_joints: int
) -> NDArray[np.int64]:
    """Number the looks of one person's crops of one part, (N,): crops of one look are of one view
    and near-duplicates of the look's first crop, in the order given, however far apart in time;
    poses are compared as by `find_near_duplicates`.

    Candidates are found by their hashes: cut into one band more than bits may differ, two near
    hashes agree in at least one band. So the cost grows with the crops, not with their pairs.
    """
    buckets: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    same_picture = partial(
        _same_picture, config=config, min_confidence=min_confidence, min_joints=min_joints
    )
    looks = np.zeros(len(crops), np.int64)
    num_looks = 0
    for i, crop in enumerate(crops):
        keys = [(crop["view_id"], *band) for band in _bands(crop["phash"], config.max_phash_bits)]
        known = sorted({first for key in keys for first in buckets[key][-MAX_COMPARED:]})
        same = next((k for k in known if same_picture(crop, crops[k])), None)
        if same is not None:
            looks[i] = looks[same]
            continue
        looks[i] = num_looks
        num_looks += 1
        for key in keys:
            buckets[key].append(i)
    return looks


class RepeatedPairs:
    """Tells of the pairs of one person, one after the other, which repeat an earlier one."""

    def __init__(self, looks: NDArray[np.int64]) -> None:
        """`looks` (N,) are those of the crops, by `find_looks`."""
        self._looks = looks
        self._first: dict[tuple[Kind, int, int], str] = {}

    def check(self, kind: Kind, index_a: int, index_b: int, pair_id: str) -> tuple[str, str] | None:
        """The reason and detail to reject a pair of crops for: both look as in an earlier pair of
        its kind, or the same as each other. None for a new pair, which is remembered.
        """
        look_a, look_b = sorted((int(self._looks[index_a]), int(self._looks[index_b])))
        if look_a == look_b:
            return "same_look", "both crops are near-duplicates of one"
        first = self._first.setdefault((kind, look_a, look_b), pair_id)
        if first != pair_id:
            return "repeated_pair", f"both crops look as in {first}"
        return None


def _bands(phash: str, max_bits: int) -> Iterator[tuple[int, int]]:
    """The parts of a hash, numbered: one more than bits may differ, as equal in size as can be."""
    value, count = int(phash, 16), max_bits + 1
    edges = [HASH_BITS * k // count for k in range(count + 1)]
    for k, (low, high) in enumerate(pairwise(edges)):
        yield k, value >> low & ((1 << (high - low)) - 1)


def _same_picture(
    row: Row, last: Row | None, config: RedundancyConfig, *, min_confidence: float, min_joints: int
) -> str | None:
    """The figures by which a row shows the same picture as the last one; None where it does not."""
    if last is None:
        return None
    bits = phash_distance(row["phash"], last["phash"])
    if bits > config.max_phash_bits:
        return None
    distance = pose_distance(
        *keypoints_of([row, last]), min_confidence=min_confidence, min_joints=min_joints
    )
    if distance is None or distance > config.max_pose_distance:
        return None
    return f"{bits} bits and pose distance {distance:.3f} from {last['detection_id']}"


def _moments(detections: Sequence[Row], max_sync_error_s: float) -> Iterator[list[int]]:
    """Indices of the detections of each moment, in the order of time."""
    times_s = np.array([row["time_s"] for row in detections], dtype=np.float64)
    instants = group_instants([times_s], max_sync_error_s)[1][0]
    order = sorted(range(len(detections)), key=lambda i: (instants[i], times_s[i], i))
    for _, moment in groupby(order, key=lambda i: int(instants[i])):
        yield list(moment)
