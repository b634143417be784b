"""Scores of candidate pairs: every term by itself, the bounds that reject, and the SQL that ranks
what is kept.

Terms are columns of the table `pairs`, so that a user's own expression can rank mined pairs anew.
`reject_reason` decides whether a pair keeps within the bounds; pairs that repeat another one are
dropped by `redundancy.py` beside this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import NUM_BODY_KEYPOINTS
from mining.cropping.appearance import appearance_similarity
from mining.cropping.crop import phash_distance
from mining.geometry.covisibility import Seen, shared_cylinder, shared_surface
from mining.geometry.pose import pose_distance, pose_distance_world
from mining.geometry.view_angle import angle_deg
from mining.pairing.candidates import Kind

Array = NDArray[np.float64]
Terms = dict[str, str | float | int | None]

UNKNOWN = np.full(3, np.nan)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The expression that ranks pairs, the bounds of those that are kept, and what terms are made
    from.

    How far apart pairs are sought in angle, time and pose is set in `candidates.*`: what is not
    sought is not found, however wide the bound here.
    """

    expression: str = "default"  # a preset of catalog/scores.py, or SQL over columns of `pairs`

    # keypoints below it count as not seen: for terms, for the poses by which candidates are sought,
    # and for near-duplicates
    min_keypoint_confidence: float = 0.5
    min_common_keypoints: int = 8  # the same: seen in both crops, for a pose distance

    require_view_angle: bool = False  # of cross-view pairs; it is unknown without cameras
    min_view_angle_deg: float = 10.0  # of cross-view pairs; nearer views show nearly the same image
    # of both kinds, where it is known; cross-view pairs: sought to candidates.max_target_angle_deg
    max_view_angle_deg: float = 90.0
    min_covisibility: float = 0.2
    # of cross-pose pairs; less is the same pose: noise makes 0.02 to 0.14
    min_pose_distance: float = 0.1
    # more is a wrong skeleton or another person; sought up to candidates.max_target_distance
    max_pose_distance: float = 0.8
    max_time_gap_s: float = 10.0  # sought up to candidates.max_time_gap_s, which is less
    min_scale_ratio: float = 0.25
    min_sharpness: float = 5.0
    max_truncation: float | None = None  # share of the worse crop's person outside the frame
    max_occlusion: float | None = 0.6  # share of the worse crop's person that others hide
    min_mean_confidence: float = 0.3  # mean confidence of all keypoints of the worse crop
    min_appearance: float = 0.0  # likeness of colours; above 0 it drops pairs across strong lights
    min_phash_distance: int = 4  # of 64 bits; fewer differ only between near-identical crops


@dataclass(frozen=True, kw_only=True)
class CropFacts:
    """What the terms need of a crop, named as in the table `crops`; `view` is the view's index,
    `phash` 16 hex digits, `keypoints_px` (K, 3), `box_px` (4,).

    The rest needs a calibrated view and triangulated joints: `joints_world` (K, 3) with NaN for
    unknown ones, unit vectors (3,) from the person to the camera in the world's axes and in the
    body's own (NaN where unknown), and the points of the surface that the view sees.
    """

    crop_id: str
    view: int
    time_s: float
    keypoints_px: Array
    box_px: Array
    sharpness: float
    phash: str
    truncation: float | None = None
    occlusion: float | None = None
    appearance: Sequence[float] | None = None
    joints_world: Array | None = None
    to_camera_world: Array = field(default_factory=UNKNOWN.copy)
    to_camera_within: Array = field(default_factory=UNKNOWN.copy)
    seen_surface: Seen | None = None


def pair_terms(kind: Kind, crop_a: CropFacts, crop_b: CropFacts, config: ScoreConfig) -> Terms:
    """Work out every term column of a pair, and its `kind`; None where a term does not apply or
    cannot be known.

    View angles of one instant are those at the person's middle, which needs no trunk; at two
    instants they are those that the body or hand feels. Poses of bodies are compared in space
    where their joints are triangulated: on detected keypoints of walking people that correlates
    with the true distance by 0.85, comparison in the image by 0.29, because a turn looks like
    another pose. Hands are compared in the image of one camera (0.56; in space 0.35, as their
    joints are triangulated too roughly).
    """
    if kind == "cross_view":
        view_angle_deg = angle_deg(crop_a.to_camera_world, crop_b.to_camera_world)
    else:
        view_angle_deg = angle_deg(crop_a.to_camera_within, crop_b.to_camera_within)
    sides_px = [float(crop.box_px[2] - crop.box_px[0]) for crop in (crop_a, crop_b)]
    return {
        "kind": kind,
        "view_angle_deg": view_angle_deg,
        "covisibility": _covisibility(crop_a, crop_b, view_angle_deg, config),
        "time_gap_s": abs(crop_b.time_s - crop_a.time_s),
        "pose_distance": None if kind == "cross_view" else _pose_distance(crop_a, crop_b, config),
        "scale_ratio": min(sides_px) / max(*sides_px, 1e-9),
        "sharpness_min": min(crop_a.sharpness, crop_b.sharpness),
        "truncation_max": _worse(crop_a.truncation, crop_b.truncation),
        "occlusion_max": _worse(crop_a.occlusion, crop_b.occlusion),
        "keypoint_confidence_min": min(
            float(np.nan_to_num(crop.keypoints_px[:, 2]).mean()) for crop in (crop_a, crop_b)
        ),
        "appearance_similarity": appearance_similarity(crop_a.appearance, crop_b.appearance),
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
        ("truncated", "truncation_max", None, config.max_truncation),
        ("occluded", "occlusion_max", None, config.max_occlusion),
        ("keypoints", "keypoint_confidence_min", config.min_mean_confidence, None),
        ("appearance", "appearance_similarity", config.min_appearance, None),
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


def _covisibility(
    crop_a: CropFacts, crop_b: CropFacts, view_angle_deg: float | None, config: ScoreConfig
) -> float:
    if crop_a.seen_surface is not None and crop_b.seen_surface is not None:
        num_joints = len(crop_a.keypoints_px)
        shared = shared_surface(crop_a.seen_surface, crop_b.seen_surface, num_joints)
        if shared is not None:
            return shared
    return shared_cylinder(
        crop_a.keypoints_px,
        crop_b.keypoints_px,
        view_angle_deg,
        min_confidence=config.min_keypoint_confidence,
    )


def _pose_distance(crop_a: CropFacts, crop_b: CropFacts, config: ScoreConfig) -> float | None:
    """In space for bodies, in the image for hands, and the other way where that is not known."""
    in_space = in_image = None
    if crop_a.joints_world is not None and crop_b.joints_world is not None:
        in_space = pose_distance_world(
            crop_a.joints_world, crop_b.joints_world, min_joints=config.min_common_keypoints
        )
    if crop_a.view == crop_b.view:
        in_image = pose_distance(
            crop_a.keypoints_px,
            crop_b.keypoints_px,
            min_confidence=config.min_keypoint_confidence,
            min_joints=config.min_common_keypoints,
        )
    is_body = len(crop_a.keypoints_px) == NUM_BODY_KEYPOINTS
    first, second = (in_space, in_image) if is_body else (in_image, in_space)
    return second if first is None else first


def _worse(share_a: float | None, share_b: float | None) -> float | None:
    known = [share for share in (share_a, share_b) if share is not None]
    return max(known) if known else None
