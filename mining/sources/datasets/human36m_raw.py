"""Human3.6M as released:

{subject}/Videos/{action}.{camera}.mp4
{subject}/MyPoseFeatures/D2_Positions/{action}.{camera}.cdf       Pose (1, N, 64), pixels
{subject}/MyPoseFeatures/D3_Positions_mono/{action}.{camera}.cdf  Pose (1, N, 96), millimetres
metadata.xml    w0: for each camera and subject three angles and the centre, then the lenses
"""

import xml.etree.ElementTree as ElementTree

import cdflib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from catalog import storage
from mining.geometry.cameras import Camera
from mining.sources.datasets.joints import HUMAN36M_32, reorder
from mining.sources.datasets.parsing import array, file_name, kept, reading
from mining.sources.datasets.poses36m import SIZES_PX, Poses36M, make_camera

MM = 0.001
NUM_SUBJECTS = 11
EXTRINSICS, INTRINSICS = 6, 9  # numbers of each


def sequences(root: str, rate: str) -> dict[tuple[str, str], list[str]]:
    """The cameras with a video, by subject and action. `rate` is mmpose's and not used."""
    found: dict[tuple[str, str], list[str]] = {}
    for folder in storage.list_folders(root):
        for path in storage.list_files(f"{folder}/Videos", ".mp4"):
            action, _, camera_id = file_name(path).removesuffix(".mp4").rpartition(".")
            if camera_id in SIZES_PX and not action.startswith("_ALL"):
                found.setdefault((file_name(folder), action), []).append(camera_id)
    return found


def poses(root: str, rate: str, subject: str, action: str, camera_id: str) -> Poses36M:
    """Read a camera's poses, one for every frame of its video."""
    name = f"{action}.{camera_id}"
    flat = f"{root}/{subject}/MyPoseFeatures/D2_Positions/{name}.cdf"
    mono = f"{root}/{subject}/MyPoseFeatures/D3_Positions_mono/{name}.cdf"
    keypoints, joints = _read_cdf(flat, 2), _read_cdf(mono, 3)
    if len(keypoints) != len(joints):
        raise ValueError(f"{name}.cdf: {len(keypoints)} poses in pixels, {len(joints)} in space")
    return Poses36M(
        indices=np.arange(len(keypoints)),
        keypoints_px=reorder(keypoints, HUMAN36M_32),
        joints_cam=reorder(joints, HUMAN36M_32) * MM,
        marks=(flat, mono, f"{root}/metadata.xml"),
        video=f"{root}/{subject}/Videos/{name}.mp4",
    )


def camera(root: str, subject: str, camera_id: str) -> Camera:
    """The camera of a subject's recordings: cam_from_world = Rx Ry Rz of the three angles."""
    with reading("metadata.xml"):
        numbers = _metadata(f"{root}/metadata.xml")
        place = list(SIZES_PX).index(camera_id)
        start = EXTRINSICS * (place * NUM_SUBJECTS + int(subject.removeprefix("S")) - 1)
        angles, centre_mm = numbers[start : start + 3], numbers[start + 3 : start + EXTRINSICS]
        start = EXTRINSICS * NUM_SUBJECTS * len(SIZES_PX) + INTRINSICS * place
        lens = numbers[start : start + INTRINSICS]
        rotation = Rotation.from_euler("XYZ", angles).as_matrix()
        return make_camera(
            camera_id, rotation, centre_mm * MM, lens[:2], lens[2:4], lens[4:7], lens[7:9]
        )


@kept(1)
def _metadata(url: str) -> NDArray[np.float64]:
    text = storage.read_text(url)
    if "<!" in text.replace("<!--", ""):
        raise ValueError("it declares a document type or entities, which none does")
    try:
        found = ElementTree.fromstring(text.lstrip()).findtext("w0")
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    numbers = np.array([float(text) for text in (found or "").strip().strip("[]").split()])
    expected = (EXTRINSICS * NUM_SUBJECTS + INTRINSICS) * len(SIZES_PX)
    if len(numbers) < expected:
        raise ValueError(f"<w0> has {len(numbers)} numbers, not {expected}")
    return numbers


@kept(8)
def _read_cdf(path: str, dims: int) -> NDArray[np.float64]:
    """The variable Pose as (N, 32, dims)."""
    name = "/".join(path.split("/")[-2:])
    if not storage.exists(path):
        raise ValueError(f"{name} is not there")
    try:
        pose = np.asarray(cdflib.CDF(path).varget("Pose"))
    except Exception as error:  # cdflib raises whatever broken bytes lead it to
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{name} is not a CDF file that can be read ({said})") from None
    return array(pose.reshape(-1, pose.shape[-1]), (-1, 32 * dims), name).reshape(-1, 32, dims)
