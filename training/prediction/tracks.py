"""Who is who from frame to frame of a video, by how much boxes overlap: enough to keep a person's
number and colour, not to tell people apart who change places.
"""

import numpy as np

from training.loading.placed import Floats

MIN_OVERLAP = 0.3  # intersection over union of one person's boxes in frames that follow
MAX_MISSED = 5  # frames for which an unseen person is remembered


class Tracks:
    """Numbers people; boxes of a frame go to the nearest ones of the frames before, best first."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Floats, int]] = {}  # number: box, frames since
        self._next = 0

    def number(self, boxes_px: Floats) -> list[int]:
        """The numbers of the people in a frame's boxes (B, 4), in their order."""
        overlaps = sorted(
            (
                (overlap(box, last), row, number)
                for row, box in enumerate(boxes_px)
                for number, (last, _) in self._last.items()
            ),
            key=lambda found: (-found[0], *found[1:]),
        )
        numbers: dict[int, int] = {}
        for share, row, number in overlaps:
            if share >= MIN_OVERLAP and row not in numbers and number not in numbers.values():
                numbers[row] = number
        for row in range(len(boxes_px)):
            if row not in numbers:
                numbers[row] = self._next
                self._next += 1
        missed = {n: (box, age + 1) for n, (box, age) in self._last.items() if age < MAX_MISSED}
        self._last = {**missed, **{numbers[row]: (box, 0) for row, box in enumerate(boxes_px)}}
        return [numbers[row] for row in range(len(boxes_px))]


def overlap(a_px: Floats, b_px: Floats) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(a_px[:2], b_px[:2]), np.minimum(a_px[2:], b_px[2:])
    shared = float((high - low).clip(0).prod())
    areas = sum(float((box[2:] - box[:2]).prod()) for box in (a_px, b_px))
    return shared / (areas - shared) if shared else 0.0
