"""A tiny catalog with real crops: people of noise and colour, paired across views and moments."""

import hashlib
import io
import tarfile

import cv2
import numpy as np

from catalog import parts
from catalog.ids import content_id, seed_of
from catalog.parts import PartName, Row

CROP_PX = 64
NUM_VIEWS = 2


def write_catalog(
    root: str,
    num_captures: int = 4,
    num_times: int = 6,
    dataset: str = "tiny",
    num_people: int = 2,
) -> list[Row]:
    """Write captures of `num_people` each, seen by two cameras at `num_times` moments; the last
    capture is held out. Returns the rows of `pairs`: one cross-view pair for each person and
    moment, one cross-pose pair for each person, view and two neighbouring moments.
    """
    pairs: list[Row] = []
    for number in range(num_captures):
        split = "val" if number == num_captures - 1 else "train"
        pairs += _write_capture(root, dataset, number, split, num_times, num_people)
    return pairs


def pair_part(root: str, capture_id: str) -> PartName:
    """The part with a capture's crops and pairs."""
    return next(name for name in parts.list_parts(root, "pairs") if name.scope == capture_id)


def _write_capture(
    root: str, dataset: str, number: int, split: str, num_times: int, num_people: int
) -> list[Row]:
    capture_id = content_id(dataset, number)
    views = [content_id(capture_id, "view", view) for view in range(NUM_VIEWS)]
    segment = PartName(capture_id, "segment-00000", content_id("segment", capture_id))
    crops, jpegs = [], []
    for person in range(num_people):
        identity_id = content_id(capture_id, "identity", person)
        for view, view_id in enumerate(views):
            for moment in range(num_times):
                crop, jpeg = _make_crop(identity_id, view_id, view, moment)
                crops.append({**crop, "dataset": dataset, "capture_id": capture_id})
                jpegs.append(jpeg)
    tar, offsets = _write_tar(crops, jpegs)
    for crop, jpeg, offset in zip(crops, jpegs, offsets, strict=True):
        crop.update(file=parts.crops_file(segment), offset=offset, length=len(jpeg))
    pairs = [
        {**pair, "dataset": dataset, "capture_id": capture_id, "split": split}
        for pair in _make_pairs(crops)
    ]
    capture = {
        "capture_id": capture_id,
        "dataset": dataset,
        "name": f"capture-{number}",
        "num_views": NUM_VIEWS,
        "subject": f"subject-{number}",
        "split": split,
    }
    view_rows = [
        {"view_id": view_id, "capture_id": capture_id, "offset_s": 0.0} for view_id in views
    ]
    track_columns = ("track_id", "capture_id", "view_id", "identity_id")
    tracks = {crop["track_id"]: {name: crop[name] for name in track_columns} for crop in crops}
    parts.commit(root, segment, {}, crops_tar=tar)
    probe = PartName(capture_id, "probe", content_id("probe", capture_id))
    parts.commit(root, probe, {"captures": [capture], "views": view_rows})
    pair = PartName(capture_id, "pair", content_id("pair", capture_id))
    parts.commit(root, pair, {"crops": crops, "tracks": tracks.values(), "pairs": pairs})
    return pairs


def _make_crop(identity_id: str, view_id: str, view: int, moment: int) -> tuple[Row, bytes]:
    rng = np.random.default_rng(seed_of(identity_id, view_id, moment))
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)
    ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    box_px = np.array([10.0 * moment, 20.0 * view, 10.0 * moment + 128, 20.0 * view + 128])
    keypoints_px = np.column_stack(
        [box_px[0] + rng.uniform(0, 128, (17, 2)), rng.uniform(0, 1, 17)]
    )
    keypoints_px[-1, 2] = 0
    crop_id = content_id(identity_id, view_id, moment)
    row = {
        "crop_id": crop_id,
        "detection_id": content_id(crop_id, "detection"),
        "view_id": view_id,
        "segment": 0,
        "frame_index": 15 * moment,
        "time_s": 0.5 * moment,
        "track_id": content_id(identity_id, view_id),
        "identity_id": identity_id,
        "part": "body",
        "box_px": box_px.tolist(),
        "size_px": CROP_PX,
        "keypoints_px": keypoints_px.ravel().tolist(),
        "detector_score": 0.9,
        "sharpness": float(rng.uniform(10, 100)),
        "foreground": rng.integers(0, 256, 1024, dtype=np.uint8).tobytes(),
        "phash": hashlib.sha256(jpeg.tobytes()).hexdigest()[:16],
    }
    return row, jpeg.tobytes()


def _make_pairs(crops: list[Row]) -> list[Row]:
    pairs = []
    for a in crops:
        for b in crops:
            if a["identity_id"] != b["identity_id"]:
                continue
            gap_s = b["time_s"] - a["time_s"]
            same_view = a["view_id"] == b["view_id"]
            if not same_view and gap_s == 0 and a["view_id"] < b["view_id"]:
                pairs.append(_make_pair("cross_view", a, b))
            if same_view and gap_s == 0.5:
                pairs.append(_make_pair("cross_pose", a, b))
    return pairs


def _make_pair(kind: str, a: Row, b: Row) -> Row:
    pair_id = content_id(kind, a["crop_id"], b["crop_id"])
    rng = np.random.default_rng(seed_of(pair_id))
    cross_view = kind == "cross_view"
    return {
        "pair_id": pair_id,
        "kind": kind,
        "part": "body",
        "identity_id": a["identity_id"],
        "crop_a": a["crop_id"],
        "crop_b": b["crop_id"],
        "view_angle_deg": 4.0 * a["time_s"] + 28.0 if cross_view else None,
        "covisibility": float(rng.uniform(0.2, 1)),
        "time_gap_s": b["time_s"] - a["time_s"],
        "pose_distance": None if cross_view else float(rng.uniform(0, 0.5)),
        "scale_ratio": 1.0,
        "sharpness_min": min(a["sharpness"], b["sharpness"]),
        "keypoint_confidence_min": 0.5,
        "phash_distance": int(rng.integers(0, 64)),
        "score": round(float(rng.uniform(0.01, 1)), 1),  # with ties; about 1 in 20 is 0
    }


def _write_tar(crops: list[Row], jpegs: list[bytes]) -> tuple[bytes, list[int]]:
    buffer = io.BytesIO()
    offsets = []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for crop, jpeg in zip(crops, jpegs, strict=True):
            info = tarfile.TarInfo(f"{crop['crop_id']}.jpg")
            info.size = len(jpeg)
            offsets.append(buffer.tell() + tarfile.BLOCKSIZE)
            tar.addfile(info, io.BytesIO(jpeg))
    return buffer.getvalue(), offsets
