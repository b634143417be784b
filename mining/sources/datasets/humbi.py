"""HUMBI: hundreds of people, each filmed by up to 107 calibrated cameras, in metres.

    subject_{n}/{body,hand}/intrinsic.txt, extrinsic.txt     three lines, then rows for each camera
    subject_{n}/body/{frame:08d}/image/image{camera:07d}.jpg         whole frames
    subject_{n}/body/{frame:08d}/reconstruction/keypoints.txt        25 x 3, as OpenPose orders them
    subject_{n}/hand/{frame:08d}/image_cropped/{left,right}/image{camera:07d}.png and list.txt
    subject_{n}/hand/{frame:08d}/reconstruction/keypoints_{l,r}.txt  21 x 3

Hands come as windows cut out of 1920 x 1080 frames and resized, another window in every frame. They
are put back where list.txt says, into a black frame, so that one camera holds for all.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.base import Detection, Part, View
from mining.sources.datasets.joints import BODY25, HAND21, reorder
from mining.sources.datasets.parsing import array, file_name, kept, read_lines, reading
from mining.sources.datasets.people import projected_person
from mining.sources.datasets.source import LeftOut, Recording
from mining.sources.datasets.view import READER, AnnotatedView, Tile, fingerprint_of, view_uri

SIZE_PX = (1920, 1080)
SIDES: tuple[tuple[str, str, Part], ...] = (
    ("left", "l", "left_hand"),
    ("right", "r", "right_hand"),
)
Window = tuple[float, float, float, float]


class Humbi:
    """Implements `Adapter`."""

    licence = "HUMBI: non-commercial research only"
    known_by = "subject_N/body/ or subject_N/hand/"
    options: Mapping[str, Any] = {"sessions": ["body", "hand"], "fps": 60.0}

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """See Adapter. Each session of a subject is a capture."""
        for folder in storage.list_folders(root):
            subject = file_name(folder)
            if not re.fullmatch(r"subject_\d+", subject):
                continue
            for session in options["sessions"]:
                if storage.exists(f"{folder}/{session}"):
                    yield Recording(
                        name=f"{subject}/{session}",
                        uri=f"{folder}/{session}",
                        views=partial(_views, root, subject, session, options["fps"]),
                        annotated=("body",) if session == "body" else ("hands",),
                        subject=subject,
                    )

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """See Adapter. Time 0 is the session's first frame in any camera."""
        session, number = place["session"], int(place["camera"])
        folder = f"{root}/{place['subject']}/{session}"
        camera = _cameras(folder)[number]
        frames = _frames(folder)
        shown = {frame: tiles[number] for frame, tiles in frames.items() if number in tiles}
        indices = np.array(sorted(shown), dtype=np.int64)

        def people(at: int) -> tuple[Detection, ...]:
            frame = int(indices[at])
            known = f"{folder}/{frame:08d}/reconstruction"
            given: dict[str, Any] = {"size_px": SIZE_PX, "identity": place["subject"]}
            if session == "body":
                bodies = [_person(f"{known}/keypoints.txt", 25, BODY25, camera, **given)]
            else:
                bodies = [
                    _person(
                        f"{known}/keypoints_{letter}.txt", 21, HAND21, camera, part=part, **given
                    )
                    for side, letter, part in SIDES
                    if any(f"/image_cropped/{side}/" in tile.file for tile in shown[frame])
                ]
            return tuple(person for person in bodies if person is not None)

        return AnnotatedView(
            indices=indices,
            people=people,
            tiles=[shown[int(frame)] for frame in indices],
            fps=float(place["fps"]),
            first=min(frames),
            num_frames=max(frames) - min(frames) + 1,
            size_px=SIZE_PX if session == "hand" else None,
        )


def _views(root: str, subject: str, session: str, fps: float) -> Iterable[View | LeftOut]:
    folder = f"{root}/{subject}/{session}"
    cameras, frames = _cameras(folder), _frames(folder)
    if not frames:
        raise ValueError(f"{subject}/{session} holds no images with a reconstruction")
    marks = [storage.fingerprint(f"{folder}/{kind}.txt") for kind in ("intrinsic", "extrinsic")]
    shown = sorted({number for tiles in frames.values() for number in tiles})
    for number in shown:
        if number not in cameras:
            yield f"{subject}/{session}/{number}", "no_calibration", "the dataset calibrated it not"
            continue
        files = [tile.file for tiles in frames.values() for tile in tiles.get(number, ())]
        names = ["/".join(file.split("/")[-4:]) for file in files]
        place = {"subject": subject, "session": session, "camera": number, "fps": fps}
        yield View(
            name=f"camera {number}",
            uri=view_uri("humbi", root, place),
            reader=READER,
            fingerprint=fingerprint_of([*marks, *names], files),
            camera=cameras[number],
        )


@kept(4)
def _cameras(folder: str) -> dict[int, Camera]:
    """The cameras by number: x = K R (X - centre)."""
    intrinsics = _blocks(f"{folder}/intrinsic.txt", 4)
    cameras = {}
    for number, rows in _blocks(f"{folder}/extrinsic.txt", 5).items():
        if number in intrinsics:
            world_from_cam = np.eye(4)
            world_from_cam[:3, :3] = rows[1:].T
            world_from_cam[:3, 3] = rows[0]
            cameras[number] = Camera(
                intrinsics=intrinsics[number], world_from_cam=world_from_cam, size_px=SIZE_PX
            )
    return cameras


def _blocks(url: str, num_lines: int) -> dict[int, NDArray[np.float64]]:
    """The rows of numbers after each camera's line "0 number"."""
    with reading("/".join(url.split("/")[-3:])):
        lines = [line.split() for line in read_lines(url)[3:]]
        return {
            int(lines[k][1]): array(lines[k + 1 : k + num_lines], (num_lines - 1, 3), "a camera")
            for k in range(0, len(lines), num_lines)
        }


@kept(4)
def _frames(folder: str) -> dict[int, dict[int, tuple[Tile, ...]]]:
    """By frame and camera: the images of frames that have a reconstruction."""
    found: dict[int, dict[int, tuple[Tile, ...]]] = {}
    for frame in storage.list_folders(folder):
        if not file_name(frame).isdigit():
            continue
        there = {file_name(file) for file in storage.list_files(f"{frame}/reconstruction")}
        tiles: dict[int, tuple[Tile, ...]] = {}
        if "keypoints.txt" in there:
            for file in storage.list_files(f"{frame}/image"):
                if name := re.fullmatch(r"image(\d+)\.(?:jpg|png)", file_name(file)):
                    tiles[int(name.group(1))] = (Tile(file=file),)
        for side, letter, _ in SIDES:
            if f"keypoints_{letter}.txt" in there:
                for number, tile in _windows(f"{frame}/image_cropped/{side}"):
                    tiles[number] = (*tiles.get(number, ()), tile)
        if tiles:
            found[int(file_name(frame))] = tiles
    return found


def _windows(folder: str) -> Iterator[tuple[int, Tile]]:
    """The cut-out images of a folder that list.txt knows; its windows include their last pixel."""
    windows: dict[int, Window] = {}
    files = storage.list_files(folder)
    if f"{folder}/list.txt" in files:
        with reading("/".join(f"{folder}/list.txt".split("/")[-5:])):
            for line in read_lines(f"{folder}/list.txt"):
                number, x0, x1, y0, y1 = (float(text) for text in re.split(r"[\s,]+", line))
                windows[int(number)] = (x0, y0, x1 + 1, y1 + 1)
    for file in files:
        name = re.fullmatch(r"image(\d+)\.(?:png|jpg)", file_name(file))
        if name and int(name.group(1)) in windows:
            yield int(name.group(1)), Tile(file=file, window_px=windows[int(name.group(1))])


def _person(
    url: str, num_joints: int, order: tuple[int, ...], camera: Camera, **given: Any
) -> Detection | None:
    with reading("/".join(url.split("/")[-5:])):
        rows = [line.split() for line in read_lines(url)]
        joints = reorder(array(rows, (num_joints, 3), "keypoints"), order)
    joints[(joints == 0).all(axis=1)] = np.nan
    return projected_person(
        camera, joints, np.where(np.isfinite(joints).all(axis=1), 1.0, 0.0), **given
    )
