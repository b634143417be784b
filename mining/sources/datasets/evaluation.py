"""What others measure their models on, and which is therefore left out of mining by default.

Each function answers with the reason that a sequence is left out, or None. The tables say what the
datasets' own files and papers call test or validation data; where a dataset names none, nothing is
left out, and docs/datasets.md says so.
"""

import re
from collections.abc import Collection, Mapping

Exclusion = tuple[str, str]
EVALUATION = "evaluation"

# Folders or files that the datasets themselves call so. 3DPW is mined from `train` and
# `validation`: its protocol evaluates on `test` alone. The others report on both.
EVALUATION_SPLITS = {
    "3dpw": ("test",),
    "interhand": ("val", "test"),
    "posetrack18": ("val", "test"),
}
# Human3.6M, protocols 1 and 2: trained on S1, S5, S6, S7, S8, tested on S9 and S11.
HUMAN36M_SUBJECTS = ("S9", "S11")
# AIST++: its lists in splits/, for the generation of dances and for poses.
AISTPP_LISTS = ("crossmodal_val.txt", "crossmodal_test.txt", "pose_val.txt", "pose_test.txt")
# Annotation files of COCO and its like: val2017, minival, test, testdev2015, validation.
EVALUATION_WORD = re.compile(r"(mini|valminusmini)?(val|valid|validation|test|testdev)\d*")
# CMU Panoptic has no official split: the four that VoxelPose and its followers test on.
PANOPTIC_SEQUENCES = ("160422_haggling1", "160906_band4", "160906_ian5", "160906_pizza1")


def of_split(dataset: str, split: str) -> Exclusion | None:
    """Whether a split's folder or file is for evaluation."""
    if split not in EVALUATION_SPLITS[dataset]:
        return None
    return EVALUATION, f"{split} is evaluation data of {dataset}"


def of_human36m(subject: str) -> Exclusion | None:
    """Whether a subject of Human3.6M is for evaluation."""
    if subject not in HUMAN36M_SUBJECTS:
        return None
    return EVALUATION, f"{subject} is a test subject of human36m"


def of_panoptic(sequence: str) -> Exclusion | None:
    """Whether a sequence of CMU Panoptic is commonly tested on."""
    if sequence not in PANOPTIC_SEQUENCES:
        return None
    return EVALUATION, "commonly tested on (VoxelPose's list)"


def of_penn(train: int) -> Exclusion | None:
    """Whether a clip of Penn Action, by its label's `train`, is for evaluation: all but 1."""
    return None if train == 1 else (EVALUATION, f"train = {train}: a test clip of pennaction")


def of_list(sequence: str, lists: Mapping[str, Collection[str]]) -> Exclusion | None:
    """Whether a sequence stands in one of the lists, by the lists' file names."""
    for name, sequences in lists.items():
        if sequence in sequences:
            return EVALUATION, f"in {name}"
    return None


def of_file(stem: str) -> Exclusion | None:
    """Whether an annotation file's name, as `person_keypoints_val2017`, says val or test."""
    for word in re.split(r"[_\-. ]", stem.lower()):
        if EVALUATION_WORD.fullmatch(word):
            return EVALUATION, f"{stem} says {word}"
    return None
