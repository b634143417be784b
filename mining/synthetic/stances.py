"""Everyday stances as joint angles in degrees, the centres that random poses are drawn around.

The angles are those of `poses.LIMITS`; a name without a side goes to both sides. Left and right can
be exchanged, so each one-sided stance is here once.
"""

# What every stance starts from.
STANDING: dict[str, float] = {
    "arm_raise": 12, "arm_forward": 25, "elbow": 15, "fingers": 22,
    "hip_spread": -3, "hip_turn": 5, "knee": 4,
}  # fmt: skip

# What differs from standing.
STANCES: dict[str, dict[str, float]] = {
    "stand": {},
    "weight on one leg": {
        "pelvis_side": 6, "spine_side": -8, "left_knee": 5, "right_knee": 28,
        "right_hip_forward": 22, "right_hip_spread": 9,
    },
    "stride": {
        "left_hip_forward": 28, "left_knee": 8, "right_hip_forward": -16, "right_knee": 22,
        "right_ankle": -12, "left_arm_raise": 24, "left_arm_forward": -45, "right_arm_raise": 28,
        "right_arm_forward": 90, "elbow": 30,
    },
    "run": {
        "spine_forward": 14, "left_hip_forward": 62, "left_knee": 85, "right_hip_forward": -14,
        "right_knee": 32, "right_ankle": -18, "left_arm_raise": 42, "left_arm_forward": -45,
        "right_arm_raise": 38, "right_arm_forward": 95, "elbow": 92, "fingers": 60,
    },
    "squat": {
        "spine_forward": 32, "hip_forward": 88, "hip_spread": 22, "hip_turn": 18, "knee": 108,
        "ankle": 18, "arm_raise": 62, "arm_forward": 92,
    },
    "lunge": {
        "spine_forward": 10, "left_hip_forward": 72, "left_knee": 78, "right_hip_forward": -18,
        "right_knee": 48, "right_ankle": -15,
    },
    "sit": {
        "spine_forward": 8, "hip_forward": 84, "hip_spread": 12, "knee": 88, "elbow": 55,
        "arm_forward": 70,
    },
    "bend forward": {
        "pelvis_forward": 18, "spine_forward": 48, "hip_forward": 22, "knee": 22, "arm_raise": 55,
        "arm_forward": 92,
    },
    "arms up": {"arm_raise": 145, "arm_forward": 35, "elbow": 22},
    "arms wide": {"arm_raise": 86, "arm_forward": 12, "elbow": 10, "hip_spread": 14},
    "wave": {
        "right_arm_raise": 82, "right_arm_forward": 15, "right_arm_turn": -40, "right_elbow": 95,
    },
    "point": {"left_arm_raise": 84, "left_arm_forward": 72, "left_elbow": 6, "left_fingers": 30},
    "hands on hips": {
        "arm_raise": 44, "arm_forward": -28, "arm_turn": 38, "elbow": 92, "hip_spread": 9,
    },
    "arms folded": {"arm_raise": 32, "arm_forward": 72, "elbow": 108, "forearm_turn": 10},
    "phone": {
        "right_arm_raise": 42, "right_arm_forward": 62, "right_elbow": 128, "head_side": -8,
        "right_fingers": 55,
    },
    "throw": {
        "spine_twist": -22, "right_arm_raise": 105, "right_arm_forward": -15, "right_elbow": 88,
        "left_arm_raise": 68, "left_arm_forward": 80, "left_hip_forward": 32, "left_knee": 28,
        "right_hip_forward": -8, "right_knee": 14,
    },
    "kick": {
        "spine_forward": -5, "left_hip_forward": 78, "left_knee": 12, "right_knee": 12,
        "left_arm_raise": 48, "right_arm_raise": 62, "arm_forward": 15,
    },
    "guard": {
        "spine_forward": 10, "arm_raise": 42, "arm_forward": 85, "elbow": 122, "fingers": 80,
        "left_hip_forward": 22, "left_knee": 28, "right_hip_forward": -6, "right_knee": 24,
        "hip_spread": 11,
    },
    "carry": {"arm_raise": 28, "arm_forward": 82, "elbow": 78, "spine_forward": -3},
    "tiptoe reach": {
        "left_arm_raise": 160, "left_arm_forward": 60, "left_elbow": 8, "ankle": -24,
        "head_forward": -18,
    },
}  # fmt: skip
