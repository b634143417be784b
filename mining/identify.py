"""Who is who in a capture: from the detections of all its views to tracks and identities.

Where the source's annotations name the people, they are believed. Elsewhere tracks are linked in
each view (`mining/geometry/track.py`) and joined across views by geometry
(`mining/geometry/associate.py`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.ids import content_id
from catalog.parts import Row
from mining.geometry.associate import (
    AssociateConfig,
    Identity,
    Track,
    associate,
    triangulate_identity,
)
from mining.geometry.cameras import Camera
from mining.geometry.track import TrackConfig, link_tracks


@dataclass(frozen=True, kw_only=True)
class Person:
    """One identity of a capture: its id, its detections, and its joints where views were
    triangulated.
    """

    identity_id: str
    detections: tuple[int, ...]
    geometry: Identity


@dataclass(frozen=True, kw_only=True)
class Identified:
    """The people found, the rows of `tracks`, each detection's track, the rejected detections."""

    people: tuple[Person, ...]
    track_rows: tuple[Row, ...]
    track_of: dict[int, str]
    rejects: dict[int, tuple[str, str]]


def identify(
    capture_id: str,
    detections: Sequence[Row],
    cameras: Sequence[Camera | None],
    views: Sequence[str],
    track_config: TrackConfig,
    config: AssociateConfig,
) -> Identified:
    """Join a capture's detections, rows sorted by view and time, into people.

    `views` are the view ids, `cameras` their cameras in the same order.
    """
    places = {view_id: place for place, view_id in enumerate(views)}
    members, rejects = _tracks(detections, track_config)
    tracks = [
        Track(
            view=places[detections[group[0]]["view_id"]],
            times_s=np.array([detections[i]["time_s"] for i in group]),
            keypoints_px=keypoints_of([detections[i] for i in group]),
        )
        for group in members
    ]
    given = [detections[group[0]]["given_identity"] for group in members]
    unnamed = [t for t, name in enumerate(given) if name is None]
    association = associate([tracks[t] for t in unnamed], cameras, config)
    for place, reason in association.rejects.items():
        rejects |= dict.fromkeys(members[unnamed[place]], reason)
    joined: list[tuple[str, list[int]]] = [
        ("geometry" if len(found.tracks) > 1 else "single_view", [unnamed[k] for k in found.tracks])
        for found in association.identities
    ]
    by_name: dict[str, list[int]] = defaultdict(list)
    for t, name in enumerate(given):
        if name is not None:
            by_name[name].append(t)
    joined += [("given", group) for _, group in sorted(by_name.items())]
    track_ids = [content_id("track", detections[group[0]]["detection_id"]) for group in members]
    people, rows = [], []
    for source, group in joined:
        geometry = triangulate_identity(tracks, group, cameras, config)
        identity_id = content_id("identity", capture_id, sorted(track_ids[t] for t in group))
        indices = tuple(sorted(i for t in group for i in members[t]))
        people.append(Person(identity_id=identity_id, detections=indices, geometry=geometry))
        for t in group:
            first, last = detections[members[t][0]], detections[members[t][-1]]
            rows.append(
                {
                    "track_id": track_ids[t],
                    "capture_id": capture_id,
                    "view_id": first["view_id"],
                    "identity_id": identity_id,
                    "start_s": first["time_s"],
                    "end_s": last["time_s"],
                    "num_detections": len(members[t]),
                    "reprojection_error_px": geometry.reprojection_error_px,
                    "identity_source": source,
                }
            )
    kept = [t for _, group in joined for t in group]
    return Identified(
        people=tuple(people),
        track_rows=tuple(rows),
        track_of={i: track_ids[t] for t in kept for i in members[t]},
        rejects=rejects,
    )


def keypoints_of(
    detections: Sequence[Row],
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """The keypoints of detection or crop rows as one array (N, 17, 3) in frame pixels."""
    flat = np.array([row["keypoints_px"] for row in detections], dtype=np.float64)
    return flat.reshape(len(detections), -1, 3)


def _tracks(
    detections: Sequence[Row], config: TrackConfig
) -> tuple[list[list[int]], dict[int, tuple[str, str]]]:
    """Group detections into tracks, each within one view, and reject those that belong to none."""
    members: list[list[int]] = []
    rejects: dict[int, tuple[str, str]] = {}
    by_view: dict[str, list[int]] = defaultdict(list)
    named: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(detections):
        if row["given_identity"] is None:
            by_view[row["view_id"]].append(i)
        else:
            named[row["view_id"], row["given_identity"]].append(i)
    for group in by_view.values():
        rows = [detections[i] for i in group]
        numbers = link_tracks(
            np.array([row["time_s"] for row in rows]),
            np.array([row["person_box_px"] for row in rows], dtype=np.float64),
            keypoints_of(rows),
            config,
        )
        linked = [np.flatnonzero(numbers == n) for n in range(int(numbers.max()) + 1)]
        members += [[group[k] for k in places] for places in linked]
        for k in np.flatnonzero(numbers < 0):
            detail = f"in no track of at least {config.min_track_frames} frames"
            rejects[group[k]] = ("untracked", detail)
    members += list(named.values())
    return members, rejects
