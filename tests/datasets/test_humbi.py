"""HUMBI: text files in metres, whole frames of bodies, windows cut out of frames for hands."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    TrueCamera,
    body,
    camera_at,
    check_person,
    each_frame,
    grey_of,
    hand,
    list_dataset,
    picture,
    reader,
    write_image,
)

SIZE_PX = (1920, 1080)
BODY_CAMERAS = {
    n: camera_at(a, 3.0, (0, 0, 0.9), 1300.0, False, SIZE_PX) for n, a in ((0, 20), (24, 75))
}
HAND_CAMERAS = {
    n: camera_at(a, 0.8, (0, 0, 0.9), 1400.0, False, SIZE_PX) for n, a in ((4, 60), (31, 110))
}
BODY_FRAMES, HAND_FRAMES = (1, 61), (1, 2)
ONE_HANDED = (2, 31, "right")  # in this frame and camera the right hand was not cut out
BODY25_FROM_17 = [0, None, 6, 8, 10, 5, 7, 9, None, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]


def write_cameras(folder: Path, cameras: dict[int, TrueCamera]) -> None:
    folder.mkdir(parents=True)
    header = f"Numcam: 107\nnumframes: {len(cameras)}\nnumP: {len(cameras)}\n"

    def rows(matrix: np.ndarray) -> str:
        return "".join(" ".join(f"{value:.10f}" for value in row) + "\n" for row in matrix)

    (folder / "intrinsic.txt").write_text(
        header + "".join(f"0 {n}\n{rows(camera.K)}" for n, camera in cameras.items())
    )
    (folder / "extrinsic.txt").write_text(
        header + "".join(f"0 {n}\n{rows(c.centre[None])}{rows(c.R)}" for n, c in cameras.items())
    )


def write_humbi(root: Path) -> Path:
    subject = root / "subject_82"
    write_cameras(subject / "body", BODY_CAMERAS)
    for f in BODY_FRAMES:
        truth = body(f % 10)
        joints = np.zeros((25, 3))
        for place, ours in enumerate(BODY25_FROM_17):
            joints[place] = truth[[5, 6]].mean(0) if ours is None else truth[ours]
        folder = subject / f"body/{f:08d}"
        (folder / "reconstruction").mkdir(parents=True)
        np.savetxt(folder / "reconstruction/keypoints.txt", joints)
        for n, camera in BODY_CAMERAS.items():
            image = picture(f, [camera.project(truth)], SIZE_PX)
            write_image(folder / f"image/image{n:07d}.jpg", image)
    write_cameras(subject / "hand", HAND_CAMERAS)
    for f in HAND_FRAMES:
        folder = subject / f"hand/{f:08d}"
        (folder / "reconstruction").mkdir(parents=True)
        for side in ("left", "right"):
            truth = hand(f, side)
            np.savetxt(folder / f"reconstruction/keypoints_{side[0]}.txt", truth)
            lines = []
            for n, camera in HAND_CAMERAS.items():
                if (f, n, side) == ONE_HANDED:
                    continue
                pixels = camera.project(truth)
                frame = picture(f, [pixels], SIZE_PX)
                x0, y0 = np.floor(pixels.min(0) - 20).astype(int)
                side_px = int(np.ptp(pixels, axis=0).max()) + 40 + 10 * (f % 3)
                x1, y1 = x0 + side_px - 1, y0 + side_px - 1  # the last pixel is included
                cut = cv2.resize(frame[y0 : y1 + 1, x0 : x1 + 1], (250, 250))
                cut[:4] = grey_of(f)
                write_image(folder / f"image_cropped/{side}/image{n:07d}.png", cut)
                lines.append(f"{n} {x0} {x1} {y0} {y1}\n")
            (folder / f"image_cropped/{side}/list.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_humbi(tmp_path_factory.mktemp("humbi"))


def test_bodies_agree_with_their_cameras(root: Path) -> None:
    [capture] = list_dataset("humbi", root, sessions=["body"]).captures
    assert capture.name == "subject_82/body" and capture.subject == "subject_82"

    def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
        [person] = people
        truth = body(frame.index % 10)
        camera = BODY_CAMERAS[int(view.name.split()[1])]
        check_person(person, camera.project(truth), range(17), truth, view)
        assert person.identity == "subject_82"

    assert each_frame(capture, check) == {"camera 0": [1, 61], "camera 24": [1, 61]}


def test_hands_are_put_back_where_they_were_cut_out(root: Path) -> None:
    [capture] = list_dataset("humbi", root, sessions=["hand"]).captures
    assert capture.annotated == ("hands",)
    for view in capture.views:
        number = int(view.name.split()[1])
        info = reader().probe(view.uri)
        assert (info.width_px, info.height_px) == SIZE_PX
        assert view.camera is not None and view.camera.for_images(*SIZE_PX)
        frames = list(reader().frames(view.uri, [0.0, 1 / 60]))
        assert [frame.index for frame in frames] == list(HAND_FRAMES)
        for frame in frames:
            assert frame.people is not None
            sides = [s for s in ("left", "right") if (frame.index, number, s) != ONE_HANDED]
            assert [person.part for person in frame.people] == [f"{side}_hand" for side in sides]
            for side, person in zip(sides, frame.people, strict=True):
                truth = hand(frame.index, side)
                pixels = HAND_CAMERAS[number].project(truth)
                check_person(person, pixels, range(21), truth, view)
                whole = picture(frame.index, [pixels], SIZE_PX)
                x, y = np.round(pixels.mean(0)).astype(int)
                here = frame.image[y - 40 : y + 40, x - 40 : x + 40].astype(float)
                assert np.abs(here - whole[y - 40 : y + 40, x - 40 : x + 40]).mean() < 12
                moved = whole[y - 36 : y + 44, x - 36 : x + 44]
                assert np.abs(here - moved).mean() > 20, "four pixels off would show"


def test_a_broken_calibration_costs_its_session(tmp_path: Path) -> None:
    root = write_humbi(tmp_path)
    (root / "subject_82/body/extrinsic.txt").write_text(
        "Numcam: 1\nnumframes: 1\nnumP: 1\n0 0\n1 2\n"
    )
    listing = list_dataset("humbi", root)
    assert [c.name for c in listing.captures] == ["subject_82/hand"]
    [problem] = listing.problems
    assert problem.unit == "subject_82/body" and "subject_82/body/extrinsic.txt" in problem.error
