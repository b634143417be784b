"""Read single samples of a shard by position, and take them apart."""

import json
import os
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from webdataset.tariterators import base_plus_ext

from shards.format import ShardEntry
from shards.pairs import IMAGES, decode_foreground, decode_keypoints
from training.loading.shard_files import ShardFiles
from training.loading.tar_members import list_members

KINDS = ("cross_view", "cross_pose")
META_KEYS = {"pair_id", "identity_id", "dataset", "kind", "a", "b"}  # of a sample's JSON

Extents = dict[str, tuple[int, int]]  # extension -> where its bytes start and end in the tar
Files = dict[str, memoryview]  # of a sample, by extension; they share one piece of memory


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sample, its images still encoded."""

    meta: dict[str, Any]  # the sample's JSON
    jpegs: list[memoryview]  # a's first, as in the arrays below
    foreground: npt.NDArray[np.uint8]  # (2, G, G): share 0..255 of each cell that is the person
    keypoints_px: npt.NDArray[np.float32]  # (2, K, 3): x, y in the stored image; confidence


class Shard:
    """One tar: a table of where each sample's files lie, and the bytes.

    A tar that ends early keeps the samples before the damage; the others are refused one by one
    with the reason.
    """

    def __init__(self, files: ShardFiles, url: str, entry: ShardEntry) -> None:
        self._samples: list[tuple[str, Extents]] = []
        self._problem = "the shard has fewer samples than its index says"
        self._file: FileIO | None = None
        try:
            self._file = files.open(url, entry)
            self._scan(self._file)
        except (OSError, ValueError, tarfile.TarError) as error:
            what = "cannot be read" if self._file is None else "cannot be read to its end"
            self._problem = f"the shard {what}: {error}"

    def read(self, position: int, required: Sequence[str]) -> tuple[str, Files]:
        """Return a sample's key and its files by extension. Raises ValueError when it is damaged or
        lost, or lacks a required one.
        """
        if self._file is None or position >= len(self._samples):
            raise ValueError(self._problem)
        key, extents = self._samples[position]
        missing = [name for name in required if name not in extents]
        if missing:
            raise ValueError(f"{key} has no {', '.join(missing)}")
        # A sample's files lie one behind the other: one read is cheaper than one for each.
        first = min(start for start, _ in extents.values())
        size = max(end for _, end in extents.values()) - first
        data = memoryview(os.pread(self._file.fileno(), size, first))
        files = {name: data[start - first : end - first] for name, (start, end) in extents.items()}
        return key, files

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._file.close()

    def _scan(self, file: FileIO) -> None:
        for name, offset, length in list_members(file):
            key, extension = base_plus_ext(name)
            if key is None:
                continue
            if not self._samples or self._samples[-1][0] != key:
                self._samples.append((key, {}))
            self._samples[-1][1][extension] = (offset, offset + length)


class ShardCache:
    """The shards in use, the least recently used closed first."""

    def __init__(self, files: ShardFiles, capacity: int) -> None:
        self._files, self._capacity = files, capacity
        self._open: OrderedDict[str, Shard] = OrderedDict()

    def get(self, url: str, entry: ShardEntry) -> Shard:
        """Return the shard, opening it if need be."""
        if url not in self._open:
            while len(self._open) >= self._capacity:
                self._open.popitem(last=False)[1].close()
            self._open[url] = Shard(self._files, url, entry)
        self._open.move_to_end(url)
        return self._open[url]


def parse_pair(key: str, files: Files) -> Pair:
    """Take a sample's files apart. Raises ValueError, naming the sample, when one is damaged."""
    try:
        meta = json.loads(str(files["json"], "utf-8"))  # of bytes, it would guess their encoding
        if not isinstance(meta, dict) or not meta.keys() >= META_KEYS:
            found = meta.keys() if isinstance(meta, dict) else set()
            raise ValueError(f"its JSON lacks {', '.join(sorted(META_KEYS - found))}")
        if meta["kind"] not in KINDS:
            raise ValueError(f"unknown kind {meta['kind']!r}")
        if not all(isinstance(meta[side], dict) for side in "ab"):
            raise ValueError("its JSON's a or b is no object")
        return Pair(
            meta=meta,
            jpegs=[files[name] for name in IMAGES],
            foreground=decode_foreground(files["foreground.npy"]),
            keypoints_px=decode_keypoints(files["keypoints.npy"]),
        )
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def decode_jpeg(
    data: bytes | memoryview, scaled_px: int | None = None, out: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Decode a square JPEG to RGB: with `scaled_px`, half its side, at that size, which is much
    cheaper; or over `out`, which must have its size.

    Raises ValueError when it is damaged, cut off, not square or not of the size of `out`.
    """
    smallest = scaled_px or 0
    try:
        image = simplejpeg.decode_jpeg(data, min_height=smallest, min_width=smallest, buffer=out)
    except ValueError as error:
        raise ValueError(f"an image is no whole JPEG of its set's size ({error})") from None
    if image.shape[0] != image.shape[1] or (out is not None and image.shape != out.shape):
        raise ValueError(f"an image has the wrong size: {image.shape[1]} x {image.shape[0]} px")
    return np.asarray(image, np.uint8)
