"""Who is who from frame to frame of a video, by how much boxes overlap: enough to keep a person's
number and colour, not to tell people apart who change places.
"""

import numpy as np

from catalog.squares import box_overlaps
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
        known = list(self._last)
        last_px = np.array([self._last[number][0] for number in known]).reshape(-1, 4)
        overlaps = box_overlaps(boxes_px, last_px)
        found = [(-overlaps[k, j], k, known[j]) for k, j in np.argwhere(overlaps >= MIN_OVERLAP)]
        numbers: dict[int, int] = {}
        for _, row, number in sorted(found):
            if row not in numbers and number not in numbers.values():
                numbers[int(row)] = number
        for row in range(len(boxes_px)):
            if row not in numbers:
                numbers[row] = self._next
                self._next += 1
        missed = {n: (box, age + 1) for n, (box, age) in self._last.items() if age < MAX_MISSED}
        self._last = {**missed, **{numbers[row]: (box, 0) for row, box in enumerate(boxes_px)}}
        return [numbers[row] for row in range(len(boxes_px))]
