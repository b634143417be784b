"""The group of every sample, in the index: what a trainer needs to mix sources, kinds and parts.

The samples of one dataset, kind and part are a group. An index lists its groups once and gives each
sample the number of its own as two hex digits, in the order of the tar. So the make-up of every tar
is known without opening one, and costs two bytes a sample.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_GROUPS = 256  # what two hex digits can tell apart
ENCODED = re.compile(r"(?:[0-9a-f]{2})*")


@dataclass(frozen=True, kw_only=True, order=True)
class Group:
    """What the samples of a group have in common."""

    dataset: str
    kind: str  # `cross_view` or `cross_pose`; of labelled images `single` or `two_view`
    part: str  # `body`, `left_hand` or `right_hand`


def encode_groups(numbers: Iterable[int]) -> str:
    """Encode the group numbers 0..255 of samples as text, two lower-case hex digits for each."""
    return bytes(numbers).hex()


def decode_groups(text: str) -> npt.NDArray[np.uint8]:
    """Decode the group numbers of samples. Raises ValueError when the text is not such numbers."""
    if not ENCODED.fullmatch(text):
        raise ValueError("group numbers are not pairs of lower-case hex digits")
    return np.frombuffer(bytes.fromhex(text), np.uint8)
