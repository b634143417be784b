"""Scores of candidate pairs: every term by itself, the bounds that reject, and the SQL that ranks
what is kept.

Terms are columns of the table `pairs`, so that a user's own expression can rank mined pairs anew.
`reject_reason` is the one place that decides whether a pair is kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.candidates import Kind
from mining.crop import phash_distance
from mining.geometry.cameras import Camera, angle_between_views_deg
from mining.geometry.pose import (
    body_view_angle_deg,
    covisibility,
    pose_distance,
    pose_distance_world,
)

Array = NDArray[np.float64]
Terms = dict[str, str | float | int | None]

# CroCo v2's rule (Weinzaepfel et al., ICCV 2023): covisibility times a bell over angles, which is 1
# at 60 degrees and 0 at 90.
CROSS_VIEW_SCORE = """
    CASE WHEN view_angle_deg > 90 THEN 0
    ELSE covisibility * 4 * cos(radians(view_angle_deg)) * (1 - cos(radians(view_angle_deg))) END
""".strip()

# A bell on the logarithm of pose distance, 1 at 0.3 and 0.6 at half or double that, times quality:
# sharpness that saturates about 100, and the keypoints' confidence. In Pose2Sim's footage somebody
# active moves by 0.1 in 0.1 s and by 0.4 in 0.5 s, somebody who stands by 0.04 in 1 s.
CROSS_POSE_SCORE = """
    exp(-0.5 * pow(ln((pose_distance + 1e-6) / 0.3) / 0.69, 2))
    * sharpness_min / (sharpness_min + 100.0) * keypoint_confidence_min
""".strip()

DEFAULT_SCORE = f"""
CASE kind
  WHEN 'cross_view' THEN coalesce({CROSS_VIEW_SCORE}, 0)
  WHEN 'cross_pose' THEN coalesce({CROSS_POSE_SCORE}, 0)
  ELSE 0
END
""".strip()


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The expression that ranks pairs, the bounds of those that are kept, and what terms are made
    from."""

    expression: str = DEFAULT_SCORE  # SQL over the columns of the table `pairs`

    min_keypoint_confidence: float = 0.5  # keypoints below it count as not seen
    min_common_keypoints: int = 8  # seen in both crops, for a pose distance
    require_view_angle: bool = True  # of cross-view pairs; it is unknown without calibration
    min_view_angle_deg: float = 10.0  # of cross-view pairs; nearer views show nearly the same image
    max_view_angle_deg: float = 90.0  # of both kinds, where the angle is known
    min_covisibility: float = 0.2
    min_pose_distance: float = (
        0.1  # of cross-pose pairs; less is the same pose: noise makes 0.02 to 0.14
    )
    max_pose_distance: float = 0.8  # more is a wrong skeleton or another person
    max_time_gap_s: float = 10.0
    min_scale_ratio: float = 0.25
    min_sharpness: float = 5.0
    min_mean_confidence: float = 0.3  # mean confidence of all 17 keypoints of the worse crop
    min_phash_distance: int = 4  # of 64 bits; fewer differ only between near-identical crops


@dataclass(frozen=True, kw_only=True)
class CropFacts:
    """What the terms need of a crop, named as in the table `crops`; `view` is the view's index,
    `phash` 16 hex digits, `keypoints_px` (17, 3), `box_px` (4,).
    """

    crop_id: str
    view: int
    time_s: float
    keypoints_px: Array
    box_px: Array
    sharpness: float
    phash: str


def pair_terms(
    kind: Kind,
    crop_a: CropFacts,
    crop_b: CropFacts,
    config: ScoreConfig,
    *,
    camera_a: Camera | None = None,
    camera_b: Camera | None = None,
    joints_a: Array | None = None,
    joints_b: Array | None = None,
) -> Terms:
    """Work out every term column of a pair, and its `kind`; None where a term does not apply or
    cannot be known.

    `joints_a` and `joints_b` (17, 3), in world coordinates with NaN for unknown ones, are those of
    each crop's time. Poses seen by one camera are compared in the image, which is less noisy and
    the same with and without calibration; across views, and where too few keypoints are seen in
    both, they are compared in space.
    """
    unknown = np.full((17, 3), np.nan)
    joints_a = unknown if joints_a is None else joints_a
    joints_b = unknown if joints_b is None else joints_b
    angle_deg = _view_angle_deg(kind, camera_a, joints_a, camera_b, joints_b)
    distance: float | None = None
    if kind == "cross_pose" and crop_a.view == crop_b.view:
        distance = pose_distance(
            crop_a.keypoints_px,
            crop_b.keypoints_px,
            min_confidence=config.min_keypoint_confidence,
            min_joints=config.min_common_keypoints,
        )
    if kind == "cross_pose" and distance is None:
        distance = pose_distance_world(joints_a, joints_b, min_joints=config.min_common_keypoints)
    sides_px = [float(crop.box_px[2] - crop.box_px[0]) for crop in (crop_a, crop_b)]
    return {
        "kind": kind,
        "view_angle_deg": angle_deg,
        "covisibility": covisibility(
            crop_a.keypoints_px,
            crop_b.keypoints_px,
            angle_deg,
            min_confidence=config.min_keypoint_confidence,
        ),
        "time_gap_s": abs(crop_b.time_s - crop_a.time_s),
        "pose_distance": distance,
        "scale_ratio": min(sides_px) / max(*sides_px, 1e-9),
        "sharpness_min": min(crop_a.sharpness, crop_b.sharpness),
        "keypoint_confidence_min": min(
            float(np.nan_to_num(crop.keypoints_px[:, 2]).mean()) for crop in (crop_a, crop_b)
        ),
        "phash_distance": phash_distance(crop_a.phash, crop_b.phash),
    }


def reject_reason(terms: Terms, config: ScoreConfig) -> tuple[str, str] | None:
    """Decide whether a pair is dropped: one word for why and the figure that decided; None for a
    pair that is kept.
    """
    cross_view = terms["kind"] == "cross_view"
    if cross_view and terms["view_angle_deg"] is None and config.require_view_angle:
        return "view_angle_unknown", "without calibration, or too few joints triangulated"
    if not cross_view and terms["pose_distance"] is None:
        return "pose_unknown", f"fewer than {config.min_common_keypoints} keypoints seen in both"
    bounds: list[tuple[str, str, float | None, float | None]] = [
        ("near_identical", "phash_distance", config.min_phash_distance, None),
        (
            "view_angle",
            "view_angle_deg",
            config.min_view_angle_deg if cross_view else None,
            config.max_view_angle_deg,
        ),
        ("covisibility", "covisibility", config.min_covisibility, None),
        ("same_pose", "pose_distance", config.min_pose_distance, None),
        ("pose_too_far", "pose_distance", None, config.max_pose_distance),
        ("time_gap", "time_gap_s", None, config.max_time_gap_s),
        ("scale", "scale_ratio", config.min_scale_ratio, None),
        ("blurred", "sharpness_min", config.min_sharpness, None),
        ("keypoints", "keypoint_confidence_min", config.min_mean_confidence, None),
    ]
    for reason, term, low, high in bounds:
        value = terms[term]
        if value is None:
            continue
        assert not isinstance(value, str)
        if low is not None and not value >= low:
            return reason, f"{term} {value:.3g} is below {low:g}"
        if high is not None and not value <= high:
            return reason, f"{term} {value:.3g} is above {high:g}"
    return None


def _view_angle_deg(
    kind: Kind, camera_a: Camera | None, joints_a: Array, camera_b: Camera | None, joints_b: Array
) -> float | None:
    """At one instant the angle at the body's middle, which needs no torso; else that between the
    torso's frames.
    """
    if camera_a is None or camera_b is None:
        return None
    if kind == "cross_pose":
        return body_view_angle_deg(camera_a, joints_a, camera_b, joints_b)
    known = joints_a[np.isfinite(joints_a).all(axis=1)]
    if len(known) == 0:
        return None
    return angle_between_views_deg(camera_a, camera_b, known.mean(axis=0))
