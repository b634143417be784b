"""The quality report: right where the pairs are right, and not right where they are made wrong."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from catalog.config import override, to_dict
from catalog.measurements import Measurement
from mining.config import MiningConfig
from mining.executor import Done
from mining.quality import metrics
from mining.quality.pairs import MinedTruth, read_mined
from mining.quality.report import failed_goals, measure_scenes
from mining.run import RunOptions, mine
from mining.sources.base import DatasetSpec
from mining.synthetic.config import SyntheticConfig

SCENES = SyntheticConfig(
    people_per_capture=3, num_views=3, num_frames=6, fps=4.0, motion="crossing",
    background="static", image_px=(192,),
)  # fmt: skip
SETTINGS = ["crop.min_person_px=40", "crop.min_hand_px=8", "sample.fps=4"]


def unwatched(done: Iterable[Done], total: int, stage: str) -> Iterable[Done]:
    return done


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> MinedTruth:
    root = str(tmp_path_factory.mktemp("quality"))
    options = {**to_dict(SCENES), "num_captures": 1, "annotations": "given"}
    spec = DatasetSpec(name="scenes", adapter="synthetic", root="synthetic", options=options)
    config = override(MiningConfig(), SETTINGS)
    mine(spec, config, RunOptions(root=root, workers=0), unwatched)
    return read_mined(root, "scenes")


def values(measured: Iterable[Measurement]) -> dict[str, float | None]:
    return {row.metric: row.value for row in measured}


def test_given_people_and_cameras_are_as_good_as_the_truth(mined: MinedTruth) -> None:
    found = values(measure_scenes(mined, min_person_px=40))
    assert found["person_recall"] == found["handedness_accuracy"] == 1
    assert found["identity_purity_cross_view"] == found["identity_purity_cross_pose"] == 1
    assert found["view_angle_error_deg"] < 0.5 and found["time_error_s"] == 0
    assert found["covisibility_rank_correlation"] > 0.9
    assert found["pose_distance_correlation"] > 0.95


def test_a_pair_of_two_people_is_noticed(mined: MinedTruth) -> None:
    [victim] = [pair for pair in mined.pairs if pair["kind"] == "cross_view"][:1]
    person, part = mined.shown[victim["detection_a"]]
    shown = mined.shown | {victim["detection_a"]: ((person + 1) % 3, part)}
    assert metrics.identity_purity(replace(mined, shown=shown), "cross_view").value < 1
    del shown[victim["detection_a"]]
    assert metrics.identity_purity(replace(mined, shown=shown), "cross_view").value < 1


def test_a_hand_of_the_wrong_side_is_noticed(mined: MinedTruth) -> None:
    hand = next(row for row in mined.detections if row["part"] == "left_hand" and row["crop_id"])
    wrong = [{**row, "part": "right_hand"} if row is hand else row for row in mined.detections]
    assert metrics.handedness_accuracy(replace(mined, detections=wrong)).value < 1


def test_people_who_were_not_found_lower_the_recall(mined: MinedTruth) -> None:
    some = frozenset(row["detection_id"] for row in mined.detections[::2])
    assert metrics.person_recall(replace(mined, unused=some), 40).value < 0.9


def test_goals_are_read_as_they_are_written() -> None:
    def row(value: float | None, goal: str) -> Measurement:
        return Measurement(metric=goal, value=value, unit="", compared_with="", goal=goal)

    reached = [row(0.996, ">= 0.995"), row(3.0, "<= 3"), row(0.0, "0"), row(None, "")]
    missed = [row(0.9, ">= 0.95"), row(4.0, "<= 2"), row(0.1, "0"), row(None, ">= 1")]
    assert failed_goals([*reached, *missed]) == [each.metric for each in missed]
