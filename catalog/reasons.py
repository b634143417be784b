"""Why things are dropped on purpose: every word that a stage of ours gives in `rejects.reason`,
what it means, and the settings that decide. Sources and detectors of other packages may give words
of their own.

docs/tables.md and `python -m catalog tables reasons` show this list; a test finds words in the code
that are not in it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One word of one stage: the meaning ends the sentence "dropped because"; the settings are of
    `mining run --set`, those of stage `shards` of `shards build --set`.
    """

    stage: str
    word: str
    meaning: str
    settings: tuple[str, ...] = ()


# fmt: off
OF_BODIES = (  # of stage identify; the hands of such a body are dropped with it
    Reason("identify", "untracked", "it is in no track that is long enough",
           ("track.min_track_frames",)),
    Reason("identify", "ambiguous", "its track fits another person nearly as well, or better",
           ("associate.ambiguity_margin",)),
    Reason("identify", "mixed_people", "its track still follows several people after being cut",
           ("associate.change_cost",)),
    Reason("identify", "between_people", "its track changes person here, or too briefly after",
           ("associate.change_cost", "associate.min_common_times")),
    Reason("identify", "outlier", "it disagrees with where other views see its person",
           ("associate.max_own_error",)),
    Reason("identify", "misplaced", "too many keypoints lie where no joint of its person is",
           ("associate.max_misplaced_share",)),
    Reason("identify", "mirrored", "its left and right are exchanged",
           ("associate.max_misplaced_share",)),
)

REASONS = (
    Reason("list", "evaluation", "others measure their models on it; the dataset's option "
           "include_evaluation keeps it"),
    Reason("list", "ignored", "its source leaves it out, as faulty"),
    Reason("list", "no_footage", "the dataset lists the view, but its images are not there"),
    Reason("list", "missing", "the dataset's table lists images that are not there"),
    Reason("list", "no_calibration", "the dataset has no calibration of the view"),

    Reason("calibrate", "too_few_moments", "too few moments show one moving person to this view "
           "and another", ("calibrate.min_moments", "calibrate.min_change_sizes")),
    Reason("calibrate", "unexplained", "the best camera explains too few of the keypoints",
           ("calibrate.min_explained", "calibrate.min_explained_by_two")),
    Reason("calibrate", "small_parallax", "every other view looks from nearly the same direction",
           ("calibrate.min_parallax_deg",)),
    Reason("calibrate", "unsteady", "other moments give another camera",
           ("calibrate.max_spread_deg",)),
    Reason("calibrate", "ambiguous", "another camera explains two views nearly as well",
           ("calibrate.min_rival_cost",)),
    Reason("calibrate", "unconfirmed", "two views fit nearly as well when one is shifted in time",
           ("calibrate.min_shifted_cost",)),
    Reason("calibrate", "broke_off", "its frames could not be read to the end"),

    Reason("sync", "not_sought", "clocks are not to be estimated", ("calibrate.estimate",)),
    Reason("sync", "no_offset", "the motion does not tell when the view began",
           ("sync.min_evidence", "sync.min_peak_margin", "sync.min_overlap_s")),

    Reason("detect", "small", "the person or hand is too small",
           ("crop.min_person_px", "crop.min_hand_px")),
    Reason("detect", "few_keypoints", "too few keypoints are seen",
           ("crop.min_keypoints", "crop.min_hand_keypoints", "crop.min_confidence")),
    Reason("detect", "outside_frame", "too little of the square is within the frame",
           ("crop.min_inside",)),
    Reason("detect", "small_hand", "there are too few pixels around the wrist to look for a hand",
           ("detect.min_hand_px",)),
    Reason("detect", "no_hand", "no hand is seen at the wrist", ("detect.hand_confidence",)),
    Reason("detect", "other_hand", "the hand that is seen is not at this wrist"),
    Reason("detect", "handedness", "the hand at the wrist is one of the other side"),
    Reason("detect", "same_hand", "the hand that is seen fits another wrist better"),

    *OF_BODIES,
    *(Reason("identify", f"body_{of_body.word}", f"it is a hand of a body that is {of_body.word}",
             of_body.settings) for of_body in OF_BODIES),
    Reason("identify", "handedness", "its track does not agree on which hand it is",
           ("track.min_handedness_share",)),
    Reason("identify", "second_hand", "its body has a hand of that side that scores more"),
    Reason("identify", "not_at_wrist", "it lies too far from its body's wrist"),
    Reason("identify", "other_wrist", "it lies at another wrist than its body's"),
    Reason("identify", "ambiguous_wrist", "another wrist is nearly as near as its body's"),
    Reason("identify", "disputed_wrist", "the views disagree on where its body's wrist is"),

    Reason("crop", "near_duplicate", "its person looks as in the last moment kept, in every view",
           ("redundancy.max_phash_bits", "redundancy.max_pose_distance")),

    Reason("pair", "view_angle_unknown", "the angle between the views is not known",
           ("score.require_view_angle",)),
    Reason("pair", "pose_unknown", "the poses cannot be compared", ("score.min_common_keypoints",)),
    Reason("pair", "near_identical", "the two images are nearly the same",
           ("score.min_phash_distance",)),
    Reason("pair", "same_look", "both crops look like one and the same earlier crop",
           ("redundancy.max_phash_bits", "redundancy.max_pose_distance")),
    Reason("pair", "repeated_pair", "both crops look as in an earlier pair of its kind",
           ("redundancy.max_phash_bits", "redundancy.max_pose_distance")),
    Reason("pair", "view_angle", "the views are too near to each other or too far apart",
           ("score.min_view_angle_deg", "score.max_view_angle_deg")),
    Reason("pair", "covisibility", "too little of the surface is seen in both",
           ("score.min_covisibility",)),
    Reason("pair", "same_pose", "the poses hardly differ", ("score.min_pose_distance",)),
    Reason("pair", "pose_too_far", "the poses differ as those of two people, or a wrong skeleton",
           ("score.max_pose_distance",)),
    Reason("pair", "time_gap", "the moments are too far apart", ("score.max_time_gap_s",)),
    Reason("pair", "scale", "one is much larger in its frame than the other",
           ("score.min_scale_ratio",)),
    Reason("pair", "blurred", "one is not sharp", ("score.min_sharpness",)),
    Reason("pair", "truncated", "too much of one lies outside the frame",
           ("score.max_truncation",)),
    Reason("pair", "occluded", "too much of one is hidden by others", ("score.max_occlusion",)),
    Reason("pair", "keypoints", "the keypoints of one are not sure",
           ("score.min_mean_confidence",)),
    Reason("pair", "appearance", "the colours differ too much", ("score.min_appearance",)),

    Reason("label", "small", "the person or hand is too small",
           ("label.min_person_px", "label.min_hand_px")),
    Reason("label", "outside_frame", "too little of the square is within the image",
           ("label.min_inside",)),
    Reason("label", "no_label", "nothing is known of it that could be learned"),
    Reason("label", "hidden", "too few of its keypoints are in plain sight"),

    Reason("shards", "angle_bin_cap", "its person has enough better pairs of like view angles",
           ("max_pairs_per_angle_bin", "angle_bin_deg")),
    Reason("shards", "identity_cap", "its person has enough better pairs of its kind",
           ("max_pairs_per_identity_per_kind",)),
)
# fmt: on
