"""The keypoints of bodies and hands in the one order in which they are stored: COCO's 17 of a body,
left before right, and 21 of a hand, the wrist and then each finger from base to tip.
"""

COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
FINGERS = ("thumb", "index", "middle", "ring", "little")
HAND_KEYPOINTS = (
    "wrist",
    *(f"{finger}{link}" for finger in FINGERS for link in range(1, 4 + 1)),
)
NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS = len(COCO_KEYPOINTS), len(HAND_KEYPOINTS)

# places in the body's order
(
    NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR, LEFT_SHOULDER, RIGHT_SHOULDER,
    LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP,
    LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE,
) = range(NUM_BODY_KEYPOINTS)  # fmt: skip
# of each keypoint of a body the one on the other side, itself where it has none
MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]

# places in the hand's order; a finger's other keypoints follow its base
WRIST = 0
THUMB_BASE, INDEX_BASE, MIDDLE_BASE, RING_BASE, LITTLE_BASE = range(1, NUM_HAND_KEYPOINTS, 4)
