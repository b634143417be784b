"""Which cameras of one instant make a sample: each by itself, or two that see the hand from well
apart.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera, angle_between_views_deg
from mining.sources.base import Detection
from mining.sources.datasets.view import AnnotatedView

ANGLE_DEG = 60.0  # between two views: where a pair tells most (CroCo v2's rule)


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """One camera of a sequence, with its annotated frames."""

    name: str
    camera: Camera
    annotated: AnnotatedView
    place_of: dict[int, int]  # frame to its place among the annotated ones


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One hand in one camera at one instant."""

    view: CameraView
    frame: int
    hand: Detection
    joints_world: NDArray[np.float64]  # (21, 3), NaN where unknown


Group = tuple[Shown, ...]


def shown_in(view: CameraView, frame: int) -> Iterator[Shown]:
    """The hands of a frame. Raises ValueError for broken annotations."""
    if frame in view.place_of:
        for hand in view.annotated.people(view.place_of[frame]):
            assert hand.joints_world is not None
            yield Shown(view=view, frame=frame, hand=hand, joints_world=hand.joints_world)


def singles(hands: Iterable[Shown]) -> Iterator[Group]:
    """Each camera by itself."""
    for hand in hands:
        yield (hand,)


def pairs(hands: Iterable[Shown]) -> Iterator[Group]:
    """Pair the cameras in order, each used once: with the one whose angle at the hand fits best."""
    left = list(hands)
    while len(left) > 1:
        first = left.pop(0)
        misfits = [abs(angle_deg(first, other) - ANGLE_DEG) for other in left]
        yield first, left.pop(int(np.argmin(misfits)))


def angle_deg(first: Shown, second: Shown) -> float:
    """The angle between two cameras, as seen from the hand."""
    hand_world = np.nanmean(first.joints_world, axis=0)
    return angle_between_views_deg(first.view.camera, second.view.camera, hand_world)
