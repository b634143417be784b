"""Penn Action: MATLAB labels, one actor, frames counted from 1."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from mining.sources.base import Detection, Frame, View
from tests.datasets.world import (
    body,
    camera_at,
    check_person,
    each_frame,
    list_dataset,
    picture,
    write_image,
)

CAMERA = camera_at(70, distorted=False)
NUM_FRAMES, OCCLUDED = 3, 9  # the left wrist in every frame


def truth(number: int) -> np.ndarray:
    return CAMERA.project(body(number))


def write_penn(root: Path) -> Path:
    (root / "labels").mkdir(parents=True)
    for clip, train, as_corners in (("0001", 1, True), ("0002", -1, True), ("0003", 1, False)):
        pixels = np.array([truth(number) for number in range(1, NUM_FRAMES + 1)])
        head = pixels[:, [0]] - [0, 9]
        joints = np.concatenate([head, pixels[:, 5:]], axis=1)
        visibility = np.ones((NUM_FRAMES, 13), dtype=np.uint8)
        visibility[:, OCCLUDED - 5 + 1] = 0
        joints[:, OCCLUDED - 5 + 1] = 1.0
        low, high = pixels.min(1) - 5, pixels.max(1) + 5
        scipy.io.savemat(
            root / f"labels/{clip}.mat",
            {
                "action": "tennis_serve", "pose": "back", "x": joints[..., 0], "y": joints[..., 1],
                "visibility": visibility, "train": train,
                "bbox": np.concatenate([low, high if as_corners else high - low], axis=1),
                "dimensions": [240, 320, NUM_FRAMES], "nframes": NUM_FRAMES,
            },
        )  # fmt: skip
        for number in range(1, NUM_FRAMES + 1):
            image = picture(number, [pixels[number - 1]])
            write_image(root / f"frames/{clip}/{number:06d}.jpg", image)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_penn(tmp_path_factory.mktemp("penn"))


def test_labels_become_keypoints_and_boxes(root: Path) -> None:
    listing = list_dataset("pennaction", root)
    assert [c.name for c in listing.captures] == ["0001", "0003"]
    assert listing.excluded == (("0002", "evaluation", "train = -1: a test clip of pennaction"),)
    for capture in listing.captures:

        def check(view: View, frame: Frame, people: tuple[Detection, ...]) -> None:
            [actor] = people
            pixels = truth(frame.index)
            check_person(actor, pixels, [k for k in range(5, 17) if k != OCCLUDED])
            if capture.name == "0001":  # noqa: B023
                corners = [*(pixels.min(0) - 5), *(pixels.max(0) + 5)]
                assert np.abs(actor.box_px - corners).max() < 0.01

        assert each_frame(capture, check) == {"camera": [1, 2, 3]}


def test_a_file_that_is_not_matlabs_costs_its_clip(tmp_path: Path) -> None:
    root = write_penn(tmp_path)
    (root / "labels/0001.mat").write_bytes(b"0" * 300)
    scipy.io.savemat(root / "labels/0002.mat", {"x": np.zeros((3, 13)), "y": np.zeros((3, 12))})
    listing = list_dataset("pennaction", root)
    errors = {problem.unit: problem.error for problem in listing.problems}
    assert errors["0001"].startswith("0001.mat is not a MATLAB file that can be read")
    assert errors["0002"] == "0002.mat: y has shape (3, 12), not N x 13"
    assert [c.name for c in listing.captures] == ["0003"]
