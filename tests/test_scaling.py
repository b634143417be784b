"""The measure of scaling finds people and pairs, and their number grows as the footage does."""

import numpy as np
import pytest

from catalog.commands import main
from mining.__main__ import build_parser
from mining.scaling import Scaling, measure_scaling, slope


def test_pairs_grow_linearly_with_footage(monkeypatch):
    monkeypatch.setattr("mining.scaling.BASE_S", 6.0)
    results = measure_scaling((1, 2, 4))
    per_second = np.array([(r.num_detections, r.num_candidates) for r in results]) / np.array(
        [[r.footage_s] for r in results]
    )
    assert (per_second.max(axis=0) / per_second.min(axis=0) < 1.35).all()
    assert all(result.num_pairs > 0.5 * result.num_candidates > 100 for result in results)
    assert slope(results) < 1.6  # a busy machine: `python -m mining scaling` measures it well


@pytest.mark.parametrize("factors", ["a,b", "1,", "4", "0,2", "1.5,3"])
def test_wrong_factors_are_one_sentence(factors, capsys):
    assert main(build_parser(), ["scaling", f"--factors={factors}"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"such as 1,2,4,8; got {factors}" in said


def test_the_slope_is_that_of_a_power():
    for power in (1.0, 1.5, 2.0):
        results = [
            Scaling(footage_s=f, num_detections=0, num_candidates=0, num_pairs=0, seconds=f**power)
            for f in (1.0, 2.0, 4.0, 8.0)
        ]
        assert abs(slope(results) - power) < 1e-9
