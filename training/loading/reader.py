"""Read single samples of a shard by position, from a local disk or an object store, and decode
them.
"""

import io
import json
import tarfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from webdataset.tariterators import base_plus_ext

from catalog import storage
from shards.format import EXTENSIONS, decode_foreground

KINDS = ("cross_view", "cross_pose")

Extents = dict[str, tuple[int, int]]  # extension -> offset and length of its bytes in the tar


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A decoded sample."""

    meta: dict[str, Any]  # the sample's JSON, less the foregrounds
    images: list[npt.NDArray[np.uint8]]  # a and b, (H, W, 3) RGB
    foregrounds: list[
        npt.NDArray[np.uint8]
    ]  # of a and b: share 0..255 of each cell that is the person


class Shard:
    """One tar: a table of where each sample's files lie, and the bytes.

    A tar that ends early keeps the samples before the damage; the others are refused one by one
    with the reason.
    """

    def __init__(self, url: str) -> None:
        self._samples: list[tuple[str, Extents]] = []
        self._problem = "the shard has fewer samples than its index says"
        self._stream: BinaryIO = io.BytesIO()
        try:
            # An object store answers one long read faster than thousands of short ones; a local
            # file is mapped by the kernel's cache, and several worker processes share it.
            self._stream = (
                io.BytesIO(storage.read_bytes(url)) if "://" in url else storage.open_read(url)
            )
            self._scan()
        except (OSError, tarfile.TarError) as error:
            self._problem = f"the shard cannot be read to its end: {error}"

    def read(self, position: int) -> tuple[str, dict[str, bytes]]:
        """Return a sample's key and its files by extension. Raises ValueError when it is damaged or
        lost.
        """
        if position >= len(self._samples):
            raise ValueError(self._problem)
        key, extents = self._samples[position]
        missing = [name for name in EXTENSIONS if name not in extents]
        if missing:
            raise ValueError(f"{key} has no {', '.join(missing)}")
        files = {}
        for name in EXTENSIONS:
            offset, length = extents[name]
            self._stream.seek(offset)
            files[name] = self._stream.read(length)
        return key, files

    def close(self) -> None:
        """Release the file or the memory."""
        self._stream.close()

    def _scan(self) -> None:
        with tarfile.open(fileobj=self._stream, mode="r:") as tar:
            for member in tar:
                key, extension = base_plus_ext(member.name)
                if not member.isfile() or key is None:
                    continue
                if not self._samples or self._samples[-1][0] != key:
                    self._samples.append((key, {}))
                self._samples[-1][1][extension] = (member.offset_data, member.size)


class ShardCache:
    """The shards in use, the least recently used closed first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._open: OrderedDict[str, Shard] = OrderedDict()

    def get(self, url: str) -> Shard:
        """Return the shard, opening it if need be."""
        if url not in self._open:
            while len(self._open) >= self._capacity:
                self._open.popitem(last=False)[1].close()
            self._open[url] = Shard(url)
        self._open.move_to_end(url)
        return self._open[url]


def decode_pair(key: str, files: dict[str, bytes], half_size: bool) -> Pair:
    """Decode a sample; `half_size` decodes its JPEGs at half their side, which is much cheaper.

    Raises ValueError, naming the sample, when a part is damaged.
    """
    try:
        meta = json.loads(files["json"])
        if meta["kind"] not in KINDS:
            raise ValueError(f"unknown kind {meta['kind']!r}")
        if not {"pair_id", "identity_id", "dataset"} <= meta.keys():
            raise ValueError("its JSON lacks pair_id, identity_id or dataset")
        images = [_decode_jpeg(files[f"{side}.jpg"], half_size) for side in "ab"]
        foregrounds = [decode_foreground(meta[side].pop("foreground")) for side in "ab"]
        return Pair(meta=meta, images=images, foregrounds=foregrounds)
    except KeyError as error:
        raise ValueError(f"{key}: its JSON has no {error}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key}: {error}") from None


def _decode_jpeg(data: bytes, half_size: bool) -> npt.NDArray[np.uint8]:
    if not data.rstrip(b"\0").endswith(
        b"\xff\xd9"
    ):  # the decoder fills what is missing with grey, silently
        raise ValueError("a JPEG is cut off")
    flag = cv2.IMREAD_REDUCED_COLOR_2 if half_size else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None or image.shape[0] != image.shape[1]:
        raise ValueError("an image is no JPEG, or not square")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
