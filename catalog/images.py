"""The bytes of images, read from the tars that mining wrote and never encoded again: crops' JPEGs,
and PNGs of dense labels.
"""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from catalog import storage

READ_THREADS = 8  # tars read at once: hides the latency of an object store
# what a whole file of each kind begins and ends with
MARKS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))


class Place(NamedTuple):
    """Where an image lies."""

    file: str | None  # relative to the root; None when the catalog has no such crop
    offset: int | None
    length: int | None


def read_images(root: str, places: Iterable[Place]) -> dict[Place, bytes | ValueError]:
    """Read images, opening each tar once and only to the ranges that are needed.

    What cannot be read maps to a ValueError that says why; the others are not affected.
    """
    by_file: dict[str | None, list[Place]] = defaultdict(list)
    for place in sorted(set(places), key=lambda place: (place.file or "", place.offset or 0)):
        by_file[place.file].append(place)
    missing = by_file.pop(None, [])
    images: dict[Place, bytes | ValueError] = {
        place: ValueError("the catalog has no such crop") for place in missing
    }
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for found in pool.map(lambda item: _read_file(root, *item), by_file.items()):
            images.update(found)
    return images


def _read_file(root: str, file: str | None, places: list[Place]) -> dict[Place, bytes | ValueError]:
    assert file is not None
    images: dict[Place, bytes | ValueError] = {}
    try:
        with storage.open_read(storage.join(root, file)) as tar:
            for place in places:
                tar.seek(place.offset or 0)
                data = tar.read(place.length or 0)
                whole = len(data) == place.length
                is_image = any(
                    data.startswith(start) and data.endswith(end) for start, end in MARKS
                )
                images[place] = (
                    data if whole and is_image else ValueError(f"{file} is damaged: {_lack(place)}")
                )
    except OSError as error:
        reason = ValueError(f"{file} cannot be read: {error.strerror or 'it is not there'}")
        images.update({place: reason for place in places if place not in images})
    return images


def _lack(place: Place) -> str:
    return f"no whole JPEG or PNG of {place.length} bytes at {place.offset}"
