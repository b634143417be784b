"""Which image of a pair is masked: the one that was mined as a, either by chance, or the later one.

Masking the later of two moments makes the model look ahead in time from the earlier one, as SiamMAE
asks; by chance, as MIMIC does, each image serves in both roles.
"""

from typing import Any, Literal

Roles = Literal["as_mined", "random", "later_first"]


def is_swapped(meta: dict[str, Any], roles: Roles, chance: float) -> bool:
    """Tell whether the two images of a pair change roles; `chance`, in [0, 1), decides a random
    draw.

    Pairs of one instant stay as mined under `later_first`: their clocks differ by errors alone.
    """
    if roles == "random":
        return chance >= 0.5
    if roles == "as_mined" or meta["kind"] == "cross_view":
        return False
    times_s = [meta[side].get("time_s") for side in "ab"]
    return all(isinstance(time_s, int | float) for time_s in times_s) and times_s[0] < times_s[1]
