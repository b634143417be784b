"""The event files, read back as TensorBoard reads them."""

import sys

import cv2
import numpy as np
import pytest

from training.board import FOLDER, Board

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_back(folder) -> EventAccumulator:
    everything = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(folder / FOLDER), size_guidance=everything).Reload()


def curve(folder, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read_back(folder).Scalars(name)]


def png(shade: int) -> bytes:
    ok, data = cv2.imencode(".png", np.full((6, 8, 3), (shade, 20, 30), np.uint8))
    assert ok
    return data.tobytes()


def test_numbers_of_a_row_become_points_and_nothing_else_does(tmp_path):
    board = Board(str(tmp_path), 0)
    row = {"loss": 0.5, "loss_cross_pose": None, "damaged": "a.tar sample 0", "epoch": 1}
    board.scalars(5, {"step": 5, **row})
    board.scalars(10, {"step": 10, "loss": 0.25})
    assert curve(tmp_path, "loss") == [(5, 0.5), (10, 0.25)]  # on the disk before it is closed
    board.close()
    assert sorted(read_back(tmp_path).Tags()["scalars"]) == ["epoch", "loss"]


def test_a_picture_comes_back_as_it_was(tmp_path):
    board = Board(str(tmp_path), 0)
    board.picture(7, "completions", png(200))
    board.close()
    (image,) = read_back(tmp_path).Images("completions")
    pixels = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), 1)
    assert image.step == 7 and pixels.shape == (6, 8, 3)
    assert (pixels == (200, 20, 30)).all()


def test_no_point_appears_twice_after_a_resume(tmp_path):
    first = Board(str(tmp_path), 0)
    for step in range(0, 60, 10):  # killed after step 50, never closed
        first.scalars(step, {"loss": float(step)})
        first.picture(step, "completions", png(step))
    first.scalars(40, {"held_out": 1.0})
    second = Board(str(tmp_path), 40)
    second.scalars(40, {"held_out": 1.0, "only_now": 2.0})  # evaluated again on the way in
    second.picture(40, "completions", png(40))
    for step in range(50, 80, 10):
        second.scalars(step, {"loss": step + 0.5})
        second.picture(step, "completions", png(step))
    second.close()
    expected = [(step, float(step)) for step in range(0, 50, 10)]
    assert curve(tmp_path, "loss") == [*expected, (50, 50.5), (60, 60.5), (70, 70.5)]
    assert curve(tmp_path, "held_out") == [(40, 1.0)]
    assert curve(tmp_path, "only_now") == [(40, 2.0)]
    pictures = read_back(tmp_path).Images("completions")
    assert [image.step for image in pictures] == list(range(0, 80, 10))


def test_a_step_lost_between_two_resumes_is_written_again(tmp_path):
    Board(str(tmp_path), 0).scalars(50, {"loss": 1.0})
    Board(str(tmp_path), 40)  # drops step 50, and is killed before it writes it
    third = Board(str(tmp_path), 50)
    third.scalars(50, {"loss": 2.0})
    third.close()
    assert curve(tmp_path, "loss") == [(50, 2.0)]


def test_a_run_without_tensorboard_says_so_once_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # its import now fails
    board = Board(str(tmp_path), 0)
    board.scalars(1, {"loss": 1.0})
    board.picture(1, "completions", png(1))
    board.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install tensorboard" in said
    assert not list(tmp_path.iterdir())
