"""Hand gestures that the body model's fingers can make: a class for each hand, person and time."""

import numpy as np
from numpy.typing import NDArray

from mining.synthetic.hand_shapes import HAND_ANGLES, HAND_SHAPES, LIMITS_DEG
from mining.synthetic.plan import Plan
from mining.synthetic.poses import Pose, with_hand

# Curls in degrees: thumb, index, middle, ring, little, spread.
GESTURES: dict[str, tuple[float, float, float, float, float, float]] = {
    "fist": HAND_SHAPES["fist"],
    "palm": HAND_SHAPES["open"],
    "point": HAND_SHAPES["point"],
    "victory": HAND_SHAPES["victory"],
    "three": HAND_SHAPES["three"],
    "ok": (42, 58, 8, 4, 2, 6),  # the index's tip meets the thumb's, the others are straight
    "like": HAND_SHAPES["thumb up"],
    "call": HAND_SHAPES["phone call"],
}
_SPREAD_DEG = np.array([4.0, 4.0, 4.0, 4.0, 4.0, 1.5])  # around a gesture, for each of the above
SIDES = ("left", "right")


class GesturePlan(Plan):
    """A plan whose people make a gesture with each hand, another at each time; their motion must be
    `random`.
    """

    def gesture(self, person: int, frame: int, side: str) -> str:
        """The class of a hand's gesture."""
        rng = self.rng("gesture", self.people[person], frame, side)
        return str(rng.choice(list(GESTURES)))

    def _standing(self, frame: int) -> tuple[tuple[Pose, NDArray[np.float64]], ...]:
        states = super()._standing(frame)
        return tuple(
            (self._gesturing(pose, person, frame), placed)
            for person, (pose, placed) in enumerate(states)
        )

    def _gesturing(self, pose: Pose, person: int, frame: int) -> Pose:
        low, high = np.array([LIMITS_DEG[name] for name in HAND_ANGLES]).T
        for side in SIDES:
            rng = self.rng("fingers", self.people[person], frame, side)
            curls = np.array(GESTURES[self.gesture(person, frame, side)])
            hand = np.clip(curls + rng.normal(size=6) * _SPREAD_DEG, low, high)
            pose = with_hand(pose, side, hand)
        return pose
