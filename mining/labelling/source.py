"""What a labelled source gives to mining: work units, and of each unit its labelled images.

A source tells what is known in the pixels of its own full images and in the camera's frame. Stage
`label` (label.py) cuts the square crops, maps everything into them and writes the samples.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mining.plugins import find_plugin, plugin_names
from mining.sources.base import DatasetSpec, Part, SourceProblem
from shards.labels import Body

Array = NDArray[np.float64]
Image = NDArray[np.uint8]  # RGB (H, W, 3)

GROUP = "crosspairs.labelled_sources"  # entry points of other packages
# Adapter to its class, below `mining.labelling`; a new labelled dataset of ours is one line here.
LABELLED: Mapping[str, str] = {
    "3dpw-labelled": "threedpw:LabelledThreeDPW",
    "interhand-labelled": "interhand:LabelledInterHand",
    "freihand": "freihand:FreiHand",
    "coco-densepose": "densepose:CocoDensePose",
    "hagrid": "hagrid:Hagrid",
    "human-tars": "human_tars:HumanTars",
    "synthetic-labelled": "synthetic:SyntheticLabelled",
}


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One full image in which a person or hand is seen, with what is known of it; pixels have
    (0, 0) at the outer corner of the image's first pixel, the camera's frame is x right, y down, z
    ahead, in metres.

    `image` is the pixels, or reads them when they are asked for: what is rejected by its box alone
    is never read. `keypoints_px` (K, 3) are x, y, confidence, as `shards/labels.py` orders them, 0
    where not known. `pixels_from_cam` (3, 3) projects the camera's frame to the image, which must
    be free of lens distortion. `joints_cam_m` (K, 4) are x, y, z, confidence. Dense labels are
    either a map `iuv` (H, W, 3) of part (0: not this person), u and v (0 to 255), or
    `dense_points` (P, 5) of x_px, y_px, part, u, v; `dense_chart` names their parts.
    """

    source: str  # file or generator, and frame: leads back to what it was cut from
    image: Image | Callable[[], Image]
    box_px: Array  # x0, y0, x1, y1 of the person or hand
    keypoints_px: Array
    joints_cam_m: Array | None = None
    pixels_from_cam: Array | None = None
    body: Body | None = None
    iuv: Image | None = None
    dense_points: Array | None = None
    dense_chart: str | None = None
    frame: int | None = None  # of a video or capture, from 0


@dataclass(frozen=True, kw_only=True)
class LabelledSample:
    """One sample to be: one image, or two views of the same instant; `name` is unique in its
    unit.

    `split` is given where the source has one (`train` or `val`); else it follows from `split_by`
    (such as a capture, where several people are in one image), from the subject, or from the
    unit's name, the first of these that is known: so nobody is in both.
    """

    name: str
    part: Part
    images: tuple[LabelledImage, ...]
    subject: str | None = None
    split: str | None = None
    split_by: str | None = None
    gesture: str | None = None
    view_angle_deg: float | None = None  # between two views, as seen from the person or hand


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A sample left out on purpose: its name in the unit, one word for why, and what decided."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class LabelledUnit:
    """A piece of a labelled dataset that one worker does at once, such as a capture or some images.

    `payload` is what `labelled` needs to know: plain values (text, numbers, lists, tables), small,
    for they travel to the worker. `fingerprint` changes when the images or annotations behind it
    do. `num_samples` is how many are lost when the whole unit breaks.
    """

    name: str  # unique within the dataset
    payload: Mapping[str, Any]
    fingerprint: str
    num_samples: int
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledListing:
    """What a labelled source holds: units, problems that cost only themselves, and what is left
    out on purpose (name, reason, detail), as evaluation data.
    """

    units: tuple[LabelledUnit, ...]
    problems: tuple[SourceProblem, ...] = ()
    excluded: tuple[tuple[str, str, str], ...] = ()


Found = LabelledSample | LeftOut | SourceProblem


class LabelledSource(Protocol):
    """Finds the labelled images of a dataset: a class of no arguments, named in `LABELLED` or by an
    entry point.
    """

    def units(self, spec: DatasetSpec) -> LabelledListing:
        """List the work units. Raises ValueError, in one sentence, when there is nothing to label
        or an option is wrong.
        """

    def labelled(self, unit: LabelledUnit) -> Iterator[Found]:
        """Yield a unit's samples, always in the same order; LeftOut for what is dropped on purpose
        and SourceProblem for what is broken and costs only itself. Raises ValueError where the
        whole unit is broken.
        """


def labelled_adapters() -> list[str]:
    """The names of all labelled sources: ours, and those that other packages make known."""
    return [*LABELLED, *plugin_names(GROUP)]


def is_labelled(adapter: str) -> bool:
    """Whether an adapter gives labelled samples rather than captures to pair."""
    return adapter in labelled_adapters()


def make_labelled_source(adapter: str) -> LabelledSource:
    """The labelled source of that name. Raises ValueError, naming those there are."""
    if adapter in LABELLED:
        module, _, name = LABELLED[adapter].partition(":")
        ours: LabelledSource = getattr(import_module(f"mining.labelling.{module}"), name)()
        return ours
    unknown = f"unknown labelled adapter {adapter!r}"
    theirs: LabelledSource = find_plugin(GROUP, adapter, unknown, list(LABELLED))()
    return theirs
