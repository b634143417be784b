"""A catalog for the page of pairs: bodies and hands, kept and rejected, of any number, with names
that try to become HTML.
"""

import io
import tarfile

import cv2
import numpy as np

from catalog import parts
from catalog.ids import content_id
from catalog.parts import PartName, Row

EVIL = "<img src=x onerror=window.hacked=1>"
EVIL_REASON = "</script><script>window.hacked=1</script>"
IMAGE_PX = 256
NUM_IMAGES = 64  # distinct images; crop k shows image k % 64, a colour that `image_bgr` tells
BODY, LEFT_HAND, RIGHT_HAND = "body", "left_hand", "right_hand"


def write_browse_catalog(
    root: str, num_kept: int, num_rejected: int, num_rejected_crops: int, dataset: str = EVIL
) -> list[Row]:
    """Write one capture in which every kept pair has two crops of its own; rejected pairs share
    them, and rejected crops are detections without crop. Returns the rows of `pairs`.
    """
    rng = np.random.default_rng(7)
    capture_id = content_id(dataset, "capture")
    view_id = content_id(capture_id, "view")
    segment = PartName(capture_id, "segment-00000", content_id("segment", capture_id))
    num_crops = 2 * num_kept
    tar, places = _write_tar(num_crops + num_rejected_crops)
    where = {"capture_id": capture_id, "view_id": view_id, "file": parts.crops_file(segment)}
    cuts = [{**_cut(k, rng), **where, **place} for k, place in enumerate(places)]
    crops = [
        {
            **cut,
            "crop_id": content_id("crop", k),
            "identity_id": content_id(cut["part"]),
            "dataset": dataset,
        }
        for k, cut in enumerate(cuts[:num_crops])
    ]
    pairs = [
        {**_pair(crops[2 * k], crops[2 * k + 1], k, rng), "score": round(float(rng.random()), 4)}
        for k in range(num_kept)
    ]
    reasons = ["too_similar", "too_far", EVIL_REASON]
    rejected = [
        {
            **_pair(crops[k % num_crops], crops[(k + 8) % num_crops], k, rng),
            "pair_id": content_id("rejected", k),
            "reason": reasons[k // 4 % len(reasons)],
            "detail": f"{k} & <b>not bold</b>",
        }
        for k in range(num_rejected)
    ]
    rejects = [
        {"stage": "identify", "unit": f"{capture_id}.pair", "id": cut["detection_id"],
         "reason": "ambiguous", "detail": "two people", "detection_id": cut["detection_id"]}
        for cut in cuts[num_crops:]
    ]  # fmt: skip
    capture = {"capture_id": capture_id, "dataset": dataset, "name": EVIL, "split": "train"}
    view = {"view_id": view_id, "capture_id": capture_id, "name": EVIL}
    failure = {"stage": "decode", "unit": f"{capture_id}.pair", "id": EVIL, "error": EVIL_REASON,
               "attempt": 1, "num_lost": 3}  # fmt: skip
    units = [
        {"stage": stage, "unit": f"{capture_id}.pair", "key": "k", "capture_id": capture_id,
         "dataset": dataset, "counted": counted, "num_in": 9, "num_kept": 4, "num_rejected": 2,
         "num_failed": 3}
        for stage, counted in (("decode", "frames"), ("identify", "people"))
    ]  # fmt: skip
    parts.commit(root, segment, {"detections": cuts}, crops_tar=tar)
    probe = PartName(capture_id, "probe", content_id("probe", capture_id))
    parts.commit(root, probe, {"captures": [capture], "views": [view]})
    tables = {
        "crops": crops, "pairs": pairs, "rejected_pairs": rejected, "rejects": rejects,
        "failures": [failure], "units": units,
    }  # fmt: skip
    parts.commit(root, PartName(capture_id, "pair", content_id("pair", capture_id)), tables)
    return pairs


def image_bgr(k: int) -> tuple[int, int, int]:
    """The colour of crop k's left half; its right half is black."""
    return 60 + 3 * (k % NUM_IMAGES), 255 - 3 * (k % NUM_IMAGES), 120


def _cut(k: int, rng: np.random.Generator) -> Row:
    part = (BODY, BODY, LEFT_HAND, RIGHT_HAND)[k // 2 % 4]
    left, top = 10.0 * (k % 50), 5.0 * (k % 70)
    num_keypoints = 17 if part == BODY else 21
    keypoints = np.empty((num_keypoints, 3))
    keypoints[:, 0] = left + rng.uniform(0, 200, num_keypoints)
    keypoints[:, 1] = top + rng.uniform(0, 200, num_keypoints)
    keypoints[:, 2] = rng.uniform(0, 1, num_keypoints)
    return {
        "detection_id": content_id("detection", k),
        "part": part,
        "segment": 0,
        "frame_index": k,
        "time_s": 0.1 * k,
        "box_px": [left, top, left + 200, top + 200],
        "keypoints_px": keypoints.ravel().tolist(),
        "detector_score": 0.9,
        "sharpness": float(rng.uniform(10, 100)),
    }


def _pair(a: Row, b: Row, k: int, rng: np.random.Generator) -> Row:
    cross_view = k % 3 == 0
    return {
        "pair_id": content_id("pair", k),
        "kind": "cross_view" if cross_view else "cross_pose",
        "part": a["part"],
        "dataset": a["dataset"],
        "capture_id": a["capture_id"],
        "identity_id": a["identity_id"],
        "crop_a": a["crop_id"],
        "crop_b": b["crop_id"],
        "view_angle_deg": float(rng.uniform(0, 180)) if cross_view else None,
        "covisibility": float(rng.uniform(0, 1)),
        "time_gap_s": 0.0 if cross_view else float(rng.uniform(0, 5)),
        "pose_distance": None if cross_view else float(rng.uniform(0, 1)),
        "scale_ratio": float(rng.uniform(0.5, 1)),
        "sharpness_min": min(a["sharpness"], b["sharpness"]),
        "keypoint_confidence_min": float(rng.uniform(0, 1)),
        "phash_distance": int(rng.integers(0, 64)),
        "split": ("train", "val")[k % 5 == 0],
    }


def _write_tar(count: int) -> tuple[bytes, list[Row]]:
    buffer = io.BytesIO()
    places: list[Row] = []
    images = [_make_image(k) for k in range(NUM_IMAGES)]
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for k in range(count):
            jpeg = images[k % NUM_IMAGES]
            info = tarfile.TarInfo(f"{k}.jpg")
            info.size = len(jpeg)
            places.append({"offset": buffer.tell() + tarfile.BLOCKSIZE, "length": len(jpeg)})
            tar.addfile(info, io.BytesIO(jpeg))
    return buffer.getvalue(), places


def _make_image(k: int) -> bytes:
    noise = np.random.default_rng(k).integers(0, 24, (IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (5, 5), 0)
    image[:, : IMAGE_PX // 2] = image_bgr(k)
    image[:, IMAGE_PX // 2 :] //= 8
    ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert ok
    return jpeg.tobytes()
