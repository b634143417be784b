"""The quality report: mine synthetic scenes and the demo, and hold the pairs against the truth.

Everything is mined into a catalog of its own below `ROOT/quality`, with and without the cameras'
calibration; a second report goes on where the first one stopped and mines nothing again.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from catalog import query, storage
from catalog.config import to_dict
from catalog.measurements import Measurement
from mining.config import MiningConfig
from mining.quality import metrics
from mining.quality.pairs import MinedTruth, read_mined
from mining.run import RunOptions, Watch, mine
from mining.segment import SampleConfig
from mining.sources.base import DatasetSpec, Part
from mining.synthetic.config import quality_scenes

SCENES, SCENES_UNCALIBRATED = "scenes", "scenes-uncalibrated"
DEMO, DEMO_UNCALIBRATED = "demo", "demo-uncalibrated"
NUM_CAPTURES = 2  # scenes that are mined
HANDS: tuple[Part, ...] = ("left_hand", "right_hand")

ANGLES = """
    SELECT pairs.part, va.name AS view_a, vb.name AS view_b, a.frame_index AS frame_a,
           b.frame_index AS frame_b, round(a.box_px[1]) AS left_px, view_angle_deg
    FROM pairs
    JOIN crops AS a ON crop_a = a.crop_id JOIN views AS va ON va.view_id = a.view_id
    JOIN crops AS b ON crop_b = b.crop_id JOIN views AS vb ON vb.view_id = b.view_id
    WHERE pairs.dataset = $dataset AND kind = 'cross_view' AND view_angle_deg IS NOT NULL"""
REPROJECTION = """
    SELECT median(reprojection_error_px) AS error_px, count(*) AS num_tracks
    FROM tracks JOIN captures USING (capture_id)
    WHERE dataset = $dataset AND reprojection_error_px IS NOT NULL"""


def measure_quality(root: str, workers: int | None, watch: Watch) -> list[Measurement]:
    """Mine what is not mined yet below `root`/quality and work out every figure of the report."""
    root = storage.join(storage.absolute(root), "quality")
    # short segments, so that all workers have something to do; they change no figure
    given = MiningConfig(sample=SampleConfig(segment_s=2.0))
    withheld = replace(  # angles between views need no hands
        given,
        calibrate=replace(given.calibrate, use_given=False),
        detect=replace(given.detect, parts=("body",)),
    )
    table = {**to_dict(quality_scenes()), "annotations": "none"}
    for name, adapter, config, num_captures in (
        (SCENES, "synthetic", given, NUM_CAPTURES),
        (SCENES_UNCALIBRATED, "synthetic", withheld, 1),
        (DEMO, "demo", given, 2),
        (DEMO_UNCALIBRATED, "demo", withheld, 2),
    ):
        of_scenes = {**table, "num_captures": num_captures}
        spec = DatasetSpec(
            name=name, adapter=adapter, root=adapter,
            options=of_scenes if adapter == "synthetic" else {},
        )  # fmt: skip
        mine(spec, config, RunOptions(root=root, workers=workers), watch)
    return [
        _rendering(workers),
        *measure_scenes(read_mined(root, SCENES), given.crop.min_person_px),
        metrics.view_angle_error(
            read_mined(root, SCENES_UNCALIBRATED), "view_angle_error_estimated_deg"
        ),
        *measure_demo(root),
    ]


def measure_scenes(mined: MinedTruth, min_person_px: float) -> list[Measurement]:
    """The figures of calibrated synthetic scenes."""
    covisible = {
        kind: metrics.covisibilities(mined, kind, ("body",))
        for kind in ("cross_view", "cross_pose")
    }
    of_hands = np.concatenate(
        [metrics.covisibilities(mined, kind, HANDS) for kind in ("cross_view", "cross_pose")]
    )
    bodies = metrics.pose_distances(mined, ("body",))
    hands = metrics.pose_distances(mined, HANDS)
    surface = "share of the visible surface that both views see, by ray casting, rank correlation"
    joints = "distance of all true 3D joints after a similarity fit"
    every = np.concatenate(list(covisible.values()))
    return [
        metrics.person_recall(mined, min_person_px),
        metrics.identity_purity(mined, "cross_view"),
        metrics.identity_purity(mined, "cross_pose"),
        metrics.handedness_accuracy(mined),
        replace(metrics.view_angle_error(mined), goal="<= 3"),
        _correlation("covisibility_rank_correlation", every, surface, goal=">= 0.7"),
        _correlation("covisibility_rank_correlation_cross_view", covisible["cross_view"], surface),
        _correlation("covisibility_rank_correlation_cross_pose", covisible["cross_pose"], surface),
        _correlation("covisibility_rank_correlation_hands", of_hands, surface),
        _correlation(
            "pose_distance_correlation", bodies, f"{joints}, linear", goal=">= 0.8", linear=True
        ),
        _correlation("pose_distance_rank_correlation", bodies, f"{joints}, rank correlation"),
        _correlation("pose_distance_correlation_hands", hands, f"{joints}, linear", linear=True),
        metrics.time_error(mined),
    ]


def measure_demo(root: str) -> list[Measurement]:
    """What can be said of the demo without truth: its cameras against those estimated."""
    calibrated = _angles(root, DEMO)
    estimated = _angles(root, DEMO_UNCALIBRATED)
    common = sorted(calibrated.keys() & estimated.keys())
    errors_deg = [abs(calibrated[key] - estimated[key]) for key in common]
    [row] = query.select(root, REPROJECTION, {"dataset": DEMO}).to_pylist()
    return [
        Measurement(
            metric="demo_view_angle_error_estimated_deg",
            value=float(np.median(errors_deg)) if errors_deg else None,
            unit="deg",
            count=len(errors_deg),
            compared_with="the demo's calibration file, median over cross-view pairs mined in both",
            goal="<= 10",
        ),
        Measurement(
            metric="demo_reprojection_error_px",
            value=row["error_px"],
            unit="px",
            count=row["num_tracks"],
            compared_with="keypoints detected in frames of 1080 x 1920, median over tracks",
        ),
    ]


def _rendering(workers: int | None) -> Measurement:
    num_processes = workers or os.cpu_count() or 1
    command = [sys.executable, "-m", "mining.synthetic.rate", str(num_processes)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return Measurement(
        metric="synthetic_images_per_s",
        value=float(run.stdout.splitlines()[-1]),
        unit="images/s",
        compared_with=f"256 px, three people, all annotations, {num_processes} processes",
        goal=">= 40",
    )


def _angles(root: str, dataset: str) -> dict[tuple[object, ...], float]:
    rows = query.select(root, ANGLES, {"dataset": dataset}).to_pylist()
    return {tuple(row[key] for key in row if key != "view_angle_deg"): row["view_angle_deg"]
            for row in rows}  # fmt: skip


def _correlation(
    metric: str, both: metrics.Array, compared_with: str, *, goal: str = "", linear: bool = False
) -> Measurement:
    correlate = metrics.linear_correlation if linear else metrics.rank_correlation
    return Measurement(
        metric=metric, value=correlate(both), unit="correlation", count=len(both),
        compared_with=compared_with, goal=goal,
    )  # fmt: skip


def failed_goals(measurements: Sequence[Measurement]) -> list[str]:
    """The metrics that miss their goal."""
    missed = []
    for row in measurements:
        sign, _, bound = row.goal.rpartition(" ")
        if row.goal and row.value is not None:
            reached = {
                ">=": row.value >= float(bound), "<=": row.value <= float(bound),
                "": row.value == float(bound),
            }[sign]  # fmt: skip
            if not reached:
                missed.append(row.metric)
        elif row.goal:
            missed.append(row.metric)
    return missed
