"""Predict on images and videos, and write for each what `files.py` says. What is wrong with one
input costs that one only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from catalog import storage
from catalog.footage import is_video, read_rgb
from catalog.progress import show_progress
from training.loading.placed import Bytes
from training.png import encode_png
from training.prediction.crops import usual_camera
from training.prediction.files import write_person, write_predictions
from training.prediction.inputs import Finder, Found
from training.prediction.overlay import colour_of, draw_answers
from training.prediction.overlay_video import OverlayVideo
from training.prediction.predictor import Person, Predictor
from training.prediction.tracks import Tracks
from training.prediction.video import open_video


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What is looked at and written."""

    out: str
    max_people: int | None = None  # the surest of each image
    focal_px: float | None = None  # of the images; None: see `usual_camera`
    every: int | None = None  # look at every so many frames of a video
    fps: float | None = None  # or at about so many a second
    meshes: bool = True  # write them, not the pictures alone

    def __post_init__(self) -> None:
        for name in ("max_people", "focal_px", "every", "fps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")


class Prediction:
    """A predictor at work on one input after the other."""

    def __init__(self, predictor: Predictor, find: Finder, config: PredictConfig) -> None:
        self._predictor, self._find, self._config = predictor, find, config
        self._about = {"task": predictor.task.name}

    def on_all(
        self,
        inputs: Sequence[str],
        second: str | None,
        done: Callable[[str], None],
        failed: Callable[[str], None],
    ) -> bool:
        """Predict on all inputs, for two views on images, each with the `second` one; `done` is
        told what was written, `failed` what could not be, in one sentence each. Returns whether all
        could.
        """
        all_well = True
        for url, name in zip(inputs, _folder_names(inputs), strict=True):
            folder = storage.join(self._config.out, name)
            try:
                if second is None and is_video(url):
                    done(self.on_video(url, folder))
                else:
                    done(self.on_image(url, folder, second))
            except (ValueError, OSError) as error:
                all_well = False
                failed(" ".join(str(error).split()))
        return all_well

    def on_image(self, url: str, folder: str, second: str | None) -> str:
        """Predict on an image, for two views with a `second` one of the instant, and return the
        overlay's URL. Raises ValueError for a damaged image, and when nobody is found.
        """
        image = _read(url)
        found = self._people(image, 0)
        other = None
        if second is not None:
            pixels = _read(second)
            other = pixels, self._people(pixels, 1)
        if not found:
            raise ValueError(f"nobody was found in {url}: give their boxes with --boxes FILE")
        people = self._predict(image, found, other)
        numbers = list(range(len(people)))
        rows = self._write(folder, "", people, numbers, found)
        overlay = storage.join(folder, "overlay.png")
        colours = [colour_of(number) for number in numbers]
        storage.write_bytes(overlay, encode_png(draw_answers(image, people, colours)))
        frame = {"frame": 0, "time_s": 0.0, "people": rows}
        self._close(folder, url, image, [frame], "overlay.png")
        return overlay

    def on_video(self, url: str, folder: str) -> str:
        """Predict on a video and return the overlay's URL.

        Raises ValueError for what is no video, when nobody is found, and, once all else is
        written, for one that breaks off.
        """
        frames = open_video(url, self._config.every, self._config.fps)
        local = storage.local_path(folder)
        if local is None:
            raise ValueError(f"a video is written to a local disk, not to {folder}: set --out")
        tracks, rows, broken = Tracks(), list[dict[str, Any]](), None
        overlay, image = storage.join(local, "overlay.mp4"), None
        with OverlayVideo(overlay, frames.fps / frames.every) as video:
            shown = show_progress(iter(frames), frames.num_wanted, url.split("/")[-1], "frames")
            try:
                for number, image in shown:
                    people, numbers, row = self._frame(folder, number, image, tracks)
                    colours = [colour_of(person) for person in numbers]
                    video.add(draw_answers(image, people, colours))
                    time_s = round(number / frames.fps, 6)
                    rows.append({"frame": number, "time_s": time_s, "people": row})
            except ValueError as error:
                if image is None:
                    raise
                broken = error
        assert image is not None, "a video that opens has a frame"
        self._close(folder, url, image, rows, "overlay.mp4")
        if broken is not None:
            raise broken
        if not any(row["people"] for row in rows):
            raise ValueError(f"nobody was found in {url}: give their boxes with --boxes FILE")
        return overlay

    def _frame(
        self, folder: str, number: int, image: Bytes, tracks: Tracks
    ) -> tuple[list[Person], list[int], list[dict[str, Any]]]:
        found = self._people(image, number)
        people = self._predict(image, found, None) if found else []
        numbers = tracks.number(np.array([one.box_px for one in found]).reshape(-1, 4))
        rows = self._write(folder, f"frame-{number:06d}-", people, numbers, found)
        return people, numbers, rows

    def _people(self, image: Bytes, frame: int) -> list[Found]:
        return self._find(image, frame)[: self._config.max_people]

    def _predict(
        self, image: Bytes, found: list[Found], second: tuple[Bytes, list[Found]] | None
    ) -> list[Person]:
        def camera(pixels: Bytes) -> Any:
            return usual_camera(pixels.shape[1], pixels.shape[0], self._config.focal_px)

        others = None
        if second is not None:
            others = second[0], [one.box_px for one in second[1]]
        return self._predictor(
            image,
            [one.box_px for one in found],
            [one.part for one in found],
            camera(image),
            others,
            None if second is None else camera(second[0]),
        )

    def _write(
        self,
        folder: str,
        prefix: str,
        people: Sequence[Person],
        numbers: Sequence[int],
        found: Sequence[Found],
    ) -> list[dict[str, Any]]:
        return [
            write_person(
                folder, f"{prefix}person-{number:02d}", person, number, one.score,
                self._config.meshes,
            )
            for person, number, one in zip(people, numbers, found, strict=True)
        ]  # fmt: skip

    def _close(
        self, folder: str, url: str, image: Bytes, frames: list[dict[str, Any]], overlay: str
    ) -> None:
        height_px, width_px = image.shape[:2]
        camera = usual_camera(width_px, height_px, self._config.focal_px)
        about = {
            **self._about, "source": url, "width_px": width_px, "height_px": height_px,
            "pixels_from_cam": camera.tolist(), "overlay": overlay,
        }  # fmt: skip
        write_predictions(folder, about, frames)


def _read(url: str) -> Bytes:
    """An image's RGB pixels. Raises ValueError, naming the whole path, where it cannot be read."""
    try:
        return read_rgb(url)
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from None


def _folder_names(inputs: Sequence[str]) -> list[str]:
    """A folder for each input, named after it; those of one name are numbered."""
    names: list[str] = []
    for url in inputs:
        stem = name = PurePosixPath(url).stem or "input"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
