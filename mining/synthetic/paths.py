"""Paths that cross without anybody being run over: loops through the middle of a scene, walked so
that all people keep their distance at all times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

APART_M = 0.95  # between two people's middles, so that arms that hang or gesture do not touch
_CHECKED = 96  # instants of a lap
_ATTEMPTS_A_SIZE = 40  # before the loops get larger, so that any number of people finds room
_ATTEMPTS_TO_CROSS = 400  # before a loop may miss another: for more people than pass in the middle


@dataclass(frozen=True)
class Loop:
    """An ellipse on the floor, walked once every `lap_s`: slower at its ends, as people turn.

    `long_m` and `short_m` are its half axes, the long one towards `turned_rad`; `direction` is 1
    (counterclockwise) or -1.
    """

    centre_m: tuple[float, float]
    long_m: float
    short_m: float
    turned_rad: float
    start_rad: float
    direction: int
    lap_s: float

    def at(self, time_s: Array | float) -> Array:
        """Where somebody is at times (T,) or one time: x, y in metres, (T, 2) or (2,)."""
        around = self._around(np.asarray(time_s))
        along, aside = self.long_m * np.cos(around), self.short_m * np.sin(around)
        cosine, sine = np.cos(self.turned_rad), np.sin(self.turned_rad)
        return np.stack(
            [
                self.centre_m[0] + cosine * along - sine * aside,
                self.centre_m[1] + sine * along + cosine * aside,
            ],
            axis=-1,
        )

    def heading_rad(self, time_s: float) -> float:
        """Which way somebody walks, from the x axis."""
        around = self._around(np.asarray(time_s))
        along, aside = -self.long_m * np.sin(around), self.short_m * np.cos(around)
        towards = np.arctan2(aside, along) + self.turned_rad
        return float(towards if self.direction > 0 else towards + np.pi)

    def walked_m(self, time_s: float) -> float:
        """The distance walked since time 0, to about 1 mm."""
        steps = max(2, int(np.ceil(abs(time_s) / self.lap_s * 128)) + 1)
        places = self.at(np.linspace(0.0, time_s, steps))
        return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())

    def _around(self, time_s: Array) -> Array:
        return self.start_rad + self.direction * 2.0 * np.pi * time_s / self.lap_s


def crossing_loops(
    rngs: list[np.random.Generator], lap_s: float, first_turn_rad: float
) -> tuple[Loop, ...]:
    """One loop for each generator, all around the middle and each turned against the others.

    Every two of up to four people cross, and most of more. All take the same time for a lap, so who
    keeps `APART_M` for one does so for ever.
    """
    loops: list[Loop] = []
    for person, rng in enumerate(rngs):
        turned_rad = first_turn_rad + np.pi * person / len(rngs)
        attempt = 0
        while True:
            larger = 1.0 + 0.06 * (attempt // _ATTEMPTS_A_SIZE)
            loop = _random_loop(rng, lap_s, turned_rad, larger * (0.85 + 0.1 * len(rngs)))
            must_cross = attempt < _ATTEMPTS_TO_CROSS
            if all(
                nearest_m(loop.at, other.at, lap_s) >= APART_M
                and (crossings((loop, other)) >= 2 or not must_cross)
                for other in loops
            ):
                loops.append(loop)
                break
            attempt += 1
    return tuple(loops)


def nearest_m(
    first: Callable[[Array], Array], second: Callable[[Array], Array], duration_s: float
) -> float:
    """The least distance of two people over a time, checked often enough to be right to 3 cm."""
    times_s = np.linspace(0.0, duration_s, _CHECKED, endpoint=False)
    return float(np.linalg.norm(first(times_s) - second(times_s), axis=1).min())


def crossings(loops: tuple[Loop, ...]) -> int:
    """How often two of the loops cross on the floor."""
    count = 0
    for number, loop in enumerate(loops):
        for other in loops[:number]:
            times_s = np.linspace(0.0, loop.lap_s, 400)
            offset = loop.at(times_s) - other.centre_m
            cosine, sine = np.cos(other.turned_rad), np.sin(other.turned_rad)
            along = (offset @ [cosine, sine]) / other.long_m
            aside = (offset @ [-sine, cosine]) / other.short_m
            inside = along**2 + aside**2 < 1.0
            count += sum(before != after for before, after in pairwise(inside))
    return count


def _random_loop(rng: np.random.Generator, lap_s: float, turned_rad: float, long_m: float) -> Loop:
    return Loop(
        centre_m=(float(rng.normal(scale=0.12)), float(rng.normal(scale=0.12))),
        long_m=float(long_m * rng.uniform(0.95, 1.15)),
        short_m=float(long_m * rng.uniform(0.4, 0.6)),
        turned_rad=float(turned_rad + rng.normal(scale=0.15)),
        start_rad=float(rng.uniform(0, 2 * np.pi)),
        direction=int(rng.choice([-1, 1])),
        lap_s=lap_s,
    )
