"""Detections linked into tracks, each of one part in one view: bodies, and hands without a body.

Hands are linked whichever hand they are taken for, and the majority of a track decides which hand
it is.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from catalog.parts import Row
from mining.identity.track import TrackConfig, link_tracks
from mining.sources.base import Part

Rejects = dict[int, tuple[str, str]]  # by index of detection: reason and the figure that decided
Tracks = list[list[int]]  # each the indices of detections of one view, in the order of time


def link_parts(
    detections: Sequence[Row], indices: Sequence[int], config: TrackConfig
) -> tuple[dict[Part, Tracks], Rejects]:
    """Link bodies and free hands into tracks, and tell which hand each track of hands is."""
    bodies = [i for i in indices if detections[i]["part"] == "body"]
    hands = [i for i in indices if detections[i]["part"] != "body"]
    tracks, untracked = _link(detections, bodies, config)
    hand_tracks, untracked_hands = _link(detections, hands, config.for_hands())
    sorted_out, other_hands = _vote(detections, hand_tracks, config.min_handedness_share)
    return {"body": tracks, **sorted_out}, untracked | untracked_hands | other_hands


def keypoints_of(
    detections: Sequence[Row],
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """The keypoints of detection or crop rows of one kind of part as one array (N, K, 3) in frame
    pixels: K is 17 for bodies, 21 for hands.
    """
    flat = np.array([row["keypoints_px"] for row in detections], dtype=np.float64)
    return flat.reshape(len(detections), -1, 3)


def _link(
    detections: Sequence[Row], indices: Sequence[int], config: TrackConfig
) -> tuple[Tracks, Rejects]:
    """Group detections into tracks, each within one view, and reject those that belong to none."""
    by_view: dict[str, list[int]] = defaultdict(list)
    for i in indices:
        by_view[detections[i]["view_id"]].append(i)
    tracks: Tracks = []
    rejects: Rejects = {}
    for group in by_view.values():
        rows = [detections[i] for i in group]
        numbers = link_tracks(
            np.array([row["time_s"] for row in rows]),
            np.array([row["person_box_px"] for row in rows], dtype=np.float64),
            keypoints_of(rows),
            config,
            appearance=[row["appearance"] for row in rows],
        )
        linked = [np.flatnonzero(numbers == n) for n in range(int(numbers.max()) + 1)]
        tracks += [[group[k] for k in places] for places in linked]
        why = ("untracked", f"in no track of at least {config.min_track_frames} frames")
        rejects |= {group[k]: why for k in np.flatnonzero(numbers < 0)}
    return tracks, rejects


def _vote(
    detections: Sequence[Row], tracks: Tracks, min_share: float
) -> tuple[dict[Part, Tracks], Rejects]:
    """Sort tracks of hands by the hand that most of their frames say; reject the other frames, and
    tracks in which fewer than `min_share` of the frames agree.
    """
    sorted_out: dict[Part, Tracks] = {"left_hand": [], "right_hand": []}
    rejects: Rejects = {}
    for members in tracks:
        votes = Counter[Part](detections[i]["part"] for i in members)
        part, count = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
        why = ("handedness", f"{count} of {len(members)} frames of its track say {part}")
        is_clear = count >= min_share * len(members)
        agreeing = [i for i in members if is_clear and detections[i]["part"] == part]
        rejects |= dict.fromkeys(set(members).difference(agreeing), why)
        if agreeing:
            sorted_out[part].append(agreeing)
    return sorted_out, rejects
