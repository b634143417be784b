"""Identities: tracks of different views joined by geometry, one person each, never by order and
never by guess.

`mining/identity/fits.py` says how well a set of tracks fits together, and
`mining/identity/packing.py` picks the best sets; where another choice is nearly as good, the tracks
that it would move to other company are rejected.
"""

from mining.identity.fits import Fits
from mining.identity.packing import Members, components, pack

PieceRejects = dict[int, tuple[str, str]]  # by index of a track, or of a piece of one


def associate(fits: Fits) -> tuple[list[Members], PieceRejects]:
    """Join tracks into identities, in the order of their first track; every track is in one of
    them, or rejected with a reason and the figure that decided.

    Tracks of views without a camera stay identities of a single view, as do tracks that fit no
    other. Rejected as `ambiguous` are tracks that another choice, nearly as good, would move.
    """
    chosen: list[Members] = []
    rejects: PieceRejects = {}
    for component in components(fits.pairs):
        best, rivals = pack(component, fits, fits.config.ambiguity_margin)
        for moved, share in rivals:
            for track in sorted(moved):
                rejects.setdefault(
                    track, ("ambiguous", f"another choice scores {share:.2f} of the best")
                )
        chosen += [picked.difference(rejects) for picked in best]
    chosen = [picked for picked in chosen if len(picked) > 1]
    joined = rejects.keys() | frozenset[int]().union(*chosen)
    chosen += [frozenset([track]) for track in range(len(fits.views)) if track not in joined]
    return sorted(chosen, key=min), rejects
