"""Human3.6M in both layouts: as released (CDF, XML, videos) and as mmpose prepares it."""

import pickle
import shutil
from pathlib import Path

import cdflib
import numpy as np
import pytest
from cdflib.cdfwrite import CDF as CDFWriter

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    TrueCamera,
    body,
    camera_at,
    check_person,
    each_frame,
    list_dataset,
    picture,
    write_image,
    write_video,
)

IDS = ("54138969", "55011271", "58860488", "60457274")
SUBJECTS = ("S1", "S5", "S9")
NUM_FRAMES = 3
HAS = range(5, 17)  # shoulders to ankles; the face has no joints of COCO's
H36M_32_FROM_17 = {
    1: 12,
    2: 14,
    3: 16,
    6: 11,
    7: 13,
    8: 15,
    17: 5,
    18: 7,
    19: 9,
    25: 6,
    26: 8,
    27: 10,
}
JOINTS_17 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]


def angles_of(rotation: np.ndarray) -> tuple[float, float, float]:
    """a, b, c with rotation = Rx(a) Ry(b) Rz(c), by the formula of the product's entries."""
    b = np.arcsin(rotation[0, 2])
    a = np.arctan2(-rotation[1, 2], rotation[2, 2])
    return a, b, np.arctan2(-rotation[0, 1], rotation[0, 0])


def camera_of(subject: str, camera_id: str) -> TrueCamera:
    place = IDS.index(camera_id)
    camera = camera_at(30 + 85 * place + 7 * int(subject[1:]), distorted=False)
    k1, k2, k3 = 0.06, -0.03, 0.01 * place  # small tangential terms: conventions differ in them
    bent = np.array([k1, k2, 1e-6, -1e-6, k3])
    return TrueCamera(camera.K, camera.R, camera.t, bent)


def joints_32(frame: int) -> np.ndarray:
    truth = body(frame)
    joints = np.tile(truth[[11, 12]].mean(0), (32, 1))
    for place, ours in H36M_32_FROM_17.items():
        joints[place] = truth[ours]
    return joints


def write_cdf(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = CDFWriter(str(path), cdf_spec={"Majority": "row_major", "Encoding": "ibmpc"})
    spec = {
        "Variable": "Pose", "Data_Type": cdflib.cdfwrite.CDF.CDF_DOUBLE, "Num_Elements": 1,
        "Rec_Vary": True, "Dim_Sizes": list(values.shape[1:]), "Var_Type": "zVariable",
        "Sparse": "no_sparse",
    }  # fmt: skip
    writer.write_var(spec, var_data=values)
    writer.close()


def write_metadata(path: Path) -> None:
    extrinsics, intrinsics = [], []
    for camera_id in IDS:
        for number in range(1, 12):
            camera = camera_of(f"S{number}", camera_id)
            extrinsics += [*angles_of(camera.R), *(camera.centre * 1000)]
        k1, k2, p1, p2, k3 = camera.distortion
        K = camera.K
        intrinsics += [K[0, 0], K[1, 1], K[0, 2], K[1, 2], k1, k2, k3, p1, p2]
    numbers = " ".join(repr(float(value)) for value in [*extrinsics, *intrinsics])
    ids = "".join(f"<id>{camera_id}</id>" for camera_id in IDS)
    path.write_text(
        f'<?xml version="1.0"?>\n<H36M><dbcameras><index2id>{ids}</index2id></dbcameras>'
        f"<w0>[{numbers}]</w0></H36M>"
    )


def write_raw(root: Path) -> Path:
    write_metadata(root / "metadata.xml")
    for subject in SUBJECTS:
        for camera_id in IDS[:2]:
            camera = camera_of(subject, camera_id)
            world = np.array([joints_32(f) for f in range(NUM_FRAMES)])
            pixels = np.array([camera.project(points) for points in world])
            mono = (world @ camera.R.T + camera.t) * 1000
            features = root / subject / "MyPoseFeatures"
            name = f"Directions 1.{camera_id}"
            write_cdf(features / f"D2_Positions/{name}.cdf", pixels.reshape(1, NUM_FRAMES, 64))
            write_cdf(features / f"D3_Positions_mono/{name}.cdf", mono.reshape(1, NUM_FRAMES, 96))
            images = [picture(f, [camera.project(body(f))]) for f in range(NUM_FRAMES)]
            write_video(root / subject / f"Videos/{name}.mp4", images, 50)
            shutil.copy(
                root / subject / f"Videos/{name}.mp4",
                root / subject / f"Videos/_ALL.{camera_id}.mp4",
            )
    return root


def write_mmpose(root: Path) -> Path:
    folder = root / "annotation_body3d"
    (folder / "fps50").mkdir(parents=True)
    cameras = {}
    for subject in SUBJECTS:
        for camera_id in IDS:
            camera = camera_of(subject, camera_id)
            k1, k2, p1, p2, k3 = camera.distortion
            cameras[subject, camera_id] = {
                "R": camera.R.T, "T": camera.centre[:, None], "w": 320, "h": 240,
                "f": np.diag(camera.K)[:2, None], "c": camera.K[:2, 2:], "id": camera_id,
                "k": np.array([[k1], [k2], [k3]]), "p": np.array([[p1], [p2]]), "name": "camera1",
            }  # fmt: skip
    (folder / "cameras.pkl").write_bytes(pickle.dumps(cameras))
    for split, subjects in (("train", ("S1", "S5")), ("test", ("S9",))):
        names, centers, scales, parts, joints = [], [], [], [], []
        for subject in subjects:
            for camera_id in IDS[:2]:
                camera = camera_of(subject, camera_id)
                for f in range(NUM_FRAMES):
                    base = f"{subject}_Directions_1.{camera_id}"
                    names.append(f"{subject}/{base}/{base}_{f + 1:06d}.jpg")
                    world = joints_32(f)[JOINTS_17]
                    pixels = camera.project(world)
                    low, high = pixels.min(0), pixels.max(0)
                    centers.append((low + high) / 2)
                    scales.append(1.2 * (high - low).max() / 200)
                    parts.append(np.column_stack([pixels, np.ones(17)]))
                    joints.append(np.column_stack([world @ camera.R.T + camera.t, np.ones(17)]))
                    image = picture(f + 1, [camera.project(body(f))])
                    write_image(root / "images" / names[-1], image)
        np.savez(
            folder / f"fps50/h36m_{split}.npz",
            imgname=np.array(names), center=np.array(centers), scale=np.array(scales),
            part=np.array(parts), S=np.array(joints),
        )  # fmt: skip
    return root


@pytest.fixture(scope="module", params=["raw", "mmpose"])
def layout(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """A root, and the number of its first frame."""
    root = tmp_path_factory.mktemp(request.param)
    return (write_raw(root), 0) if request.param == "raw" else (write_mmpose(root), 1)


def test_cameras_and_joints_agree_in_both_layouts(layout: tuple[Path, int]) -> None:
    root, first = layout
    listing = list_dataset("human36m", root)
    assert [(c.name, c.subject) for c in listing.captures] == [
        ("S1/Directions_1", "S1"),
        ("S5/Directions_1", "S5"),
    ]
    assert listing.excluded == (
        ("S9/Directions_1", "evaluation", "S9 is a test subject of human36m"),
    )
    assert listing.problems == ()
    for capture in listing.captures:
        subject = str(capture.subject)

        def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
            [person] = people
            truth = body(frame.index - first)
            pixels = camera_of(subject, view.name).project(truth)  # noqa: B023
            check_person(person, pixels, HAS, truth, view)
            assert person.identity == subject  # noqa: B023

        numbers = each_frame(capture, check)
        assert numbers == {name: [first + f for f in range(NUM_FRAMES)] for name in IDS[:2]}


def test_a_broken_cdf_costs_its_view(tmp_path: Path) -> None:
    root = write_raw(tmp_path)
    poses = root / "S1/MyPoseFeatures"
    (poses / f"D2_Positions/Directions 1.{IDS[0]}.cdf").write_bytes(b"not a CDF")
    (root / f"S5/MyPoseFeatures/D3_Positions_mono/Directions 1.{IDS[1]}.cdf").unlink()
    listing = list_dataset("human36m", root)
    assert [len(c.views) for c in listing.captures] == [1, 1]
    errors = {problem.unit: problem.error for problem in listing.problems}
    assert "is not a CDF file that can be read" in errors[f"S1/Directions_1/{IDS[0]}"]
    assert errors[f"S5/Directions_1/{IDS[1]}"].endswith(".cdf is not there")


def test_arrays_of_objects_are_not_read(tmp_path: Path) -> None:
    root = write_mmpose(tmp_path)
    for split in ("train", "test"):
        path = root / f"annotation_body3d/fps50/h36m_{split}.npz"
        np.savez(path, imgname=np.array([{"no": "name"}], dtype=object))
    with pytest.raises(ValueError, match=r"h36m_train\.npz: .*allow_pickle"):
        list_dataset("human36m", root)
