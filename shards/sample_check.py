"""What is checked of every sample, of pairs as of labels: its images, and where it belongs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.format import ShardEntry
from shards.groups import Group


def check_images(images: Mapping[str, npt.NDArray[np.uint8] | None], size_px: int) -> Iterator[str]:
    """Check decoded images, by file, against the size of the set's; None: it does not decode."""
    for name, image in images.items():
        if image is None:
            yield f"{name} does not decode"
        elif image.shape[:2] != (size_px, size_px):
            yield f"{name} has {image.shape[1]} x {image.shape[0]} px, not {size_px} x {size_px}"


def check_place(
    values: Mapping[str, Any], what: str, key: str, shard: ShardEntry, group: Group | None
) -> Iterator[str]:
    """Check that a description (`values`) is that of the `what`, pair or label, named `key`, and of
    its shard's split and its group.
    """
    id = values[f"{what}_id"]
    if (id, values["split"]) != (key, shard.split):
        yield f"its JSON is of {what} {id} in {values['split']}"
    elif group and (found := {name: values[name] for name in asdict(group)}) != asdict(group):
        of_index = " ".join(map(str, asdict(group).values()))
        yield f"its JSON is of {' '.join(map(str, found.values()))}, the index says {of_index}"
