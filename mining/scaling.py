"""How the cost of pairing grows with footage: simulated captures of growing length, paired, timed.

Stick figures walk about among four cameras and are out of sight for three seconds of every twenty,
so that longer footage has more tracks too, not only longer ones. Nothing is rendered or detected:
decoding and detection look at one frame at a time, so only pairing could grow faster than footage.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.ids import content_id, seed_of
from catalog.parts import PartName, Row
from mining.config import MiningConfig
from mining.geometry.cameras import Camera
from mining.pair import CaptureRows, pair_capture
from mining.stage import WorkUnit

Array = NDArray[np.float64]

BASE_S = 20.0  # length of the shortest footage
NUM_VIEWS, NUM_PEOPLE, FPS = 4, 3, 10.0
CYCLE_S, AWAY_S = 20.0, 3.0  # everybody is away for the last seconds of each cycle
WIDTH_PX, HEIGHT_PX, NOISE_PX = 1280, 720, 1.5

# COCO keypoints of somebody who stands: to the left, up, ahead, in metres.
STANDING_M = np.array([
    (0, 1.60, 0.10), (0.03, 1.64, 0.08), (-0.03, 1.64, 0.08), (0.08, 1.62, 0), (-0.08, 1.62, 0),
    (0.18, 1.42, 0), (-0.18, 1.42, 0), (0.24, 1.12, 0), (-0.24, 1.12, 0), (0.26, 0.86, 0.05),
    (-0.26, 0.86, 0.05), (0.12, 0.92, 0), (-0.12, 0.92, 0), (0.13, 0.50, 0.02), (-0.13, 0.50, 0.02),
    (0.14, 0.08, 0), (-0.14, 0.08, 0),
])  # fmt: skip
SWING_M = np.array([0, 0, 0, 0, 0, 0, 0, -0.15, 0.15, -0.3, 0.3, 0, 0, 0.18, -0.18, 0.3, -0.3])


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What pairing `footage_s` seconds of footage (of each view) took, in CPU seconds, and gave."""

    footage_s: float
    num_detections: int
    num_candidates: int
    num_pairs: int
    seconds: float


def measure_scaling(factors: Sequence[int]) -> list[Scaling]:
    """Pair captures `factors` times as long as `BASE_S`, in this process, one by one.

    The bound on pairs of one identity is lifted: it would hide how the cost grows.
    """
    config = MiningConfig()
    config = replace(
        config, candidates=replace(config.candidates, max_pairs_per_identity=10_000_000)
    )
    simulate_capture(2.0)  # imports and first calls are not what is measured
    results = []
    for factor in factors:
        unit, detections = simulate_capture(BASE_S * factor)
        started = time.process_time()
        outcome = pair_capture(unit, detections, config)
        seconds = time.process_time() - started
        counts = {row["stage"]: row for row in outcome.rows["units"]}["pair"]
        results.append(
            Scaling(
                footage_s=BASE_S * factor,
                num_detections=len(detections),
                num_candidates=counts["num_in"],
                num_pairs=counts["num_kept"],
                seconds=seconds,
            )
        )
    return results


def slope(results: Sequence[Scaling]) -> float:
    """The slope of the seconds over the footage on logarithmic scales, by least squares: 1 where
    the cost is linear, 2 where it is quadratic.
    """
    footage_s, seconds = (
        np.log([result.footage_s for result in results]),
        np.log([result.seconds for result in results]),
    )
    return float(np.polyfit(footage_s, seconds, 1)[0])


def simulate_capture(duration_s: float) -> tuple[WorkUnit, list[Row]]:
    """A capture to pair: its unit and the rows of `detections` of everybody in every view."""
    capture_id = content_id("scaling", duration_s)
    cameras = [_camera(2 * np.pi * view / NUM_VIEWS + 0.3) for view in range(NUM_VIEWS)]
    views = [
        {
            "view_id": content_id(capture_id, view),
            "offset_s": 0.0,
            "width_px": WIDTH_PX,
            "height_px": HEIGHT_PX,
            "intrinsics": camera.intrinsics.ravel().tolist(),
            "distortion": camera.distortion.tolist(),
            "world_from_cam": camera.world_from_cam.ravel().tolist(),
        }
        for view, camera in enumerate(cameras)
    ]
    times_s = np.arange(round(duration_s * FPS)) / FPS
    detections: list[Row] = []
    for person in range(NUM_PEOPLE):
        joints_world = _walk(person, times_s)
        here = (times_s + person * CYCLE_S / NUM_PEOPLE) % CYCLE_S < CYCLE_S - AWAY_S
        for view, camera in enumerate(cameras):
            generator = np.random.default_rng(seed_of(capture_id, person, view))
            pixels = camera.project(joints_world.reshape(-1, 3)).reshape(len(times_s), 17, 2)
            pixels += generator.normal(0, NOISE_PX, pixels.shape)
            for k in np.flatnonzero(here).tolist():
                place = {
                    "capture_id": capture_id,
                    "view_id": views[view]["view_id"],
                    "segment": 0,
                    "frame_index": k,
                    "time_s": float(times_s[k]),
                    "detection_id": content_id(capture_id, person, view, k),
                }
                detections.append(place | _measured(pixels[k], generator))
    capture = {
        "capture_id": capture_id, "dataset": "scaling", "sync": "given", "split": "train",
    }  # fmt: skip
    unit = WorkUnit(
        stage="pair",
        name=PartName(capture_id, "pair", "scaling"),
        dataset="scaling",
        payload=CaptureRows(capture=capture, views=tuple(views), crop_size_px=256),
        counted_stage="identify",
        counted="people",
        expected=len(detections),
    )
    return unit, detections


def _measured(pixels: Array, generator: np.random.Generator) -> dict[str, Any]:
    """The columns of a detection that come from its pixels, for keypoints (17, 2)."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    middle, side = (low + high) / 2, 1.2 * (high - low).max()
    confidence = np.full((17, 1), 0.9)
    return {
        "part": "body",
        "body_detection_id": None,
        "source": "detected",
        "given_identity": None,
        "person_box_px": [*low.tolist(), *high.tolist()],
        "box_px": [*(middle - side / 2).tolist(), *(middle + side / 2).tolist()],
        "keypoints_px": np.hstack([pixels, confidence]).ravel().tolist(),
        "joints_world": None,
        "detector_score": 0.9,
        "sharpness": 100.0,
        "truncation": 0.0,
        "occlusion": 0.0,
        "appearance": [1.0 / 38] * 38,
        "phash": f"{int(generator.integers(2**63)):016x}",
        "foreground": b"",
        "foreground_source": "skeleton",
        "file": "",
        "offset": 0,
        "length": 0,
    }


def _walk(person: int, times_s: Array) -> Array:
    """Joints (T, 17, 3) in metres of somebody who walks on a circle, z up."""
    around = 2 * np.pi * person / NUM_PEOPLE + 0.3 * times_s
    swing = np.sin(2 * np.pi * (0.8 + 0.07 * person) * times_s) * np.cos(0.13 * times_s)
    body = np.repeat(STANDING_M[None], len(times_s), axis=0)
    body[:, :, 2] += SWING_M * swing[:, None]
    ahead = np.stack([-np.sin(around), np.cos(around), np.zeros_like(around)], axis=1)
    left = np.stack([-ahead[:, 1], ahead[:, 0], ahead[:, 2]], axis=1)
    up = np.broadcast_to([0.0, 0.0, 1.0], ahead.shape)
    place = 1.2 * np.stack([np.cos(around), np.sin(around), np.zeros_like(around)], axis=1)
    return body @ np.stack([left, up, ahead], axis=1) + place[:, None]


def _camera(around_rad: float) -> Camera:
    """A camera that looks at the middle of the scene from six metres."""
    centre = np.array([6 * np.cos(around_rad), 6 * np.sin(around_rad), 1.6])
    ahead = np.array([0.0, 0.0, 1.0]) - centre
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    world_from_cam = np.eye(4)
    world_from_cam[:3] = np.stack([right, np.cross(ahead, right), ahead, centre], axis=1)
    intrinsics = np.array([[900.0, 0, WIDTH_PX / 2], [0, 900.0, HEIGHT_PX / 2], [0, 0, 1.0]])
    return Camera(intrinsics=intrinsics, world_from_cam=world_from_cam)
