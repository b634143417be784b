"""Who is who in a capture: from the detections of all its views to tracks and identities.

Where the source's annotations name the people, they are believed. Elsewhere tracks are linked in
each view (`mining/identity/track.py`), joined across views by geometry
(`mining/identity/associate.py`) and cut where they change person (`mining/identity/cutting.py`). A
hand found at a body's wrist belongs to that body's track. Hands without a body are linked whichever
hand they are taken for, and the majority of a track decides which hand it is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from catalog.ids import content_id
from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.body_place import misplaced
from mining.identity.cutting import tell_apart
from mining.identity.fits import AssociateConfig, Track
from mining.identity.hand_place import HandPlaces
from mining.identity.joints import Identity, triangulate_identity
from mining.identity.only_person import join_the_only_person
from mining.identity.present import Present
from mining.identity.track import TrackConfig, link_tracks
from mining.sources.base import NUM_KEYPOINTS, Part

Rejects = dict[int, tuple[str, str]]  # by index of detection: reason and the figure that decided


@dataclass(frozen=True, kw_only=True)
class Person:
    """One part of one identity of a capture: the person's id, the part, its detections in all
    views, and its joints where views were triangulated.

    A hand at a detected body has the body's identity_id; a hand without a body is an identity of
    its own, unless annotations name its person.
    """

    identity_id: str
    part: Part
    detections: tuple[int, ...]
    geometry: Identity


@dataclass(frozen=True, kw_only=True)
class Identified:
    """The people found, the rows of `tracks`, each detection's track, the rejected detections."""

    people: tuple[Person, ...]
    track_rows: tuple[Row, ...]
    track_of: dict[int, str]
    rejects: Rejects


@dataclass
class _Group:
    """One identity: its tracks, each the indices of detections of one view, of each part."""

    source: str
    tracks: dict[Part, list[list[int]]]
    hands: dict[Part, list[list[int]]] = field(default_factory=dict)  # as tracked with the body
    body: Identity | None = None  # the body's joints


def identify(
    capture_id: str,
    detections: Sequence[Row],
    cameras: Sequence[Camera | None],
    views: Sequence[str],
    track_config: TrackConfig,
    config: AssociateConfig,
    *,
    max_sync_error_s: float,
    synchronized: bool = False,
) -> Identified:
    """Join a capture's detections, rows sorted by time, into people.

    `views` are the view ids, `cameras` their cameras in the same order. Times of different views
    within `max_sync_error_s` are of one instant. Where no view has a camera, the views of a
    `synchronized` capture are joined only when nobody else is there. Rejects: `untracked`,
    `handedness`, those of `tell_apart` and of `misplaced`; of hands those of
    `HandPlaces`, `body_` with the reason why their body was rejected, or `second_hand` where a body
    has two of one side.
    """
    places = {view_id: place for place, view_id in enumerate(views)}
    rejects: Rejects = {}

    def geometry_of(tracks: Sequence[list[int]]) -> Identity:
        return triangulate_identity(
            [_track(detections, members, places) for members in tracks],
            range(len(tracks)), cameras, config, max_sync_error_s=max_sync_error_s,
        )  # fmt: skip

    by_id = {row["detection_id"]: i for i, row in enumerate(detections) if row["part"] == "body"}
    body_of = {i: by_id.get(row["body_detection_id"]) for i, row in enumerate(detections)}
    free = [i for i, body in body_of.items() if body is None]
    groups = _named(detections, free)
    unnamed = [i for i in free if detections[i]["given_identity"] is None]
    bodies = [i for i in unnamed if detections[i]["part"] == "body"]
    hands = [i for i in unnamed if detections[i]["part"] != "body"]
    linked: dict[Part, list[list[int]]] = {
        "body": _link(detections, bodies, track_config, rejects),
        **_vote(
            detections, _link(detections, hands, track_config.for_hands(), rejects),
            track_config.min_handedness_share, rejects,
        ),
    }  # fmt: skip
    # people who are not good enough to crop count too, and those whom annotations name
    alone = all((row.get("num_people") or 0) <= 1 for row in detections) and not groups
    nobody_else = synchronized and not any(cameras) and alone
    for part, tracks in linked.items():
        if nobody_else:
            seen_alone, _ = join_the_only_person(
                [_track(detections, members, places) for members in tracks],
                max_sync_error_s=max_sync_error_s,
            )
            if seen_alone:
                only = [tracks[number] for number in sorted(seen_alone)]
                groups.append(_Group("only_person", {part: only}))
                continue
        told = tell_apart(
            [_track(detections, members, places) for members in tracks],
            cameras, config, max_sync_error_s=max_sync_error_s, part=part,
        )  # fmt: skip
        rejects |= {tracks[track][row]: why for (track, row), why in told.dropped.items()}
        pieces = [[tracks[piece.track][row] for row in piece.rows] for piece in told.pieces]
        for number, why in told.rejects.items():
            rejects |= dict.fromkeys(pieces[number], why)
        for joined in told.identities:
            source = "geometry" if len(joined) > 1 else "single_view"
            groups.append(_Group(source, {part: [pieces[number] for number in sorted(joined)]}))
    for group in groups:
        bodies_here = group.tracks.get("body", [])
        if not bodies_here:
            continue
        group.body = geometry_of(bodies_here)
        wrong = misplaced(
            [i for members in bodies_here for i in members], detections, group.body, cameras,
            places, config, max_sync_error_s,
        )  # fmt: skip
        if wrong:
            rejects |= wrong
            kept = [[i for i in members if i not in wrong] for members in bodies_here]
            group.tracks["body"] = [members for members in kept if members]
            group.body = geometry_of(group.tracks["body"]) if group.tracks["body"] else None
    _give_hands(detections, body_of, groups, rejects)

    people, rows = [], []
    track_of: dict[int, str] = {}
    everybody = Present([group.body for group in groups if group.body is not None])
    hand_places = HandPlaces(detections, everybody, cameras, places, max_sync_error_s)
    for group in groups:
        ids = {
            members[0]: content_id("track", detections[members[0]]["detection_id"])
            for members in _all(group.tracks)
        }
        identity_id = content_id("identity", capture_id, sorted(ids.values()))
        for part in NUM_KEYPOINTS:
            tracks = group.tracks.get(part, [])
            hands_there = group.hands.get(part, [])
            if group.body is not None:
                wrong = hand_places.elsewhere(
                    part, [i for members in hands_there for i in members], group.body
                )
                rejects |= wrong
                hands_there = [[i for i in members if i not in wrong] for members in hands_there]
            seen = [members for members in [*tracks, *hands_there] if members]
            if not seen:
                continue
            geometry = geometry_of(seen) if part != "body" or group.body is None else group.body
            indices = tuple(sorted(i for members in seen for i in members))
            people.append(
                Person(identity_id=identity_id, part=part, detections=indices, geometry=geometry)
            )
            for members in tracks:
                track_id = ids[members[0]]
                track_of |= dict.fromkeys(members, track_id)
                first, last = detections[members[0]], detections[members[-1]]
                rows.append({
                    "track_id": track_id,
                    "capture_id": capture_id,
                    "view_id": first["view_id"],
                    "identity_id": identity_id,
                    "part": part,
                    "start_s": first["time_s"],
                    "end_s": last["time_s"],
                    "num_detections": len(members),
                    "reprojection_error_px": geometry.reprojection_error_px,
                    "identity_source": group.source,
                })  # fmt: skip
    for i, owner in body_of.items():
        if owner is not None and i not in rejects:
            track_of[i] = track_of[owner]
    return Identified(
        people=tuple(people), track_rows=tuple(rows), track_of=track_of, rejects=rejects
    )


def keypoints_of(
    detections: Sequence[Row],
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """The keypoints of detection or crop rows of one kind of part as one array (N, K, 3) in frame
    pixels: K is 17 for bodies, 21 for hands.
    """
    flat = np.array([row["keypoints_px"] for row in detections], dtype=np.float64)
    return flat.reshape(len(detections), -1, 3)


def _all(tracks: Mapping[Part, list[list[int]]]) -> Iterable[list[int]]:
    return (members for of_part in tracks.values() for members in of_part)


def _track(detections: Sequence[Row], members: Sequence[int], places: Mapping[str, int]) -> Track:
    rows = [detections[i] for i in members]
    return Track(
        view=places[rows[0]["view_id"]],
        times_s=np.array([row["time_s"] for row in rows]),
        keypoints_px=keypoints_of(rows),
    )


def _named(detections: Sequence[Row], indices: Sequence[int]) -> list[_Group]:
    """One group for each person that annotations name, with one track for each view and part."""
    found: dict[str, dict[Part, dict[str, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for i in indices:
        row = detections[i]
        if row["given_identity"] is not None:
            found[row["given_identity"]][row["part"]][row["view_id"]].append(i)
    return [
        _Group("given", {part: list(of_view.values()) for part, of_view in parts.items()})
        for _, parts in sorted(found.items())
    ]


def _link(
    detections: Sequence[Row], indices: Sequence[int], config: TrackConfig, rejects: Rejects
) -> list[list[int]]:
    """Group detections into tracks, each within one view, and reject those that belong to none."""
    by_view: dict[str, list[int]] = defaultdict(list)
    for i in indices:
        by_view[detections[i]["view_id"]].append(i)
    tracks: list[list[int]] = []
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
        for k in np.flatnonzero(numbers < 0):
            detail = f"in no track of at least {config.min_track_frames} frames"
            rejects[group[k]] = ("untracked", detail)
    return tracks


def _vote(
    detections: Sequence[Row], tracks: Sequence[list[int]], min_share: float, rejects: Rejects
) -> dict[Part, list[list[int]]]:
    """Sort tracks of hands by the hand that most of their frames say; reject the other frames, and
    tracks in which fewer than `min_share` of the frames agree.
    """
    sorted_out: dict[Part, list[list[int]]] = {"left_hand": [], "right_hand": []}
    for members in tracks:
        votes = Counter[Part](detections[i]["part"] for i in members)
        part, count = max(votes.items(), key=lambda vote: (vote[1], vote[0]))
        why = ("handedness", f"{count} of {len(members)} frames of its track say {part}")
        is_clear = count >= min_share * len(members)
        agreeing = [i for i in members if is_clear and detections[i]["part"] == part]
        rejects |= dict.fromkeys(set(members).difference(agreeing), why)
        if agreeing:
            sorted_out[part].append(agreeing)
    return sorted_out


def _give_hands(
    detections: Sequence[Row],
    body_of: Mapping[int, int | None],
    groups: Sequence[_Group],
    rejects: Rejects,
) -> None:
    """Give each hand to the group of its body, in lists as its bodies are tracked; reject hands of
    rejected bodies.
    """
    hands_at: dict[int, list[int]] = defaultdict(list)
    for i, body in body_of.items():
        if body is None:
            continue
        if body in rejects:
            reason, detail = rejects[body]
            rejects[i] = (f"body_{reason}", detail)
        else:
            hands_at[body].append(i)
    for group in groups:
        for members in group.tracks.get("body", []):
            hands: dict[Part, list[int]] = {"left_hand": [], "right_hand": []}
            for body in members:
                best: dict[Part, int] = {}
                for i in hands_at[body]:
                    part, score = detections[i]["part"], detections[i]["detector_score"]
                    if part in best and score <= detections[best[part]]["detector_score"]:
                        rejects[i] = ("second_hand", f"another {part} of its body scores more")
                        continue
                    if part in best:
                        rejects[best[part]] = (
                            "second_hand",
                            f"{part} of its body scores {score:.2f}",
                        )
                    best[part] = i
                for part, i in best.items():
                    hands[part].append(i)
            for part, of_part in hands.items():
                group.hands.setdefault(part, []).append(of_part)
