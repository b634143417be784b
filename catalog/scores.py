"""What ranks pairs: SQL expressions over the terms that are columns of the table `pairs`, presets
by name or a user's own.
"""

from dataclasses import dataclass

from catalog.schemas import PAIR_TERMS


@dataclass(frozen=True)
class Preset:
    """A named score expression and what it is for, in one line."""

    sql: str
    meaning: str


# CroCo v2's rule (Weinzaepfel et al., ICCV 2023): covisibility times a bell over angles, which is 1
# at 60 degrees and 0 at 90.
CROSS_VIEW = """
    CASE WHEN view_angle_deg > 90 THEN 0
    ELSE covisibility * 4 * cos(radians(view_angle_deg)) * (1 - cos(radians(view_angle_deg))) END
""".strip()

# Without cameras the angle is unknown: the bell's mean over angles from 0 to 180 degrees, 0 beyond
# 90, is 0.27, as 4 cos(a)(1 - cos(a)) integrates to 4 - pi up to a right angle.
UNKNOWN_ANGLE = "0.27 * covisibility"

# Sharpness that saturates about 100, and the keypoints' confidence.
QUALITY = "sharpness_min / (sharpness_min + 100.0) * keypoint_confidence_min"

# A bell on the logarithm of pose distance, 1 at 0.3 and 0.6 at half or double that, times quality.
# In Pose2Sim's footage somebody active moves by 0.1 in 0.1 s and by 0.4 in 0.5 s, somebody who
# stands by 0.04 in 1 s.
CROSS_POSE = f"""
    exp(-0.5 * pow(ln((pose_distance + 1e-6) / 0.3) / 0.69, 2))
    * {QUALITY}
""".strip()

# A share that is 1 where nothing is cut off or hidden; terms that are unknown take nothing away.
WHOLE = "(1 - coalesce(truncation_max, 0)) * (1 - coalesce(occlusion_max, 0))"


def _by_kind(cross_view: str, cross_pose: str) -> str:
    """One expression for both kinds of pairs; 0 where a term that it needs is unknown."""
    return f"""
CASE kind
  WHEN 'cross_view' THEN coalesce({cross_view}, 0)
  WHEN 'cross_pose' THEN coalesce({cross_pose}, 0)
  ELSE 0
END
""".strip()


PRESETS = {
    "default": Preset(
        _by_kind(f"coalesce({CROSS_VIEW}, {UNKNOWN_ANGLE})", CROSS_POSE),
        "CroCo v2's rule across views; across poses a band on pose distance, times quality",
    ),
    "crocov2": Preset(
        f"coalesce({CROSS_VIEW}, 0)",
        "covisibility x 4 cos(a)(1 - cos(a)), a the view angle, for both kinds: 0 without cameras",
    ),
    "easy": Preset(
        _by_kind(
            f"covisibility * exp(-0.5 * pow(view_angle_deg / 30.0, 2)) * {WHOLE}",
            f"covisibility * exp(-0.5 * pow(pose_distance / 0.15, 2)) * {WHOLE}",
        ),
        "near views and small changes of pose, much surface in both, little cut off or hidden",
    ),
    "hard": Preset(
        _by_kind(
            "exp(-0.5 * pow((view_angle_deg - 80.0) / 20.0, 2)) * (1 - 0.5 * covisibility)",
            f"exp(-0.5 * pow((pose_distance - 0.55) / 0.15, 2)) * {QUALITY}",
        ),
        "far views that share little, and poses far apart",
    ),
}


def expression_of(score: str) -> str:
    """The SQL of a preset's name, or the SQL itself.

    Raises ValueError for a single word that is neither a preset nor a term of `pairs`.
    """
    terms = {column.name for column in PAIR_TERMS}
    if score.isidentifier() and score not in PRESETS and score not in terms:
        raise ValueError(
            f"{score!r} is neither a preset ({', '.join(PRESETS)}) nor a term of pairs"
        )
    return PRESETS[score].sql if score in PRESETS else score
