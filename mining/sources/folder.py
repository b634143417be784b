"""Source `folder`: a video file, or a folder of captures.

Below the root, a folder with a calibration file or a `capture.toml` is one capture: its videos, or
its subfolders with one video or with images each, are the views, named like the file's cameras.
With `layout = "views"` so is every folder of videos. Everywhere else each video is a capture of its
own, and so is each folder of images. A file that looks like a calibration in a format that is not
read is a problem that costs nothing else.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from catalog import storage
from catalog.footage import is_video
from catalog.ids import content_id
from mining.decoding.images import DEFAULT_FPS, image_sequence_uri, list_images, read_times
from mining.geometry.cameras import Camera
from mining.sources import capture_file
from mining.sources.base import Capture, DatasetSpec, Listing, SourceProblem, View
from mining.sources.calibration import (
    FORMATS,
    is_calibration,
    looks_like_calibration,
    read_calibration,
)
from mining.sources.capture_file import CaptureFacts, ViewFacts, parse_capture

DEFAULT_OPTIONS: dict[str, Any] = {
    "image_fps": DEFAULT_FPS,
    "licence": None,
    "layout": "captures",
    "sync": "given",
}
MAX_NAMED = 3  # files of a kind, in one problem
CHOICES = {"layout": ("captures", "views"), "sync": capture_file.SYNCS}


class FolderSource:
    """Finds captures by the layout of folders."""

    def captures(self, spec: DatasetSpec) -> Listing:
        """See Source.

        Options: `image_fps` of image folders; `licence`; `layout`: `captures` (each video is one,
        unless a file says otherwise) or `views` (the videos of a folder are the views of one);
        `sync` of the views of a capture whose own file does not say it.
        """
        unknown = set(spec.options) - set(DEFAULT_OPTIONS)
        if unknown:
            raise ValueError(
                f"dataset {spec.name}: unknown option {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(DEFAULT_OPTIONS)}"
            )
        options = {**DEFAULT_OPTIONS, **spec.options}
        _check_options(spec.name, options)
        walk = _Walk(spec.root, options)
        captures = [walk.single(spec.root)] if is_video(spec.root) else list(walk.folder(spec.root))
        if not captures:
            found = "; ".join(problem.error for problem in walk.problems)
            raise ValueError(
                found
                or f"{spec.root} holds neither videos nor images: give a video, a folder of videos,"
                " or a folder with one video or subfolder per camera and a calibration file or"
                f" {capture_file.NAME}"
            )
        return Listing(captures=_distinct(captures), problems=tuple(walk.problems))


class _Walk:
    """One walk below a root; collects the problems it meets."""

    def __init__(self, root: str, options: dict[str, Any]) -> None:
        self.root, self.options = root, options
        self.problems: list[SourceProblem] = []
        self.visited: set[str] = set()

    def folder(self, folder: str) -> Iterator[Capture]:
        """The captures in a folder and below it."""
        real = os.path.realpath(folder)
        if real in self.visited:  # a link that leads back
            return
        self.visited.add(real)
        files = storage.list_files(folder)
        calibrations = [file for file in files if is_calibration(file)]
        captures = list(self._captures(folder, files, calibrations))
        if captures and not calibrations:
            self._name_unread(folder, files)
        yield from captures

    def _captures(
        self, folder: str, files: Sequence[str], calibrations: Sequence[str]
    ) -> Iterator[Capture]:
        capture_files = [file for file in files if _file_name(file) == capture_file.NAME]
        if calibrations or capture_files:
            yield from self.multi_view(folder, calibrations, capture_files)
            return
        videos = [file for file in files if is_video(file)]
        if videos and self.options["layout"] == "views":
            yield self.views_together(folder, [(_stem(video), video) for video in videos])
        else:
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
            views=(self._view(_stem(url), url, None, ViewFacts()),),
            licence=self.options["licence"],
        )

    def multi_view(
        self, folder: str, calibrations: Sequence[str], capture_files: Sequence[str]
    ) -> Iterator[Capture]:
        """The folder's one capture, with what its files say; none where it has no footage."""
        sources = list(self._view_sources(folder))
        if not sources:
            name = self._name(folder)
            what = "a calibration" if calibrations else f"a {capture_file.NAME}"
            self._problem(name, f"{name} has {what} but neither videos nor images")
            return
        cameras = self._cameras(folder, calibrations) if calibrations else {}
        if not calibrations:
            for subfolder in storage.list_folders(folder):
                self._name_unread(subfolder, storage.list_files(subfolder))
        facts = CaptureFacts()
        if capture_files:
            facts = self._facts(folder, capture_files[0], dict(sources))
        yield self.views_together(folder, sources, cameras, facts)

    def views_together(
        self,
        folder: str,
        found: Sequence[tuple[str, str]],
        cameras: dict[str, Camera] | None = None,
        facts: CaptureFacts | None = None,
    ) -> Capture:
        """One capture of the views (name, url) found in a folder."""
        name, cameras, facts = self._name(folder), cameras or {}, facts or CaptureFacts()
        sources: dict[str, str] = {}
        for view_name, url in found:
            if view_name in sources:
                self._problem(
                    f"{name}/{view_name}",
                    f"{_file_name(sources[view_name])} and {_file_name(url)} of {name} are of one "
                    "name; the second is left out",
                )
            sources.setdefault(view_name, url)
        for view_name in sources:
            if cameras and view_name not in cameras:
                self._problem(
                    f"{name}/{view_name}",
                    f"the calibration of {name} has no camera {view_name!r}, only "
                    f"{', '.join(cameras)}; that view is mined without calibration",
                )
        for missing in sorted(set(cameras) - set(sources)):
            self._problem(
                f"{name}/{missing}",
                f"camera {missing!r} of the calibration of {name} has no footage",
            )
        views = [
            self._view(view_name, url, cameras.get(view_name), facts.views.get(view_name))
            for view_name, url in sources.items()
        ]
        return Capture(
            name=name,
            uri=folder,
            views=tuple(views),
            sync=facts.sync or self.options["sync"],
            subject=facts.subject,
            split=facts.split,
            licence=facts.licence or self.options["licence"],
        )

    def _cameras(self, folder: str, calibrations: Sequence[str]) -> dict[str, Camera]:
        """The cameras of the folder's calibration; none where it cannot be used."""
        name = self._name(folder)
        try:
            if len(calibrations) > 1:
                names = ", ".join(_file_name(file) for file in calibrations)
                raise ValueError(
                    f"{name} holds {len(calibrations)} calibration files ({names}): keep one"
                )
            return read_calibration(calibrations[0])
        except ValueError as error:
            self._problem(name, f"{error}; its views are mined without calibration")
            return {}

    def _name_unread(self, folder: str, files: Sequence[str]) -> None:
        """Say which files of a folder look like a calibration and are not read."""
        unread = [_file_name(file) for file in files if looks_like_calibration(_file_name(file))]
        if unread:
            name, more = self._name(folder), ", ..." if len(unread) > MAX_NAMED else ""
            self._problem(
                name,
                f"{name} holds what looks like a calibration in a format that is not read "
                f"({', '.join(unread[:MAX_NAMED])}{more}): its footage is mined without; those "
                f"that are read are named *{' or *'.join(FORMATS)}; rename what is none",
            )

    def _facts(self, folder: str, file: str, sources: dict[str, str]) -> CaptureFacts:
        """What the folder's capture file says; a wrong one costs the pairs across views, because
        whether those share a clock is then not known.
        """
        name = self._name(folder)
        try:
            facts = parse_capture(storage.read_text(file))
            for view_name, view in facts.views.items():
                _check_view(view_name, view, folder, sources)
        except ValueError as error:
            self._problem(
                name,
                f"{_file_name(file)} of {name}: {error}; its views are mined as if they shared no "
                "clock",
            )
            return CaptureFacts(sync="none")
        return facts

    def _view_sources(self, folder: str) -> Iterator[tuple[str, str]]:
        for video in filter(is_video, storage.list_files(folder)):
            yield _stem(video), video
        for subfolder in storage.list_folders(folder):
            videos = [file for file in storage.list_files(subfolder) if is_video(file)]
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

    def _view(self, name: str, url: str, camera: Camera | None, facts: ViewFacts | None) -> View:
        facts = facts or ViewFacts()
        if is_video(url):
            return View(
                name=name,
                uri=url,
                reader="video",
                fingerprint=storage.fingerprint(url),
                camera=camera,
                offset_s=facts.offset_s,
            )
        fps = facts.fps or self.options["image_fps"]
        times_file = None
        if facts.times is not None:
            times_file = storage.join(url.rpartition("/")[0], facts.times)
        images = [[_file_name(image), storage.fingerprint(image)] for image in list_images(url)]
        timing = fps if times_file is None else storage.fingerprint(times_file)
        return View(
            name=name,
            uri=image_sequence_uri(url, fps, times_file),
            reader="images",
            camera=camera,
            offset_s=facts.offset_s,
            fingerprint=content_id(timing, images),
        )

    def _name(self, url: str) -> str:
        """A capture's name: its path below the root, or its own name when it is the root."""
        if url == self.root:
            return _stem(url)
        below = PurePosixPath(url).relative_to(self.root)
        return str(below.with_suffix("") if is_video(url) else below)


def _distinct(captures: Sequence[Capture]) -> tuple[Capture, ...]:
    """Give videos that share their name with another capture their suffix back."""
    counts = Counter(capture.name for capture in captures)
    return tuple(
        replace(capture, name=capture.name + PurePosixPath(capture.uri).suffix)
        if counts[capture.name] > 1 and is_video(capture.uri)
        else capture
        for capture in captures
    )


def _check_view(name: str, view: ViewFacts, folder: str, sources: dict[str, str]) -> None:
    """Raise ValueError where what a capture file says of a view does not fit its footage."""
    if name not in sources:
        raise ValueError(f"there is no view {name!r}, only {', '.join(sources)}")
    if is_video(sources[name]) and (view.fps or view.times):
        key = "fps" if view.fps else "times"
        raise ValueError(f"views.{name}.{key} is for folders of images; a video tells its own")
    if view.times is not None:
        read_times(storage.join(folder, view.times), len(list_images(sources[name])))


def _check_options(dataset: str, options: dict[str, Any]) -> None:
    fps, licence = options["image_fps"], options["licence"]
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not fps > 0:
        raise ValueError(f"dataset {dataset}: image_fps must be a number above 0, got {fps!r}")
    if licence is not None and not isinstance(licence, str):
        raise ValueError(f"dataset {dataset}: licence must be text, got {licence!r}")
    for name, known in CHOICES.items():
        if options[name] not in known:
            raise ValueError(
                f"dataset {dataset}: {name} must be one of {', '.join(known)}, "
                f"got {options[name]!r}"
            )


def _file_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _stem(url: str) -> str:
    return PurePosixPath(_file_name(url)).stem
