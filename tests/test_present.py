"""Who is there at a time, against looking at everybody."""

import numpy as np

from mining.identity.joints import Identity
from mining.identity.present import Present


def somebody(first_s, last_s):
    return Identity(
        tracks=(0,), times_s=np.array([first_s, last_s]), joints_world=np.zeros((2, 17, 3)),
        disputed=np.zeros((2, 17), bool), reprojection_error_px=None,
    )  # fmt: skip


def test_those_who_are_there_are_found_in_the_order_given():
    generator = np.random.default_rng(0)
    starts_s = generator.uniform(0, 60, 80)
    people = [somebody(start, start + generator.exponential(5)) for start in starts_s]
    present = Present(people)
    for first_s in generator.uniform(-5, 70, 50):
        last_s = first_s + generator.exponential(3)
        slow = [
            one
            for one in people
            if one.times_s[-1] >= first_s - 0.1 and one.times_s[0] <= last_s + 0.1
        ]
        found = present.between(first_s, last_s, 0.1)
        assert [id(one) for one in found] == [id(one) for one in slow]
    assert Present([]).between(0.0, 1.0, 0.1) == []
