"""A small world with known truth for the fixtures: people and hands in space, cameras around them,
and the pinhole's formula written out, so that nothing here leans on the code under test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mining.decoding.readers import Readers
from mining.decoding.video import DecodeConfig
from mining.sources.base import Capture, DatasetSpec, Detection, Frame, Listing, Reader, View
from mining.sources.registry import make_source
from tests.skeletons import STANDING_M

Array = NDArray[np.float64]
SIZE_PX = (320, 240)
MARK_PX = 12  # side of the corner whose grey tells the frame's number


@dataclass(frozen=True)
class TrueCamera:
    """x = K distort(R X + t), metres; distortion k1, k2, p1, p2, k3."""

    K: Array
    R: Array
    t: Array
    distortion: Array
    size_px: tuple[int, int] = SIZE_PX

    @property
    def centre(self) -> Array:
        return -self.R.T @ self.t

    def project(self, points: Array) -> Array:
        cam = points @ self.R.T + self.t
        x, y = cam[:, 0] / cam[:, 2], cam[:, 1] / cam[:, 2]
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        u = self.K[0, 0] * bent_x + self.K[0, 2]
        v = self.K[1, 1] * bent_y + self.K[1, 2]
        return np.stack([u, v], axis=1)


def camera_at(
    angle_deg: float,
    distance_m: float = 4.0,
    target_m: Sequence[float] = (0.0, 0.0, 0.9),
    focal_px: float = 300.0,
    distorted: bool = True,
    size_px: tuple[int, int] = SIZE_PX,
) -> TrueCamera:
    """A camera on a ring around the target, a little above it, with z up in the world."""
    angle = np.radians(angle_deg)
    target = np.array(target_m)
    centre = target + distance_m * np.array([np.cos(angle), np.sin(angle), 0.2])
    ahead = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(ahead, right), ahead])
    intrinsics = np.array(
        [[focal_px, 0, size_px[0] / 2 + 3], [0, focal_px * 1.02, size_px[1] / 2 - 2], [0, 0, 1]]
    )
    bent = np.array([0.05, -0.02, 0.001, -0.002, 0.003]) if distorted else np.zeros(5)
    return TrueCamera(intrinsics, rotation, -rotation @ centre, bent, size_px)


def body(frame: int, person: int = 0) -> Array:
    """COCO's joints (17, 3) of a person in metres, z up, who turns and raises the arms."""
    joints = STANDING_M[:, [0, 2, 1]].copy()  # ahead becomes y, up becomes z
    joints[[7, 8, 9, 10], 2] += 0.1 * frame * np.array([1, 0.5, 2, 1])
    turn = 0.3 * frame + 0.8 * person
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    return joints @ rotation.T + [0.7 * person, 0.4 * person, 0.0]


def hand(frame: int, side: str) -> Array:
    """A hand's joints (21, 3) in metres: wrist, then each finger from base to tip."""
    points = [np.zeros(3)]
    for finger in range(5):
        for joint in range(4):
            spread = 0.022 * (finger - 2)
            length = 0.04 + 0.025 * joint * (0.6 if finger == 0 else 1.0)
            bend = 0.008 * joint * (1 + frame)
            points.append(np.array([spread * (1 + 0.2 * joint), bend, length]))
    joints = np.array(points)
    if side == "left":
        joints[:, 0] *= -1
    return joints + np.array([0.12 if side == "left" else -0.12, 0.01 * frame, 0.85])


def grey_of(frame: int) -> int:
    return 20 + 30 * (frame % 8)


def picture(frame: int, points_px: Sequence[Array], size_px: tuple[int, int] = SIZE_PX) -> Any:
    """A frame (H, W, 3) with what the points are drawn on; its corner tells its number."""
    rng = np.random.default_rng(7)
    small = rng.integers(60, 200, (size_px[1] // 16, size_px[0] // 16, 3)).astype(np.uint8)
    image = cv2.resize(small, size_px, interpolation=cv2.INTER_CUBIC)
    for k, points in enumerate(points_px):
        for i, (x, y) in enumerate(points):
            colour = ((70 * k + 12 * i) % 255, 255 - 11 * i, 40 + 9 * i)
            cv2.circle(image, (round(x), round(y)), 5, colour, -1)
        corners = np.round(points).astype(np.int32)
        cv2.polylines(image, [corners], False, (250, 20, 40), 2)
    image[:MARK_PX, :MARK_PX] = grey_of(frame)
    return image


def write_image(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def write_video(path: Path, images: Sequence[Any], fps: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = images[0].shape[1], images[0].shape[0]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def list_dataset(adapter: str, root: Path, **options: Any) -> Listing:
    spec = DatasetSpec(name=adapter, adapter=adapter, root=str(root), options=options)
    return make_source(adapter).captures(spec)


@cache
def reader() -> Reader:
    """One reader for all tests: each starts a decoding process of its own."""
    return Readers(DecodeConfig())["annotated"]


def read_frames(view: View) -> list[Frame]:
    """Every annotated frame of a view, in order."""
    assert view.reader == "annotated"
    info = reader().probe(view.uri)
    times_s = [index / info.fps for index in range(info.num_frames)]
    frames = list(reader().frames(view.uri, times_s))
    for frame in frames:
        corner = frame.image[2 : MARK_PX - 3, 2 : MARK_PX - 3]
        assert abs(float(corner.mean()) - grey_of(frame.index)) < 6, "the frame of another number"
        assert abs(frame.time_s - (frame.index - frames[0].index) / info.fps) < 1.001 / info.fps
    return frames


def check_person(
    person: Detection,
    keypoints_px: Array,
    has: Sequence[int],
    joints_world: Array | None = None,
    view: View | None = None,
) -> None:
    """The keypoints `has` are given and are the true ones; the view's camera shows them there."""
    assert np.flatnonzero(person.keypoints_px[:, 2] > 0).tolist() == sorted(has)
    given = list(has)
    assert np.abs(person.keypoints_px[given, :2] - keypoints_px[given]).max() < 0.5
    x0, y0, x1, y1 = person.box_px
    inside = (keypoints_px[given] >= [x0 - 1, y0 - 1]) & (keypoints_px[given] <= [x1 + 1, y1 + 1])
    assert inside.all() and x1 - x0 < 3 * np.ptp(keypoints_px[given, 0]) + 200
    if joints_world is not None:
        assert person.joints_world is not None
        assert np.abs(person.joints_world[given] - joints_world[given]).max() < 1e-3
        if view is not None:
            assert view.camera is not None
            shown = view.camera.project(person.joints_world[given])
            assert np.abs(shown - person.keypoints_px[given, :2]).max() < 0.5


def each_frame(
    capture: Capture, check: Callable[[View, Frame, tuple[Detection, ...]], None]
) -> dict[str, list[int]]:
    """Check every frame of a capture; the frame numbers of each view."""
    numbers: dict[str, list[int]] = {}
    for view in capture.views:
        frames = read_frames(view)
        numbers[view.name] = [frame.index for frame in frames]
        for frame in frames:
            assert frame.people is not None
            check(view, frame, frame.people)
    return numbers
