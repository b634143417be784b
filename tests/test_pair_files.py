"""The files of a pair's sample: what goes in comes out, and what else there is is refused."""

import io
import json

import numpy as np
import pytest

from shards.pairs import decode_foreground, decode_keypoints, encode_pair, keypoints_in_crop

CROP = {
    "crop_id": "c",
    "view_id": "v",
    "frame_index": 0,
    "time_s": float("nan"),
    "box_px": [90, 30, 130, 70],
    "size_px": 80,
    "keypoints_px": [100, 50, 0.9, 110, 70, 0.5, 7, 7, 0, *[0] * 42],
    "foreground": bytes(range(256)) * 4,
}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_of_a_pair_survive_the_round_trip_and_are_what_numpy_reads() -> None:
    empty = {**CROP, "keypoints_px": [], "foreground": bytes(1024)}
    files = encode_pair({}, CROP, empty)
    foreground = decode_foreground(files["foreground.npy"])
    keypoints_px = decode_keypoints(memoryview(files["keypoints.npy"]))
    assert foreground[0].tobytes() == CROP["foreground"] and not foreground[1].any()
    assert keypoints_px[0, :2].tolist() == [[20, 40, np.float32(0.9)], [40, 80, 0.5]]
    assert keypoints_px.shape == (2, 17, 3)
    assert not keypoints_px[0, 2:].any() and not keypoints_px[1].any()
    for name, array in (("foreground.npy", foreground), ("keypoints.npy", keypoints_px)):
        loaded = np.load(io.BytesIO(files[name]), allow_pickle=False)
        assert loaded.dtype == array.dtype and (loaded == array).all()
    assert decode_keypoints(encode_pair({}, empty, empty)["keypoints.npy"]).shape == (2, 0, 3)


KEYPOINTS = npy(np.zeros((2, 17, 3), np.float32))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "magic"),
        (npy(np.zeros((2, 17, 3)))[:90], "header"),
        (KEYPOINTS.replace(b"}", b" "), "header is damaged"),
        (KEYPOINTS.replace(b"'descr'", b"1".rjust(7)), "header is damaged"),
        (KEYPOINTS[:8] + b"\x20" + KEYPOINTS[9:], "header is damaged"),
        (npy(np.zeros((2, 5, 3), np.float32)), "has 5 keypoints"),
        (npy(np.zeros((2, 17, 3), np.float32))[:-1], "bytes, which is not"),
        (npy(np.zeros((2, 17, 3))), r"holds \(2, 17, 3\) float64, not \(2, K, 3\) float32"),
        (npy(np.zeros((17, 3), np.float32)), r"holds \(17, 3\) float32"),
        (npy(np.asfortranarray(np.zeros((2, 17, 3), np.float32))), "Fortran"),
        (npy(np.array([{}], object)), "object"),
    ],
)
def test_other_arrays_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_keypoints(data)


def test_damaged_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        encode_pair({}, CROP, {**CROP, "foreground": b"0" * 10})
    with pytest.raises(ValueError, match="in box"):
        keypoints_in_crop([1, 2, 3], [90, 30, 90, 70], 80)
    with pytest.raises(ValueError, match="not finite"):
        keypoints_in_crop([float("nan"), 2, 0.5], [90, 30, 130, 70], 80)
    with pytest.raises(ValueError, match="17 and 1 keypoints"):
        encode_pair({}, CROP, {**CROP, "keypoints_px": [1, 2, 3]})
    with pytest.raises(ValueError, match="crop c has no box_px"):
        encode_pair({}, {**CROP, "box_px": None}, CROP)


def test_a_description_holds_what_json_can_hold() -> None:
    pair = {"pair_id": "p", "score": float("inf")}
    meta = json.loads(encode_pair(pair, CROP, CROP)["json"])
    assert meta["score"] is None and meta["a"]["time_s"] is None
