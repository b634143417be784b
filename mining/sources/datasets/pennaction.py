"""Penn Action: clips of sports, one annotated person in each.

    frames/0001/000001.jpg
    labels/0001.mat   x, y, visibility (N, 13), bbox (N, 4), train 1 or not, nframes

The dataset states no frame rate: `fps` of the options is taken. Nor does it say how its boxes are
written: they are read as corners (x0, y0, x1, y1) where that holds most of the visible joints, else
the box is that of the joints.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from catalog import storage
from mining.sources.base import Detection, View
from mining.sources.datasets import evaluation
from mining.sources.datasets.joints import PENN13, reorder
from mining.sources.datasets.parsing import array, file_name, kept, reading
from mining.sources.datasets.people import given_person
from mining.sources.datasets.source import Recording
from mining.sources.datasets.view import (
    READER,
    AnnotatedView,
    fingerprint_of,
    have_files,
    view_uri,
)


class PennAction:
    """Implements `Adapter`."""

    licence = "Penn Action: no licence stated; published for research"
    known_by = "labels/*.mat"
    options: Mapping[str, Any] = {"fps": 30.0}

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. A clip that cannot be read is a problem of its own."""
        for path in storage.list_files(f"{root}/labels", ".mat"):
            clip = file_name(path).removesuffix(".mat")
            try:
                excluded = evaluation.of_penn(_labels(path)[2])
            except ValueError:
                excluded = None  # opened again below, where it becomes a problem
            place = {"clip": clip, "fps": options["fps"]}
            yield Recording(
                name=clip,
                uri=path,
                views=partial(_views, root, path, place),
                excluded=excluded,
            )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter. Frames are counted from 1."""
        clip = place["clip"]
        keypoints, boxes, _ = _labels(f"{root}/labels/{clip}.mat")
        numbers = [int(at) + 1 for at in np.flatnonzero((keypoints[..., 2] > 0).any(axis=1))]
        with reading(f"clip {clip}"):
            files = [f"{root}/frames/{clip}/{number:06d}.jpg" for number in numbers]
            indices, tiles = have_files(numbers, files)

        def people(at: int) -> tuple[Detection, ...]:
            row = int(indices[at]) - 1
            box_px = _box(boxes[row], keypoints[row]) if row < len(boxes) else None
            person = given_person(keypoints[row], box_px=box_px, identity="actor")
            return () if person is None else (person,)

        return AnnotatedView(
            indices=indices,
            people=people,
            tiles=tiles,
            fps=float(place["fps"]),
            first=1,
            num_frames=len(keypoints),
        )


def _views(root: str, path: str, place: Mapping[str, object]) -> Iterable[View]:
    _labels(path)
    images = storage.list_files(f"{root}/frames/{place['clip']}", ".jpg")
    if not images:
        raise ValueError(f"frames/{place['clip']} holds no images")
    yield View(
        name="camera",
        uri=view_uri("pennaction", root, place),
        reader=READER,
        fingerprint=fingerprint_of([storage.fingerprint(path)], images),
    )


@kept(4)
def _labels(path: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Keypoints (N, 17, 3), boxes (M, 4) as written, M at most N, and the value of `train`."""
    name = file_name(path)
    with reading(name):
        data = storage.read_bytes(path)
        try:
            table = scipy.io.loadmat(io.BytesIO(data))
        except Exception as error:  # scipy raises many kinds for broken files
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{name} is not a MATLAB file that can be read ({said})") from None
        columns = [array(table[key], (-1, 13), key) for key in ("x", "y", "visibility")]
        joints = np.stack(columns, axis=2)
        boxes = array(table["bbox"], (-1, 4), "bbox")[: len(joints)]
        return reorder(joints, PENN13), boxes, int(np.asarray(table["train"]).ravel()[0])


def _box(
    corners: NDArray[np.float64], keypoints: NDArray[np.float64]
) -> tuple[float, float, float, float] | None:
    """The box as corners, where they hold more than half of the visible joints."""
    x0, y0, x1, y1 = (float(value) for value in corners)
    seen = keypoints[keypoints[:, 2] > 0, :2]
    inside = ((seen >= (x0, y0)) & (seen <= (x1, y1))).all(axis=1)
    return (x0, y0, x1, y1) if inside.mean() > 0.5 else None
