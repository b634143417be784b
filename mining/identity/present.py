"""Who is there at a time: of all identities of a capture, those whose times come near, found
without looking at every one, so that the cost of asking for each grows with the footage alone.
"""

from collections import defaultdict
from collections.abc import Sequence

from mining.identity.joints import Identity

BUCKET_S = 4.0  # identities are noted in each stretch of this length that they touch


class Present:
    """Identities by the stretches of time in which they are there."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._identities = identities
        self._buckets: dict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(identities):
            for bucket in _touched(one.times_s[0], one.times_s[-1]):
                self._buckets[bucket].append(number)

    def between(self, first_s: float, last_s: float, slack_s: float) -> list[Identity]:
        """The identities, in the order given, that are there from `first_s` to `last_s`, or less
        than `slack_s` before or after.
        """
        buckets = _touched(first_s - slack_s, last_s + slack_s)
        numbers = sorted({number for bucket in buckets for number in self._buckets.get(bucket, ())})
        return [
            one
            for one in (self._identities[number] for number in numbers)
            if one.times_s[-1] >= first_s - slack_s and one.times_s[0] <= last_s + slack_s
        ]


def _touched(first_s: float, last_s: float) -> range:
    return range(int(first_s // BUCKET_S), int(last_s // BUCKET_S) + 1)
