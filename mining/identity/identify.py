"""Who is who in a capture: from the detections of all its views to tracks and identities.

Where the source's annotations name the people, they are believed. Elsewhere tracks are linked in
each view (`mining/identity/linking.py`), joined across views by geometry
(`mining/identity/associate.py`) and cut where they change person (`mining/identity/cutting.py`). A
hand found at a body's wrist belongs to that body's track.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from catalog.ids import content_id
from catalog.parts import Row
from mining.geometry.cameras import Camera
from mining.identity.body_place import misplaced
from mining.identity.cutting import tell_apart
from mining.identity.fits import AssociateConfig, Track
from mining.identity.hand_place import HandPlaces
from mining.identity.joints import Identity, triangulate_identity
from mining.identity.linking import Rejects, Tracks, keypoints_of, link_parts
from mining.identity.only_person import is_one_person
from mining.identity.present import Present
from mining.identity.track import TrackConfig
from mining.sources.base import PARTS, Part


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


@dataclass(frozen=True, kw_only=True)
class _Capture:
    """A capture's detections, and what they are judged by."""

    capture_id: str
    detections: Sequence[Row]
    body_of: Mapping[int, int]  # the body of each hand that was found at one's wrist
    cameras: Sequence[Camera | None]
    places: Mapping[str, int]  # of the views, by id, among the cameras
    config: AssociateConfig
    max_sync_error_s: float

    def track(self, members: Sequence[int]) -> Track:
        """Detections of one view as times and keypoints."""
        rows = [self.detections[i] for i in members]
        return Track(
            view=self.places[rows[0]["view_id"]],
            times_s=np.array([row["time_s"] for row in rows]),
            keypoints_px=keypoints_of(rows),
        )

    def triangulate(self, tracks: Tracks) -> Identity:
        """The joints in space of one part of one person."""
        return triangulate_identity(
            [self.track(members) for members in tracks], range(len(tracks)), self.cameras,
            self.config, max_sync_error_s=self.max_sync_error_s,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Group:
    """One identity: the tracks of each part that was linked by itself, a body or free hands; and
    the hands at its body's wrists, one list for each of the body's tracks, which are theirs too.
    """

    source: str
    tracks: Mapping[Part, Tracks]
    hands_at_body: Mapping[Part, Tracks] = field(default_factory=dict)
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
    `synchronized` capture are joined only when nobody else is there.

    Rejects, in the order in which they are found: `untracked`, in no track that is long enough;
    `handedness`, a free hand whose track says another side, or none clearly; `ambiguous`,
    `mixed_people`, `between_people` and `outlier`, whose person is not certain; `mirrored` and
    `misplaced`, a body that is not where other views see its joints; `body_` and one of these, the
    hand of such a body; `second_hand`, of two hands of one side at a body the worse one;
    `disputed_wrist`, `not_at_wrist`, `other_wrist` and `ambiguous_wrist`, a hand that is not
    clearly at its own body's wrist.
    """
    by_id = {row["detection_id"]: i for i, row in enumerate(detections) if row["part"] == "body"}
    capture = _Capture(
        capture_id=capture_id,
        detections=detections,
        body_of={
            i: by_id[row["body_detection_id"]]
            for i, row in enumerate(detections)
            if row["body_detection_id"] in by_id
        },
        cameras=cameras,
        places={view_id: place for place, view_id in enumerate(views)},
        config=config,
        max_sync_error_s=max_sync_error_s,
    )
    free = [i for i in range(len(detections)) if i not in capture.body_of]
    named = _named(detections, free)
    unnamed = [i for i in free if detections[i]["given_identity"] is None]
    linked, rejects = link_parts(detections, unnamed, track_config)
    # people who are not good enough to crop count too, and those whom annotations name
    alone = all((row.get("num_people") or 0) <= 1 for row in detections) and not named
    nobody_else = synchronized and not any(cameras) and alone
    told_apart, uncertain = _groups(capture, linked, nobody_else=nobody_else)
    groups, misplaced_bodies = _drop_misplaced(capture, [*named, *told_apart])
    rejects |= uncertain | misplaced_bodies
    groups, unfit_hands = _give_hands(capture, groups, rejects)
    found = _people_and_rows(capture, groups)
    return replace(found, rejects=rejects | unfit_hands | found.rejects)


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
        _Group(
            source="given", tracks={part: list(of_view.values()) for part, of_view in parts.items()}
        )
        for _, parts in sorted(found.items())
    ]


def _groups(
    capture: _Capture, linked: Mapping[Part, Tracks], *, nobody_else: bool
) -> tuple[list[_Group], Rejects]:
    """One group for each identity of linked tracks, body and hands apart; `nobody_else` says that
    no view shows more than one person at a time.
    """
    groups: list[_Group] = []
    rejects: Rejects = {}
    for part, of_part in linked.items():
        tracks = [capture.track(members) for members in of_part]
        if nobody_else and is_one_person(tracks, max_sync_error_s=capture.max_sync_error_s):
            groups.append(_Group(source="only_person", tracks={part: of_part}))
            continue
        told = tell_apart(
            tracks, capture.cameras, capture.config,
            max_sync_error_s=capture.max_sync_error_s, part=part,
        )  # fmt: skip
        rejects |= {of_part[track][row]: why for (track, row), why in told.dropped.items()}
        pieces = [[of_part[piece.track][row] for row in piece.rows] for piece in told.pieces]
        for number, why in told.rejects.items():
            rejects |= dict.fromkeys(pieces[number], why)
        for joined in told.identities:
            source = "geometry" if len(joined) > 1 else "single_view"
            own = [pieces[number] for number in sorted(joined)]
            groups.append(_Group(source=source, tracks={part: own}))
    return groups, rejects


def _drop_misplaced(capture: _Capture, groups: Sequence[_Group]) -> tuple[list[_Group], Rejects]:
    """The groups with their bodies' joints in space, less the bodies that do not lie there."""
    kept: list[_Group] = []
    rejects: Rejects = {}
    for group in groups:
        bodies = group.tracks.get("body", [])
        if not bodies:
            kept.append(group)
            continue
        joints = capture.triangulate(bodies)
        wrong = misplaced(
            [i for members in bodies for i in members], capture.detections, joints, capture.cameras,
            capture.places, capture.config, capture.max_sync_error_s,
        )  # fmt: skip
        if not wrong:
            kept.append(replace(group, body=joints))
            continue
        rejects |= wrong
        bodies = _without(bodies, wrong)
        body = capture.triangulate(bodies) if bodies else None
        kept.append(replace(group, tracks={**group.tracks, "body": bodies}, body=body))
    return kept, rejects


def _give_hands(
    capture: _Capture, groups: Sequence[_Group], rejected: Rejects
) -> tuple[list[_Group], Rejects]:
    """Give each hand to the group of its body, one of each side; reject the others, and hands of
    `rejected` bodies.
    """
    rejects: Rejects = {}
    hands_at: dict[int, list[int]] = defaultdict(list)
    for i, body in capture.body_of.items():
        if body in rejected:
            reason, detail = rejected[body]
            rejects[i] = (f"body_{reason}", detail)
        else:
            hands_at[body].append(i)
    given = []
    for group in groups:
        hands: dict[Part, Tracks] = {"left_hand": [], "right_hand": []}
        for members in group.tracks.get("body", []):
            for of_part in hands.values():
                of_part.append([])
            for body in members:
                best, worse = _best_hands(capture.detections, hands_at[body])
                rejects |= worse
                for part, i in best.items():
                    hands[part][-1].append(i)
        given.append(replace(group, hands_at_body=hands))
    return given, rejects


def _best_hands(detections: Sequence[Row], hands: Sequence[int]) -> tuple[dict[Part, int], Rejects]:
    """The hand of each side that scores most among those of one body in one frame; the others."""
    best: dict[Part, int] = {}
    rejects: Rejects = {}
    for i in hands:
        part, score = detections[i]["part"], detections[i]["detector_score"]
        if part in best and score <= detections[best[part]]["detector_score"]:
            rejects[i] = ("second_hand", f"another {part} of its body scores more")
            continue
        if part in best:
            rejects[best[part]] = ("second_hand", f"{part} of its body scores {score:.2f}")
        best[part] = i
    return best, rejects


def _people_and_rows(capture: _Capture, groups: Sequence[_Group]) -> Identified:
    """The people of all groups, and their tracks; rejected are hands elsewhere than at their body's
    wrist.
    """
    people: list[Person] = []
    rows: list[Row] = []
    track_of: dict[int, str] = {}
    rejects: Rejects = {}
    everybody = Present([group.body for group in groups if group.body is not None])
    hand_places = HandPlaces(
        capture.detections, everybody, capture.cameras, capture.places, capture.max_sync_error_s
    )
    for group in groups:
        track_ids = {
            members[0]: content_id("track", capture.detections[members[0]]["detection_id"])
            for of_part in group.tracks.values()
            for members in of_part
        }
        identity_id = content_id("identity", capture.capture_id, sorted(track_ids.values()))
        for part in PARTS:
            tracks, hands = group.tracks.get(part, []), group.hands_at_body.get(part, [])
            if group.body is not None:
                elsewhere = hand_places.elsewhere(
                    part, [i for members in hands for i in members], group.body
                )
                rejects |= elsewhere
                hands = _without(hands, elsewhere)
            seen = [*tracks, *hands]
            if not seen:
                continue
            known = group.body if part == "body" else None
            geometry = known if known is not None else capture.triangulate(seen)
            indices = tuple(sorted(i for members in seen for i in members))
            people.append(
                Person(identity_id=identity_id, part=part, detections=indices, geometry=geometry)
            )
            for members in tracks:
                track_of |= dict.fromkeys(members, track_ids[members[0]])
                first, last = capture.detections[members[0]], capture.detections[members[-1]]
                rows.append({
                    "track_id": track_ids[members[0]],
                    "capture_id": capture.capture_id,
                    "view_id": first["view_id"],
                    "identity_id": identity_id,
                    "part": part,
                    "start_s": first["time_s"],
                    "end_s": last["time_s"],
                    "num_detections": len(members),
                    "reprojection_error_px": geometry.reprojection_error_px,
                    "identity_source": group.source,
                })  # fmt: skip
            # bodies come before their hands
            track_of |= {i: track_of[capture.body_of[i]] for members in hands for i in members}
    return Identified(
        people=tuple(people), track_rows=tuple(rows), track_of=track_of, rejects=rejects
    )


def _without(tracks: Tracks, rejected: Rejects) -> Tracks:
    """Tracks less the rejected detections, and less those of which nothing is left."""
    kept = [[i for i in members if i not in rejected] for members in tracks]
    return [members for members in kept if members]
