"""The frames of a pair, read again: the right ones, in the right colours, with the crops' boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog import parts
from catalog.commands import main
from catalog.parts import PartName
from mining.__main__ import build_parser
from mining.decoding.images import image_sequence_uri
from mining.picture import COLOURS_RGB, HEIGHT_PX, TITLE_PX, draw_frames

FPS = 10.0
COLOURS = {"left": (200, 30, 10), "right": (20, 40, 220)}  # RGB of frame 0 of each view


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Two views of 180 x 90 px, each of three frames of one colour, ever darker; `p` pairs frame 1
    of the left with frame 2 of the right, which began 0.1 s later.
    """
    views, crops = [], []
    for name, index, offset_s in (("left", 1, 0.0), ("right", 2, 0.1)):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(3):
            image = np.full((90, 180, 3), COLOURS[name], np.uint8) // (number + 1)
            cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
        views.append({
            "view_id": name, "capture_id": "c", "name": name, "reader": "images",
            "uri": image_sequence_uri(str(folder), FPS), "fps": FPS, "num_frames": 3,
            "offset_s": offset_s,
        })  # fmt: skip
        crops.append({
            "crop_id": f"crop-{name}", "view_id": name, "capture_id": "c", "frame_index": index,
            "time_s": index / FPS + offset_s, "box_px": [60.0, 30.0, 120.0, 90.0],
        })  # fmt: skip
    pair = {"pair_id": "p", "crop_a": "crop-left", "crop_b": "crop-right"}
    rows = {"captures": [{"capture_id": "c"}], "views": views, "crops": crops, "pairs": [pair]}
    path = str(tmp_path / "root")
    parts.commit(path, PartName("c", "pair", "k"), rows)
    return path


def test_both_frames_are_drawn_with_the_boxes_of_their_crops(root: str) -> None:
    picture = draw_frames(root, "p.json")
    width = 2 * HEIGHT_PX
    assert picture.shape == (TITLE_PX + HEIGHT_PX, 2 * width, 3)
    for label, name, number, left in (("a", "left", 1, 0), ("b", "right", 2, width)):
        assert tuple(picture[TITLE_PX + 600, left + 700]) == tuple(
            channel // (number + 1) for channel in COLOURS[name]
        )
        scale = HEIGHT_PX / 90
        edge = picture[TITLE_PX + round(60 * scale), left + round(60 * scale)]
        assert tuple(edge) == COLOURS_RGB[label]
        assert picture[:TITLE_PX, left : left + width].any()  # its line of text


def test_a_crop_is_drawn_alone_and_written_in_its_colours(root: str, tmp_path: Path) -> None:
    out = str(tmp_path / "frame.png")
    assert main(build_parser(), ["picture", "crop-left", "--root", root, "--out", out]) == 0
    assert tuple(cv2.imread(out)[TITLE_PX + 600, 700]) == (5, 15, 100)  # BGR


def test_what_cannot_be_drawn_is_one_sentence(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(id: str, out: str = "x.png") -> str:
        arguments = ["picture", id, "--root", root, "--out", str(tmp_path / out)]
        assert main(build_parser(), arguments) == 1
        sentence = capsys.readouterr().err
        assert sentence.count("\n") == 1
        return sentence

    assert "'left' is a view, which has no crops" in said("left")
    assert "the JSON of its sample still has ids to trace" in said("gone")
    assert "as .jpg or .png" in said("p", "x.gif")
    (tmp_path / "right" / "2.png").unlink()
    assert "frame 2 of view right" in said("p") and "the footage was changed" in said("p")
    (tmp_path / "left" / "1.png").write_bytes(b"no image")
    assert "frame 1 of view left" in said("p") and "cannot be read any more" in said("p")
    for file in (tmp_path / "left").iterdir():
        file.unlink()
    assert "cannot be read any more" in said("p")
