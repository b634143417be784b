"""A labelled image as the model sees it: scaled, shifted, turned, perhaps mirrored; and how its
labels follow.

Crops are cut anywhere in a camera's image, so the same body looks different to a model that does
not know where. Therefore every image gets a camera of its own that looks at its centre, with the
image's x to its right. Turning an image or mirroring it turns or mirrors that camera, so labels in
space stay true to the pixels. A label's camera that is not known is taken to look at the middle of
its image: that is what is said of bodies and joints without one.

Shapes: K keypoints, H = W = image_px.
"""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from shards.labels import ImageLabel

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]

MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the model's image lies in the stored one; all that chance decides of its geometry."""

    zoom: float = 1.0  # model pixels for each stored one, over what shows the whole image
    shift_x: float = 0.0  # of the window's centre, as a share of the stored image's side
    shift_y: float = 0.0
    turn_deg: float = 0.0  # of the picture, clockwise
    mirrored: bool = False  # left and right exchanged, before all else

    def matrix(self, stored_px: int, image_px: int) -> Floats:
        """The model's pixels from the stored ones, (3, 3), homogeneous."""
        scale = self.zoom * image_px / stored_px
        cosine, sine = np.cos(np.radians(self.turn_deg)), np.sin(np.radians(self.turn_deg))
        centre = stored_px * np.array([0.5 + self.shift_x, 0.5 + self.shift_y])
        turned = scale * np.array([[cosine, -sine], [sine, cosine]])
        matrix = np.eye(3)
        matrix[:2, :2] = turned
        matrix[:2, 2] = image_px / 2 - turned @ centre
        if self.mirrored:
            matrix = matrix @ np.array([[-1, 0, stored_px], [0, 1, 0], [0, 0, 1.0]])
        return matrix


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The camera that looks at the centre of a model's image, without distortion."""

    pixels_from_cam: Floats  # (3, 3): of the model's image
    turned: Floats  # (3, 3): its axes from those of the label's camera (mirrored where it is)


@dataclass(kw_only=True)
class Placed:
    """One image of a sample, placed; targets of tasks are made from it."""

    label: ImageLabel
    placement: Placement
    stored_px: int
    image_px: int
    iuv: Bytes | None = None  # (stored_px, stored_px, 3): part, u, v of each stored pixel
    _matrix: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._matrix = self.placement.matrix(self.stored_px, self.image_px)

    def warp(self, image: Bytes, interpolation: int = cv2.INTER_LINEAR) -> Bytes:
        """Sample the stored image (or map) at the model's pixels, (H, W, C); 0 outside of it."""
        matrix, scale = self._matrix, np.sqrt(abs(np.linalg.det(self._matrix[:2, :2])))
        if scale < 1 and interpolation == cv2.INTER_LINEAR:  # each stored pixel has its share
            smaller_px = max(1, round(scale * self.stored_px))
            image = cv2.resize(image, (smaller_px, smaller_px), interpolation=cv2.INTER_AREA)
            grown = self.stored_px / smaller_px
            matrix = matrix @ np.diag([grown, grown, 1.0])
        # Pixel centres are half a pixel from the corners that positions are counted from.
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        matrix = np.linalg.inv(half) @ matrix @ half
        size = (self.image_px, self.image_px)
        return np.asarray(cv2.warpAffine(image, matrix[:2], size, flags=interpolation), np.uint8)

    def dense_map(self) -> Bytes | None:
        """Part, u and v of each model pixel, (H, W, 3), without blending; None: not labelled."""
        return None if self.iuv is None else self.warp(self.iuv, cv2.INTER_NEAREST)

    def points_px(self, stored_px: Floats) -> Floats:
        """Where points (..., 2) of the stored image lie in the model's."""
        moved = stored_px @ self._matrix[:2, :2].T + self._matrix[:2, 2]
        return np.asarray(moved)

    def keypoints_px(self) -> Floats:
        """The 2D keypoints in the model's image, (K, 3): x, y, confidence."""
        keypoints = self.label.keypoints_px
        return np.column_stack([self.points_px(keypoints[:, :2]), keypoints[:, 2]])

    def person_side_px(self) -> float:
        """The longer side of the person's box, in the model's pixels."""
        x0, y0, x1, y1 = self.label.person_box_px
        scale = np.sqrt(abs(np.linalg.det(self._matrix[:2, :2])))
        return float(max(x1 - x0, y1 - y0) * scale)

    def camera(self) -> Camera | None:
        """The camera of the model's image; None where the label has none."""
        if self.label.pixels_from_cam is None:
            return None
        pixels_from_cam = self._matrix @ self.label.pixels_from_cam
        if self.placement.mirrored:
            pixels_from_cam = pixels_from_cam @ MIRROR
        cam_from_pixels = np.linalg.inv(pixels_from_cam)
        ahead = cam_from_pixels @ np.array([self.image_px / 2, self.image_px / 2, 1.0])
        ahead *= np.sign(ahead[2]) / np.linalg.norm(ahead)
        right = cam_from_pixels @ np.array([1.0, 0, 0])
        right -= (right @ ahead) * ahead
        right /= np.linalg.norm(right)
        turned = np.stack([right, np.cross(ahead, right), ahead])
        of_turned = pixels_from_cam @ turned.T
        return Camera(pixels_from_cam=of_turned / of_turned[2, 2], turned=turned)

    def turned(self) -> Floats:
        """The axes of the model's camera from those of the label's (mirrored where it is)."""
        camera = self.camera()
        if camera is not None:
            return camera.turned
        turn = np.radians(self.placement.turn_deg)
        return cv2.Rodrigues(np.array([0.0, 0.0, turn]))[0]

    def joints_cam_m(self) -> Floats | None:
        """The 3D keypoints in the model's camera, (K, 4): x, y, z, confidence; None: unknown."""
        joints = self.label.joints_cam_m
        if joints is None:
            return None
        places = joints[:, :3] @ MIRROR if self.placement.mirrored else joints[:, :3]
        return np.column_stack([places @ self.turned().T, joints[:, 3]])

    def body_pose(self) -> tuple[Floats, Floats, Floats] | None:
        """The body in the model's camera: rotations (J, 3, 3), shape (S,), translation in metres
        (3,), which has no meaning without the label's camera; None where the body is unknown.

        A left hand's describes its mirror image, so it goes with a mirrored placement only.
        """
        body, turned = self.label.body, self.turned()
        if body is None:
            return None
        rotations = np.stack([cv2.Rodrigues(vector)[0] for vector in body.pose_rad])
        rotations[0] = turned @ rotations[0]
        return rotations, body.shape, turned @ body.translation_m
