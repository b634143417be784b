"""A labelled sample on a contact sheet: keypoints, joints as the camera projects them, parts in
colours. What is mirrored, swapped or of somebody else is seen at once.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from shards.labels import SIDES, Array, ImageLabel, Label

Image = npt.NDArray[np.uint8]  # (height, width, 3), BGR

SEEN_BGR, HIDDEN_BGR, JOINT_BGR = (0, 255, 255), (0, 128, 255), (255, 64, 0)
SEEN = 0.75  # confidence from which a keypoint counts as in plain sight


def draw_label(label: Label, images: Mapping[str, Image], size_px: int) -> Image:
    """Two squares side by side: the image with its keypoints and the same with its dense labels;
    of two views each one's keypoints. `images` are decoded, by the ending of their file.
    """
    squares = []
    for side, image in zip(SIDES[label.kind], label.images, strict=True):
        pixels = images[f"{side}.jpg"]
        squares.append(_with_keypoints(_resized(pixels, size_px), image, size_px / len(pixels)))
    if label.kind == "single":
        pixels = images["a.jpg"]
        dense = _with_map(pixels, images.get("a.iuv.png"))
        square = _resized(dense, size_px)
        squares.append(_with_points(square, label.images[0], size_px / len(pixels)))
    return np.hstack(squares)


def title(label: Label) -> str:
    """The line above a sample."""
    body = label.images[0].body
    parts = [label.kind, label.part, label.label_id[:8], label.gesture, body and body.model]
    return "  ".join(part for part in parts if part)


def _resized(pixels: Image, size_px: int) -> Image:
    return np.asarray(
        cv2.resize(pixels, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8
    )


def _with_keypoints(pixels: Image, image: ImageLabel, grown: float) -> Image:
    for x, y, confidence in image.keypoints_px.tolist():
        if confidence > 0:
            colour = SEEN_BGR if confidence >= SEEN else HIDDEN_BGR
            cv2.circle(pixels, _at(x, y, grown), 2, colour, -1, cv2.LINE_AA)
    if image.joints_cam_m is not None and image.pixels_from_cam is not None:
        for x, y in _projected(image.joints_cam_m, image.pixels_from_cam):
            cv2.circle(pixels, _at(x, y, grown), 1, JOINT_BGR, -1)
    return pixels


def _projected(joints_cam_m: Array, pixels_from_cam: Array) -> list[list[float]]:
    ahead = joints_cam_m[(joints_cam_m[:, 3] > 0) & (joints_cam_m[:, 2] > 0), :3]
    pixels = ahead @ pixels_from_cam.T
    places: list[list[float]] = (pixels[:, :2] / pixels[:, 2:]).tolist()
    return places


def _with_map(pixels: Image, iuv_bgr: Image | None) -> Image:
    if iuv_bgr is None:
        return pixels
    v, u, part = np.moveaxis(iuv_bgr, 2, 0)
    colours = np.stack([u, v, _hue(part)], axis=2)
    mixed = np.where(part[..., None] > 0, colours // 2 + pixels // 2, pixels)
    return np.asarray(mixed, np.uint8)


def _with_points(pixels: Image, image: ImageLabel, grown: float) -> Image:
    for x, y, part, u, v in [] if image.dense_points is None else image.dense_points.tolist():
        colour = (round(255 * u), round(255 * v), int(_hue(np.array(part))))
        cv2.circle(pixels, _at(x, y, grown), 2, colour, -1)
    return pixels


def _hue(part: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """A shade for each part that differs from its neighbours'."""
    return (np.asarray(part, np.int64) * 97 % 256).astype(np.uint8)


def _at(x: float, y: float, grown: float) -> tuple[int, int]:
    limit = 1 << 14  # beyond it OpenCV wraps around
    return (
        int(np.clip(round(x * grown), -limit, limit)),
        int(np.clip(round(y * grown), -limit, limit)),
    )
