"""What all labelled datasets share: options, units in pieces, and that what is broken costs only
itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from catalog import storage
from catalog.footage import read_rgb
from catalog.ids import content_id
from mining.geometry.cameras import Camera
from mining.labelling.source import Found, Image, LabelledImage, LabelledListing, LabelledUnit
from mining.sources.base import DatasetSpec, Detection, SourceProblem
from mining.sources.datasets.parsing import file_name, forget_kept, reading
from mining.sources.datasets.source import checked_options, not_the_dataset
from mining.sources.datasets.view import files_in, fingerprint_of

VERSION = 1  # raise it when a dataset's files give other labels than before
Piece = LabelledUnit | SourceProblem | tuple[str, str, str]  # the last is left out on purpose
Make = Callable[[], Found]


class LabelledDataset(ABC):
    """Implements `LabelledSource` for a public dataset's own files."""

    licence: ClassVar[str]
    known_by: ClassVar[str]  # the files by which the dataset is known, below its root
    options: ClassVar[Mapping[str, Any]] = {}  # what a dataset file may set, with the defaults

    @abstractmethod
    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """Find the units below a root, none where it is not the dataset's. Raises ValueError when
        an option is wrong.
        """

    @abstractmethod
    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """Name a unit's samples, each with what makes it. Making one raises what reading malformed
        annotations does; ValueError is raised where the whole unit is broken.
        """

    def units(self, spec: DatasetSpec) -> LabelledListing:
        """See LabelledSource. Options: the dataset's, and `licence`."""
        options = checked_options(spec, {**self.options, "licence": self.licence})
        if options.get("every", 1) < 1:
            raise ValueError(f"dataset {spec.name}: every must be 1 or more: each that many frames")
        forget_kept()
        found = list(self.find(spec.root, options))
        units = [unit for unit in found if isinstance(unit, LabelledUnit)]
        problems = [problem for problem in found if isinstance(problem, SourceProblem)]
        excluded = [piece for piece in found if isinstance(piece, tuple)]
        if problems and not units:
            raise ValueError(f"{spec.root}: nothing can be read; the first: {problems[0].error}")
        if excluded and not units:
            raise ValueError(f"{spec.root}: nothing is left; the first: {excluded[0][2]}")
        if not units:
            raise ValueError(not_the_dataset(spec, self.known_by))
        return LabelledListing(
            units=tuple(_finished(unit, options["licence"]) for unit in units),
            problems=tuple(problems),
            excluded=tuple(excluded),
        )

    def labelled(self, unit: LabelledUnit) -> Iterator[Found]:
        """See LabelledSource."""
        for name, make in self.samples(unit.payload):
            try:
                with reading(name):
                    found = make()
            except ValueError as error:
                found = SourceProblem(unit=name, error=str(error))
            yield found


def _finished(unit: LabelledUnit, licence: str) -> LabelledUnit:
    """A unit whose fingerprint changes with the options and with this code, too."""
    place = {key: value for key, value in unit.payload.items() if key != "root"}
    mark = content_id(VERSION, unit.fingerprint, place)
    return replace(unit, fingerprint=mark, licence=licence)


def piece(
    name: str, payload: Mapping[str, Any], marks: Sequence[str], files: Sequence[str]
) -> Iterator[LabelledUnit]:
    """A unit of those images that are there, one sample each; none where none is."""
    there = [file for file in files if file in files_in(file.rpartition("/")[0])]
    if there:
        yield LabelledUnit(
            name=name,
            payload=payload,
            fingerprint=fingerprint_of(marks, there),
            num_samples=len(there),
        )


def broken(name: str, error: ValueError) -> tuple[str, Make]:
    """A sample, or what would have given some, that turned out broken before it was made."""

    def fail() -> Found:
        raise error

    return name, fail


def absent(name: str, files: Collection[str]) -> Iterator[Piece]:
    """Say how many of a table's images are not there, as after a partial download."""
    lacking = [file for file in files if file not in files_in(file.rpartition("/")[0])]
    if lacking:
        detail = (
            f"{len(lacking)} of the {len(files)} images of {name} are not there, as {lacking[0]}"
        )
        yield name, "missing", detail


def image_of(file: str) -> Callable[[], Image]:
    """What reads an image when it is asked for. Raises ValueError where the file is not there."""
    if not storage.exists(file):
        raise ValueError(f"{file_name(file)} is not there")
    return partial(read_rgb, file)


def given_image(detection: Detection, camera: Camera | None = None, **known: Any) -> LabelledImage:
    """An image with a given person or hand in it, and its joints where the camera is known.

    `known` is handed on.
    """
    joints_cam, joints_world = None, detection.joints_world
    if camera is not None and joints_world is not None:
        there = np.flatnonzero(np.isfinite(joints_world).all(axis=1))
        joints_cam = np.zeros((len(joints_world), 4))
        joints_cam[there, :3] = camera.to_camera(joints_world[there])
        joints_cam[there, 3] = 1.0
    return LabelledImage(
        box_px=detection.box_px.astype(np.float64),
        keypoints_px=detection.keypoints_px.astype(np.float64),
        joints_cam_m=joints_cam,
        pixels_from_cam=None if camera is None else camera.intrinsics,
        **known,
    )
