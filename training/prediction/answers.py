"""From a task's answer about a crop to one about the image that the crop was cut from.

What is in an answer tells what is done, so a new task need not be known here:

    *_m               places (..., 3) in the crop's camera: turned into the image's
    faces             (F, 3): of a mirrored hand the other way around, so that they still face out
    pose_rad          (J, 3), axes times angles: the first, of the whole body, is turned along
    shares_from_cam   (3, 3), the camera that was taken for granted, to shares of the crop's side:
                      left out, see below
    keypoints         (K, 3), x and y as shares of the crop's side: become `keypoints_px`, in pixels
                      of the image
    part, uv          (S, S) and (S, S, 2), maps of the crop: become `iuv` (H, W, 3) uint8, part, u
                      and v of each pixel of the image; `sureness` of a map is left out

A crop does not show its focal length, so an answer takes one for granted. What it says of size and
place in the crop holds for any: the body's depth is set in proportion to the true one.

All else is passed on. `pose_rad` of a left hand describes its mirror image, a right hand, as labels
do; places and pixels are mirrored back.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from training.loading.placed import Bytes, Floats
from training.prediction.crops import PersonCrop

LEFT_OUT = ("shares_from_cam", "part", "uv", "sureness")


def answer_in_image(
    answer: Mapping[str, Any], crop: PersonCrop, height_px: int, width_px: int
) -> dict[str, Any]:
    """The answer about the image of `height_px` x `width_px`."""
    moved: dict[str, Any] = {}
    further_m = _further(answer, crop)
    for name, value in answer.items():
        if name.endswith("_m"):
            moved[name] = crop.to_image_camera(np.asarray(value) + further_m)
        elif name == "faces":
            faces = np.asarray(value)
            moved[name] = np.ascontiguousarray(faces[:, ::-1]) if crop.mirrored else faces
        elif name == "pose_rad":
            moved[name] = _turn_pose(np.asarray(value), crop)
        elif name == "keypoints":
            keypoints = np.asarray(value)
            places_px = crop.to_image_px(keypoints[:, :2] * crop.pixels_HW3.shape[0])
            moved["keypoints_px"] = np.column_stack([places_px, keypoints[:, 2:]])
        elif name not in LEFT_OUT:
            moved[name] = value
    if "part" in answer and "uv" in answer:
        moved["iuv"] = _map_in_image(answer, crop, height_px, width_px)
    return moved


def _turn_pose(pose_rad: Floats, crop: PersonCrop) -> Floats:
    turned = np.array(pose_rad, np.float64)
    whole_33 = crop.camera.turned.T @ cv2.Rodrigues(turned[0])[0]
    turned[0] = cv2.Rodrigues(whole_33)[0].ravel()
    return turned


def _further(answer: Mapping[str, Any], crop: PersonCrop) -> Floats:
    """How much further away the body is by the crop's true focal length than by the one taken for
    granted: a way along the crop's z, (3,), in metres.
    """
    if "shares_from_cam" not in answer or "root_m" not in answer:
        return np.zeros(3)
    side_px = crop.pixels_HW3.shape[0]
    assumed = np.diag([side_px, side_px, 1.0]) @ np.asarray(answer["shares_from_cam"])
    true_px = _focal_px(crop.camera.pixels_from_cam, side_px / 2)
    times = true_px / _focal_px(assumed, side_px / 2)
    return np.array([0.0, 0.0, (times - 1) * np.asarray(answer["root_m"])[2]])


def _focal_px(pixels_from_cam: Floats, centre_px: float) -> float:
    """The focal length at an image's centre, where its camera looks."""
    slopes = (pixels_from_cam[:2, :2] - centre_px * pixels_from_cam[2:, :2]) / pixels_from_cam[2, 2]
    return float(np.sqrt(abs(np.linalg.det(slopes))))


def _map_in_image(
    answer: Mapping[str, Any], crop: PersonCrop, height_px: int, width_px: int
) -> Bytes:
    """Part, u and v of each pixel of the image, (H, W, 3); 0 outside of the crop. Nothing is
    blended: between two parts there is none.
    """
    part = np.asarray(answer["part"], np.uint8)
    uv = np.round(np.asarray(answer["uv"]) * 255).clip(0, 255).astype(np.uint8)
    shrunk = len(part) / crop.pixels_HW3.shape[0]
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # from a pixel's corner to its centre
    map_from_image = np.diag([shrunk, shrunk, 1.0]) @ crop.crop_from_image
    centres = np.linalg.inv(half) @ map_from_image @ half
    method, size = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, (width_px, height_px)
    iuv = np.dstack([part, np.where(part[..., None] > 0, uv, 0).astype(np.uint8)])
    return np.asarray(cv2.warpAffine(iuv, centres[:2], size, flags=method), np.uint8)
