"""Settings of estimating cameras from people: what is believed before looking, and how much
evidence is enough.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """Priors, bounds on work, and the criteria below which a view gets no camera rather than a
    wrong one.

    A size is a person's size in the image, the longer side of their keypoints' bounds.
    """

    min_keypoint_confidence: float = 0.5  # keypoints below it are not used
    keypoint_error_sizes: float = 0.02  # a detector's usual error; Pose2Sim's footage: 0.015
    usual_focal: float = 1.1  # focal length by the image's longer side: between phones and webcams
    focal_deviation: float = 0.35  # of its logarithm: two thirds lie between 0.8 and 1.6
    focal_difference: float = 0.1  # of the logarithm, between the views of one capture
    bone_deviation: float = 0.1  # of the logarithm, of a person's bones from usual ones
    bone_change: float = 0.06  # share by which a bone seems to change, keypoints being misplaced
    max_tracks_per_view: int = 5  # those that move most are looked at
    max_moments: int = 60  # of all people together, for the joint adjustment
    min_change_sizes: float = 0.08  # a moment counts when people moved so far since any other
    min_moments: int = 8  # that two views share; someone at rest is one moment however long
    max_error_sizes: float = 0.06  # a keypoint farther from its joint's image is not explained
    min_explained: float = 0.7  # share of a view's keypoints that its camera must explain
    min_explained_by_two: float = 0.84  # the same where only two views stand: less confirms them
    min_parallax_deg: float = 8.0  # median angle between a view's rays and the best other view's
    max_spread_deg: float = 4.0  # standard error of a view's angles, by leaving out parts of time
    num_parts: int = 5  # that the time is cut into for this
    min_rival_cost: float = 1.15  # of two views alone: the next other pose must cost so much more
    min_shifted_cost: float = 1.2  # the same, for the best pose with one view shifted in time
    rival_turn_deg: float = 15.0  # a pose that turns less from the best is not another one

    def __post_init__(self) -> None:
        """Raise ValueError for settings with which nothing could be estimated or judged."""
        if self.num_parts < 2 or self.min_moments < 2 or self.max_moments < self.min_moments:
            raise ValueError(
                "calibrate: num_parts and min_moments must be 2 or more, and max_moments at least "
                f"min_moments, got {self.num_parts}, {self.min_moments}, {self.max_moments}"
            )
