"""Source `folder`: a video file, or a folder of captures.

Below the root, a folder with a calibration file is one capture: its videos, or its subfolders with
one video or with images each, are the synchronized views, named like the file's cameras. Everywhere
else each video is a capture of its own, and so is each folder of images.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from catalog import storage
from catalog.ids import content_id
from mining.decoding.images import image_sequence_uri, list_images
from mining.geometry.cameras import Camera
from mining.sources.base import Capture, DatasetSpec, Listing, SourceProblem, View
from mining.sources.calibration import is_calibration, read_calibration

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")
DEFAULT_OPTIONS: dict[str, Any] = {"image_fps": 30.0, "licence": None}


class FolderSource:
    """Finds captures by the layout of folders."""

    def captures(self, spec: DatasetSpec) -> Listing:
        """See Source. Options: `image_fps` of image folders, `licence`."""
        unknown = set(spec.options) - set(DEFAULT_OPTIONS)
        if unknown:
            raise ValueError(
                f"dataset {spec.name}: unknown option {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(DEFAULT_OPTIONS)}"
            )
        options = {**DEFAULT_OPTIONS, **spec.options}
        _check_options(spec.name, options)
        walk = _Walk(spec.root, options)
        if _is_video(spec.root):
            captures = [walk.single(spec.root)]
        else:
            captures = list(walk.folder(spec.root))
        if not captures:
            found = "; ".join(problem.error for problem in walk.problems)
            raise ValueError(
                found
                or f"{spec.root} holds neither videos nor images: give a video, a folder of videos,"
                " or a folder with one video or subfolder per camera and a calibration file"
            )
        return Listing(captures=_distinct(captures), problems=tuple(walk.problems))


class _Walk:
    """One walk below a root; collects the problems it meets."""

    def __init__(self, root: str, options: dict[str, Any]) -> None:
        self.root, self.options = root, options
        self.problems: list[SourceProblem] = []
        self.visited: set[str] = set()

    def folder(self, folder: str) -> Iterator[Capture]:
        real = os.path.realpath(folder)
        if real in self.visited:  # a link that leads back
            return
        self.visited.add(real)
        files = storage.list_files(folder)
        calibrations = [file for file in files if is_calibration(file)]
        if calibrations:
            yield from self.multi_view(folder, calibrations)
            return
        videos = [file for file in files if _is_video(file)]
        for video in videos:
            yield self.single(video)
        if not videos and list_images(folder):
            yield self.single(folder)
        for subfolder in storage.list_folders(folder):
            yield from self.folder(subfolder)

    def single(self, url: str) -> Capture:
        """A video or a folder of images as a capture of one view, without calibration."""
        return Capture(
            name=self._name(url),
            uri=url,
            views=(self._view(_stem(url), url, None),),
            licence=self.options["licence"],
        )

    def multi_view(self, folder: str, calibrations: list[str]) -> Iterator[Capture]:
        cameras: dict[str, Camera] = {}
        name = self._name(folder)
        try:
            if len(calibrations) > 1:
                names = ", ".join(_file_name(file) for file in calibrations)
                raise ValueError(
                    f"{name} holds {len(calibrations)} calibration files ({names}): keep one"
                )
            cameras = read_calibration(calibrations[0])
        except ValueError as error:
            self._problem(name, f"{error}; its views are mined without calibration")
        sources: dict[str, str] = {}
        for view_name, url in self._view_sources(folder):
            if view_name in sources:
                self._problem(
                    f"{name}/{view_name}",
                    f"{_file_name(sources[view_name])} and {_file_name(url)} of {name} are of one "
                    "name; the second is left out",
                )
            sources.setdefault(view_name, url)
        if not sources:
            self._problem(name, f"{name} has a calibration but neither videos nor images")
            return
        views = []
        for view_name, url in sources.items():
            if cameras and view_name not in cameras:
                self._problem(
                    f"{name}/{view_name}",
                    f"the calibration of {name} has no camera {view_name!r}, only "
                    f"{', '.join(cameras)}; that view is mined without calibration",
                )
            views.append(self._view(view_name, url, cameras.get(view_name)))
        for missing in sorted(set(cameras) - set(sources)):
            self._problem(
                f"{name}/{missing}",
                f"camera {missing!r} of the calibration of {name} has no footage",
            )
        yield Capture(name=name, uri=folder, views=tuple(views), licence=self.options["licence"])

    def _view_sources(self, folder: str) -> Iterator[tuple[str, str]]:
        for video in filter(_is_video, storage.list_files(folder)):
            yield _stem(video), video
        for subfolder in storage.list_folders(folder):
            videos = [file for file in storage.list_files(subfolder) if _is_video(file)]
            if len(videos) > 1:
                below = self._name(subfolder)
                self._problem(
                    below,
                    f"{below} holds {len(videos)} videos; the folder of one camera holds one",
                )
            elif videos:
                yield _file_name(subfolder), videos[0]
            elif list_images(subfolder):
                yield _file_name(subfolder), subfolder
            else:
                below = self._name(subfolder)
                self._problem(below, f"{below} holds no footage, as a camera needs it")

    def _problem(self, unit: str, error: str) -> None:
        self.problems.append(SourceProblem(unit=unit, error=error))

    def _view(self, name: str, url: str, camera: Camera | None) -> View:
        if _is_video(url):
            return View(
                name=name,
                uri=url,
                reader="video",
                fingerprint=storage.fingerprint(url),
                camera=camera,
            )
        uri = image_sequence_uri(url, self.options["image_fps"])
        images = [[_file_name(image), storage.fingerprint(image)] for image in list_images(url)]
        return View(
            name=name,
            uri=uri,
            reader="images",
            camera=camera,
            fingerprint=content_id(self.options["image_fps"], images),
        )

    def _name(self, url: str) -> str:
        """A capture's name: its path below the root, or its own name when it is the root."""
        if url == self.root:
            return _stem(url)
        below = PurePosixPath(url).relative_to(self.root)
        return str(below.with_suffix("") if _is_video(url) else below)


def _distinct(captures: Sequence[Capture]) -> tuple[Capture, ...]:
    """Give videos that share their name with another capture their suffix back."""
    counts = Counter(capture.name for capture in captures)
    return tuple(
        replace(capture, name=capture.name + PurePosixPath(capture.uri).suffix)
        if counts[capture.name] > 1 and _is_video(capture.uri)
        else capture
        for capture in captures
    )


def _check_options(dataset: str, options: dict[str, Any]) -> None:
    fps, licence = options["image_fps"], options["licence"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not fps > 0:
        raise ValueError(f"dataset {dataset}: image_fps must be a number above 0, got {fps!r}")
    if licence is not None and not isinstance(licence, str):
        raise ValueError(f"dataset {dataset}: licence must be text, got {licence!r}")


def _is_video(url: str) -> bool:
    return url.lower().endswith(VIDEO_SUFFIXES)


def _file_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _stem(url: str) -> str:
    return PurePosixPath(_file_name(url)).stem
