"""Tracks that change person are cut: into people, by what all views say over time.

Tracks are joined into identities, and each is then held against all of them: at every time, how far
is it from each identity's other views? Where a track follows one identity and later another, it is
cut, what lies between is dropped, and the pieces are joined anew. A track that fits nothing as a
whole is held against the other tracks that fit nothing: two tracks of two views that
exchange people fit each other only in halves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera
from mining.identity.associate import PieceRejects, associate
from mining.identity.fits import AssociateConfig, Fits, Track
from mining.identity.packing import Members
from mining.sources.base import Part

Array = NDArray[np.float64]
Dropped = dict[tuple[int, int], tuple[str, str]]  # by track and row: reason and what decided

MAX_ROUNDS = 4  # of cutting and joining anew; nearly always two are enough
COST_OF_NOBODY = 1.0  # at each time, of following no identity: as of an error at the gate
MAX_COST = 2.0  # at each time, of following an identity: one bad time is no proof
MIN_LEAD = 0.5  # in cost, of one identity over the other, for a time not to lie between people
OUTLIER_LEAD = 0.2  # in cost, of another identity over the one followed, for a time to be dropped


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive detections of one track: the track's index, and which of its times, ascending."""

    track: int
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class People:
    """Pieces of tracks; identities as sets of pieces; rejected pieces and dropped detections, as
    (track, row), with reasons.
    """

    pieces: tuple[Piece, ...]
    identities: tuple[Members, ...]
    rejects: PieceRejects
    dropped: Dropped


def tell_apart(
    tracks: Sequence[Track],
    cameras: Sequence[Camera | None],
    config: AssociateConfig,
    *,
    max_sync_error_s: float,
    part: Part = "body",
) -> People:
    """Join the tracks of one capture into identities and cut those that change person.

    `cameras` has one entry for each view, None where unknown. Rejects of pieces: `ambiguous` where
    another choice is nearly as good, `mixed_people` where a piece still follows two people;
    of detections: `between_people` where a track changes, `outlier` where one disagrees with its
    own identity.
    """
    dropped: Dropped = {}

    def join(pieces: Sequence[Piece], known: Mapping[Members, float]) -> _Round:
        fits = Fits(
            [_piece_of(tracks, piece) for piece in pieces],
            cameras, config, max_sync_error_s, part, known,
        )  # fmt: skip
        return _round(pieces, fits)

    last = join(
        [Piece(track=i, rows=tuple(range(len(track.times_s)))) for i, track in enumerate(tracks)],
        known={},
    )
    for _ in range(MAX_ROUNDS - 1):
        if not last.mixed:
            break
        pieces = last.cut_mixed(dropped)
        last = join(pieces, last.known_of(pieces))
    return _settle(last, dropped)


def follow(costs: Array, change_cost: float) -> NDArray[np.int64]:
    """The cheapest way through costs (L, T): a label at each time (T,), with `change_cost` for each
    change of label (Viterbi's algorithm).
    """
    num_labels, num_times = costs.shape
    total = costs[:, 0].copy()
    came_from = np.zeros((num_times, num_labels), np.int64)
    for t in range(1, num_times):
        best = int(total.argmin())
        change = total[best] + change_cost < total
        came_from[t] = np.where(change, best, np.arange(num_labels))
        total = np.where(change, total[best] + change_cost, total) + costs[:, t]
    labels = np.zeros(num_times, np.int64)
    labels[-1] = total.argmin()
    for t in range(num_times - 1, 0, -1):
        labels[t - 1] = came_from[t, labels[t]]
    return labels


class _Plan:
    """Which identities one piece follows over time, and so where it is to be cut.

    `errors` (L, T) are the piece's towards its own identity first, then towards others; the labels
    that it follows are rows of them, or one more: nobody. A piece that is alone has no errors
    towards itself, and follows nobody where it follows no other.
    """

    def __init__(
        self, fits: Fits, number: int, own: Members, identities: Sequence[Members]
    ) -> None:
        """`identities` are those that the piece may follow, beside its `own`."""
        self.config = fits.config
        self.is_alone = len(own) == 1
        rows = [fits.errors_with(number, own)]
        for members in identities:
            if members is not own and (len(members) > 1 or self.is_alone) and number in fits.rays:
                row = fits.errors_with(number, members)
                if (row < self.config.max_error).any():
                    row[_is_taken(fits, number, members, row)] = np.nan
                    rows.append(row)
        self.errors = np.stack(rows)
        costs = np.minimum(self.errors / self.config.max_error, MAX_COST)
        costs[np.isnan(costs)] = COST_OF_NOBODY
        if not self.is_alone:
            costs[0, np.isnan(self.errors[0])] = COST_OF_NOBODY / 2  # nothing speaks against it
        nobody = np.full((1, costs.shape[1]), COST_OF_NOBODY)
        self.costs = np.concatenate([costs, nobody])
        self.labels = follow(self.costs, self.config.change_cost)
        if self.is_alone:
            self.labels[self.labels == len(self.errors)] = 0
        self.num_people = len(np.unique(self.labels))
        self.follows_another = not self.is_alone and bool((self.labels != 0).all())

    def cut(self, piece: Piece, dropped: Dropped) -> list[Piece]:
        """Cut a piece where it changes person; note the detections that are dropped."""
        reasons = self._outliers() | self._between()
        pieces = []
        starts = np.flatnonzero(np.diff(self.labels, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(self.labels)], strict=True):
            rows = [t for t in range(start, stop) if t not in reasons]
            if len(rows) >= self.config.min_common_times:
                pieces.append(Piece(track=piece.track, rows=tuple(piece.rows[t] for t in rows)))
                continue
            why = ("between_people", f"{len(rows)} times between two changes of its track")
            reasons |= dict.fromkeys(rows, why)
        dropped |= {(piece.track, piece.rows[t]): why for t, why in sorted(reasons.items())}
        return pieces

    def _between(self) -> dict[int, tuple[str, str]]:
        """Times around each change at which neither of the two people is clearly nearer."""
        found: dict[int, tuple[str, str]] = {}
        for change in np.flatnonzero(np.diff(self.labels)).tolist():
            before, after = self.labels[change], self.labels[change + 1]
            lead = np.abs(self.costs[before] - self.costs[after])
            for side in (range(change, -1, -1), range(change + 1, len(lead))):
                for t in side:
                    if lead[t] >= MIN_LEAD or self.labels[t] not in (before, after):
                        break
                    found[t] = ("between_people", f"errors differ by {lead[t]:.2f} of the gate")
        return found

    def _outliers(self) -> dict[int, tuple[str, str]]:
        """Times at which the piece disagrees with whom it follows, or agrees more with another."""
        found: dict[int, tuple[str, str]] = {}
        nearest = self.costs[:-1].min(axis=0)
        for t, label in enumerate(self.labels.tolist()):
            error = self.errors[label, t] if label < len(self.errors) else np.nan
            if error > self.config.max_own_error:
                found[t] = ("outlier", f"its error is {error:.2f} of its size")
            elif not np.isnan(error) and self.costs[label, t] - nearest[t] > OUTLIER_LEAD:
                other = nearest[t] * self.config.max_error
                found[t] = ("outlier", f"its error is {error:.2f}, another's {other:.2f}")
        return found


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Pieces joined once: identities, rejected pieces, and whom each of the others follows."""

    pieces: Sequence[Piece]
    fits: Fits
    identities: Sequence[Members]
    rejects: PieceRejects
    plans: Mapping[int, _Plan]

    @property
    def mixed(self) -> list[int]:
        """The pieces that follow more than one identity."""
        return [number for number, plan in self.plans.items() if plan.num_people > 1]

    def cut_mixed(self, dropped: Dropped) -> list[Piece]:
        """The pieces, the mixed ones cut; note the detections that are dropped."""
        mixed = set(self.mixed)
        return [
            part_of
            for number, piece in enumerate(self.pieces)
            for part_of in (self.plans[number].cut(piece, dropped) if number in mixed else [piece])
        ]

    def known_of(self, pieces: Sequence[Piece]) -> dict[Members, float]:
        """The scores worked out here of sets of pieces that are still whole."""
        places = {piece: number for number, piece in enumerate(pieces)}
        return {
            frozenset(places[self.pieces[number]] for number in members): score
            for members, score in self.fits.known.items()
            if all(self.pieces[number] in places for number in members)
        }


def _round(pieces: Sequence[Piece], fits: Fits) -> _Round:
    """Join pieces, and hold each against all identities."""
    identities, rejects = associate(fits)
    own = {number: members for members in identities for number in members}
    plans = {
        number: _Plan(fits, number, own[number], _met(fits, number, own))
        for number in range(len(pieces))
        if number not in rejects
    }
    return _Round(pieces=pieces, fits=fits, identities=identities, rejects=rejects, plans=plans)


def _settle(last: _Round, dropped: Dropped) -> People:
    """The people of the last round, less the pieces that are not surely one person's."""
    pieces, rejects = list(last.pieces), dict(last.rejects)
    for number, plan in last.plans.items():
        if plan.follows_another:
            rejects[number] = ("ambiguous", "it is nearer to another identity than to its own")
        elif plan.num_people > 1:
            rejects[number] = ("mixed_people", f"still follows {plan.num_people} identities")
        else:
            left = plan.cut(pieces[number], dropped)
            pieces[number] = left[0] if left else Piece(track=pieces[number].track, rows=())
    kept = [
        frozenset(number for number in identity if number not in rejects and pieces[number].rows)
        for identity in last.identities
    ]
    return People(
        pieces=tuple(pieces),
        identities=tuple(members for members in kept if members),
        rejects=dict(sorted(rejects.items())),
        dropped=dropped,
    )


def _met(fits: Fits, number: int, own: Mapping[int, Members]) -> list[Members]:
    """The identities, in the order of their first piece, of the pieces that are there while a piece
    is: it cannot follow others, and looking at all would cost the square of the footage.
    """
    return sorted({own[other] for other in fits.met[number] if other in own}, key=min)


def _is_taken(fits: Fits, number: int, members: Members, errors: Array) -> NDArray[np.bool_]:
    """The times (T,) at which an identity has another piece in the same view that is nearer to it:
    then a piece with these errors is not that person, however well it may agree.
    """
    taken = np.zeros(len(errors), np.bool_)
    for rival in fits.rivals[number] & members:
        _, here, there = np.intersect1d(
            fits.places[number], fits.places[rival], return_indices=True
        )
        taken[here] |= fits.errors_with(rival, members)[there] <= errors[here]
    return taken


def _piece_of(tracks: Sequence[Track], piece: Piece) -> Track:
    track, rows = tracks[piece.track], list(piece.rows)
    return Track(
        view=track.view, times_s=track.times_s[rows], keypoints_px=track.keypoints_px[rows]
    )
