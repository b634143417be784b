"""What a source gives to mining: captures, their views, and the frames of a view with whatever is
already known of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from mining.geometry.cameras import Camera

Sync = Literal["given", "estimated", "none"]
Part = Literal["body", "left_hand", "right_hand"]
PartGroup = Literal["body", "hands"]  # what can be looked for, or be given by annotations
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One person, or one hand, in one frame: detected, or given by the source's annotations.

    `box_px` is (x0, y0, x1, y1) and `keypoints_px` (K, 3) as x, y, confidence, both in pixels of
    the full frame; a keypoint of confidence 0 was not seen. A body's are COCO's 17; a hand's
    are 21: the wrist, then thumb, index, middle, ring and little finger, each from base to tip.
    `body` is the place of a hand's person in the frame's tuple of people, None where that person is
    not known. `identity` names the person (of a hand too), `mask` is the visible pixels (H, W) and
    `joints_world` (K, 3) the keypoints' places in metres, where the source knows them;
    `mask_by_model` tells masks that a segmentation model made.
    """

    box_px: NDArray[np.float32]
    keypoints_px: NDArray[np.float32]
    score: float
    part: Part = "body"
    body: int | None = None
    identity: str | None = None
    mask: NDArray[np.bool_] | None = None
    mask_by_model: bool = False
    joints_world: NDArray[np.float64] | None = None


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded frame: `image` is RGB uint8 (H, W, 3), `time_s` counts from the view's first
    frame.

    `people` is None where a detector must look, and what is given (perhaps nobody) where the source
    has annotations: bodies, hands, or both, as its capture's `annotated` says.
    """

    index: int
    time_s: float
    image: NDArray[np.uint8]
    people: tuple[Detection, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ViewInfo:
    """What a container says of itself; `num_frames` may be more than can be decoded when a file is
    damaged.
    """

    width_px: int
    height_px: int
    fps: float
    num_frames: int

    @property
    def duration_s(self) -> float:
        """Length of the view in seconds."""
        return self.num_frames / self.fps


class BrokenOffError(ValueError):
    """A view broke off; `num_lost` of the wanted frames were not reached."""

    def __init__(self, message: str, num_lost: int) -> None:
        super().__init__(message)
        self.num_lost = num_lost


class Reader(Protocol):
    """Reads the frames of one kind of view.

    A new kind is one class, registered in `mining/decoding/readers.py`.
    """

    def probe(self, uri: str) -> ViewInfo:
        """Read a view's size, rate and length.

        Raises ValueError, in one sentence, when it cannot be read.
        """

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Yield the frame nearest to each of the ascending times, each frame once.

        Raises ValueError when decoding breaks; BrokenOffError where the frames lost are counted.
        """


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera's images.

    `reader` names a Reader; `fingerprint` changes when the content behind `uri` does. `offset_s` is
    the time of its first frame on the capture's clock.
    """

    name: str
    uri: str
    reader: str
    fingerprint: str
    camera: Camera | None = None
    offset_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One recording of people: synchronized views over one time span. `name` is unique within its
    dataset.

    `annotated` names what every frame comes with, so that no detector is needed for it. `sync`:
    `given` where the views share a clock (with each view's `offset_s`), `estimated` where their
    offsets are to be found from motion, `none` where they do not belong together in time.
    """

    name: str
    uri: str
    views: tuple[View, ...]
    annotated: tuple[PartGroup, ...] = ()
    sync: Sync = "given"
    subject: str | None = None
    split: str | None = None
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class SourceProblem:
    """Something a source found and could not use: what it was, and one sentence that says why."""

    unit: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source holds: captures to mine, problems that cost only themselves, and captures left
    out on purpose (name, reason, detail), as those of evaluation subjects.
    """

    captures: tuple[Capture, ...]
    problems: tuple[SourceProblem, ...] = ()
    excluded: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset as the user asked for it: its name, the adapter that reads it, where it lies, and
    adapter options.
    """

    name: str
    adapter: str
    root: str
    options: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """Finds the captures of a dataset.

    Added by one class in `mining/sources/` or an entry point `crosspairs.sources`.
    """

    def captures(self, spec: DatasetSpec) -> Listing:
        """List every capture of the dataset.

        Raises ValueError, in one sentence, when there is nothing to mine.
        """
