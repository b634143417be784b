"""What an adapter hands to the reader: one camera's annotated frames, named by a uri that says all.

A uri reads `adapter:root?key=value&...`; whoever has it can open the view again, in any process.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from catalog.ids import content_id
from mining.sources.base import Detection
from mining.sources.datasets.parsing import kept

READER = "annotated"  # the name under which views ask for `AnnotatedReader`
VERSION = 1  # raise it when the adapters give other people for the same files


@dataclass(frozen=True, kw_only=True)
class Tile:
    """An image file that fills a frame, or the window (x0, y0, x1, y1) that was cut out of one."""

    file: str
    window_px: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class AnnotatedView:
    """The annotated frames of one camera; frames that nobody annotated are not among them.

    `indices` (N,) are their numbers, ascending; `first` is the number of the frame at time 0, the
    same in all cameras of a capture, and `num_frames` the length from there. `people` gives those
    of the frame at a place in `indices`. Pixels come from `video`, whose frames are counted from 0
    and whose rate counts, or from `tiles`, one group for each of `indices`, at `fps`. Where tiles
    have windows, `size_px` is the frame that they are put back into.
    """

    indices: NDArray[np.int64]
    people: Callable[[int], tuple[Detection, ...]]
    video: str | None = None
    tiles: Sequence[tuple[Tile, ...]] = ()
    fps: float = 30.0
    first: int = 0
    num_frames: int = 0
    size_px: tuple[int, int] | None = None


def view_uri(adapter: str, root: str, place: Mapping[str, object]) -> str:
    """Write which view of a dataset is meant; `place` names it within the dataset."""
    return f"{adapter}:{root}?{urlencode({key: str(place[key]) for key in place}, safe='/ ')}"


def parse_uri(uri: str) -> tuple[str, str, dict[str, str]]:
    """Read adapter, root and place back. Raises ValueError for other text."""
    adapter, colon, rest = uri.partition(":")
    root, mark, query = rest.rpartition("?")
    if not (colon and mark and root):
        raise ValueError(f"not a view of a dataset: {uri[:80]!r}, expected adapter:root?key=value")
    return adapter, root, dict(parse_qsl(query, keep_blank_values=True))


def fingerprint_of(marks: Sequence[str], files: Iterable[str]) -> str:
    """The fingerprint of a view: `marks` of its annotation files, and its images' or video's.

    Of many images it takes all names, and the content of the first and last: opening each of a
    million would take longer than to mine them.
    """
    files = list(files)
    ends = [storage.fingerprint(file) for file in (files[:1] + files[1:][-1:])]
    return content_id(VERSION, list(marks), [file.rsplit("/", 1)[-1] for file in files], ends)


def have_files(
    indices: Sequence[int], files: Sequence[str]
) -> tuple[NDArray[np.int64], list[tuple[Tile, ...]]]:
    """Keep the frames whose image is there: their indices, ascending, and a tile for each.

    Each folder is listed once. Raises ValueError when no image is there.
    """
    there = sorted(
        (index, file)
        for index, file in zip(indices, files, strict=True)
        if file in files_in(file.rpartition("/")[0])
    )
    if not there:
        example = f", as {files[0]}" if files else ""
        raise ValueError(f"none of its {len(files)} annotated images is there{example}")
    tiles: list[tuple[Tile, ...]] = [(Tile(file=file),) for _, file in there]
    return np.array([index for index, _ in there], dtype=np.int64), tiles


@kept(256)
def files_in(folder: str) -> frozenset[str]:
    """The files directly in a folder, as full URLs; each folder is listed once."""
    return frozenset(storage.list_files(folder))
