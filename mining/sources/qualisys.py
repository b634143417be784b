"""Cameras from a Qualisys calibration file (`*.qca.txt`, XML written by Qualisys Track Manager).

Conventions of the file, checked by reprojecting a person filmed by four cameras: intrinsics are in
1/64 pixel with integer pixel centres; `transform` holds the camera's axes in world coordinates, one
row each, and the camera's centre in millimetres; the camera looks along its negative z axis with y
up, so y and z turn round for OpenCV. A camera is known by its `serial`, which for video cameras is
free text: in Pose2Sim's demos it is the name of the video file (`cam01` to `cam04`, also their
order in the file).
"""

import xml.etree.ElementTree as ElementTree

import numpy as np

from mining.geometry.cameras import Camera

SUBPIXELS = 64.0  # the file's units for one pixel
ROTATION_TOLERANCE = (
    1e-3  # how far rows may be from orthonormal; the format keeps six digits or more
)


def read_qca(text: str) -> dict[str, Camera]:
    """Read every active camera of a calibration file, by serial, in the file's order.

    Raises ValueError, in one sentence, for text that is not such a file, for missing or bad
    numbers, for cameras that share a serial, and for rotated views, whose images this does not
    turn.
    """
    if "<!" in text.replace("<!--", ""):
        raise ValueError(
            "not a Qualisys calibration: it declares a document type or entities, which none does"
        )
    try:
        root = ElementTree.fromstring(text.lstrip())
    except ElementTree.ParseError as error:
        raise ValueError(
            f"not a Qualisys calibration: {error} (expected XML, as in Calib.qca.txt)"
        ) from None
    if root.tag != "calibration" or root.find("cameras/camera") is None:
        raise ValueError(
            f"not a Qualisys calibration: expected <calibration> with <cameras>, got <{root.tag}>"
        )
    cameras: dict[str, Camera] = {}
    for element in root.iterfind("cameras/camera"):
        if element.get("active", "1") == "0":
            continue
        serial = element.get("serial", "")
        if not serial or serial in cameras:
            raise ValueError(
                f"calibration: every camera needs its own serial, got {serial!r} again or empty"
            )
        cameras[serial] = _read_camera(element, serial)
    if not cameras:
        raise ValueError("calibration: every camera in the file is marked inactive")
    return cameras


def _read_camera(element: ElementTree.Element, serial: str) -> Camera:
    if element.get("viewrotation", "0") not in ("0", "0.0"):
        raise ValueError(
            f"calibration of camera {serial!r}: rotated views are not read, "
            "export with viewrotation 0"
        )
    view = element.find("fov_video_max")
    view = element.find("fov_video") if view is None else view
    left, top, right, bottom = _numbers(view, serial, "fov_video", "left", "top", "right", "bottom")
    intrinsic, transform = element.find("intrinsic"), element.find("transform")
    focal_x, focal_y, centre_x, centre_y = (
        value / SUBPIXELS
        for value in _numbers(
            intrinsic,
            serial,
            "intrinsic",
            "focalLengthU",
            "focalLengthV",
            "centerPointU",
            "centerPointV",
        )
    )
    skew, *distortion = _numbers(
        intrinsic,
        serial,
        "intrinsic",
        "skew",
        "radialDistortion1",
        "radialDistortion2",
        "tangentalDistortion1",
        "tangentalDistortion2",
        "radialDistortion3",
    )
    axes = np.array(
        _numbers(
            transform,
            serial,
            "transform",
            *(f"r{row}{column}" for row in "123" for column in "123"),
        )
    ).reshape(3, 3)
    centre_mm = np.array(_numbers(transform, serial, "transform", "x", "y", "z"))
    if focal_x <= 0 or focal_y <= 0 or right <= left or bottom <= top:
        raise ValueError(
            f"calibration of camera {serial!r}: focal length and image size must be positive"
        )
    if np.abs(axes @ axes.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(axes) < 0:
        raise ValueError(f"calibration of camera {serial!r}: r11 to r33 are no rotation")
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = axes.T @ np.diag([1.0, -1.0, -1.0])
    world_from_cam[:3, 3] = centre_mm / 1000.0
    intrinsics = np.array(
        [
            [focal_x, skew / SUBPIXELS, centre_x - left + 0.5],
            [0, focal_y, centre_y - top + 0.5],
            [0, 0, 1],
        ]
    )
    return Camera(
        intrinsics=intrinsics,
        world_from_cam=world_from_cam,
        distortion=np.array(distortion, dtype=np.float64),
        size_px=(int(right - left) + 1, int(bottom - top) + 1),
    )


def _numbers(
    element: ElementTree.Element | None, serial: str, name: str, *keys: str
) -> list[float]:
    try:
        values = [float(element.attrib[key]) for key in keys] if element is not None else []
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"calibration of camera {serial!r}: <{name}> lacks a number ({error})"
        ) from None
    if not values or not np.isfinite(values).all():
        raise ValueError(f"calibration of camera {serial!r}: <{name}> is missing or not finite")
    return values
