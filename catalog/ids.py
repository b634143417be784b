"""Ids made from content: the same input gives the same id on any machine, with any number of
workers, at any time.
"""

import hashlib
import json
from typing import Any

ID_LENGTH = 16  # hex digits: 64 bits; a catalog of 100 million pairs collides with probability 3e-4


def content_id(*parts: Any) -> str:
    """Hash plain JSON values (str, int, float, bool, None, lists, dicts) into 16 hex digits.

    Raises TypeError for anything JSON cannot hold: an id must not depend on how an object prints
    itself.
    """
    text = json.dumps(
        parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def seed_of(*parts: Any) -> int:
    """Derive a 63-bit seed from plain JSON values, for generators that are passed to whatever needs
    randomness.
    """
    return int(content_id(*parts), 16) >> 1
