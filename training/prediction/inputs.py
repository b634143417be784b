"""Where the people of an image are: boxes, from a detector, a file, or the whole image.

A file is JSON: a list of boxes `[x0, y0, x1, y1]` in pixels, for one image; or what
`predictions.json` holds, of whose frames each has `people` with `box_px`, and where known `part`
and `score`. Of two views the first is frame 0, the second frame 1.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog import storage
from training.loading.placed import Bytes, Floats
from training.tasks.task import default_part


@dataclass(frozen=True, kw_only=True)
class Found:
    """One person or hand of an image, by a box that its square is cut around."""

    box_px: Floats  # (4,)
    part: str
    score: float | None = None


# People of an image, given it and the number of its frame; more sure ones first.
Finder = Callable[[Bytes, int], list[Found]]


def whole_image(part: str) -> Finder:
    """Takes every image for a person's crop."""

    def find(image: Bytes, frame: int) -> list[Found]:
        height_px, width_px = image.shape[:2]
        return [Found(box_px=np.array([0.0, 0, width_px, height_px]), part=part)]

    return find


def boxes_of_file(url: str, parts: Sequence[str]) -> Finder:
    """Looks boxes up; those that do not say of what are of a task's `default_part`.

    Raises ValueError for a file that does not hold boxes, or has some of what is not in `parts`.
    """
    part = default_part(parts)
    try:
        values = json.loads(storage.read_text(url))
        if isinstance(values, list):
            values = {"frames": [{"frame": 0, "people": [{"box_px": box} for box in values]}]}
        frames = {
            int(frame["frame"]): [_found(person, part) for person in frame["people"]]
            for frame in values["frames"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{url} does not hold boxes, a JSON list of [x0, y0, x1, y1] or a predictions.json: "
            f"{error}"
        ) from None

    for frame, people in frames.items():
        if strange := [one.part for one in people if one.part not in parts]:
            raise ValueError(
                f"{url} has a box of part {strange[0]!r} in frame {frame}, and the task is about "
                f"{', '.join(parts)}: correct the part, or leave it or the box out"
            )

    def find(image: Bytes, frame: int) -> list[Found]:
        return frames.get(frame, [])

    return find


def _found(person: Mapping[str, Any], part: str) -> Found:
    box_px = np.array(person["box_px"], np.float64)
    if box_px.shape != (4,) or not np.isfinite(box_px).all():
        raise ValueError("a box is not four numbers")
    return Found(box_px=box_px, part=person.get("part", part), score=person.get("score"))
