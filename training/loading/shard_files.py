"""Open the tars of shard sets as local files: those on a disk where they lie, those of an object
store through a cache on disk.

What was downloaded is checked against the set's index, and tried again when that may help. A file
that cannot be had is an error with its reason, which costs the reader that shard alone.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from catalog import storage
from catalog.cache import cache_path
from shards.format import ShardEntry
from training.loading.download_cache import DownloadCache

GIB = 2**30
FIRST_DELAY_S = 0.5  # before the second attempt; doubles with each
PIECE_BYTES = 64 * 2**20  # read at once: memory stays bounded, and one request serves most shards
MAX_DOWNLOADS = 2  # of a shard whose bytes are not the index's: a third would not match either
LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class ShardFilesConfig:
    """Where tars are kept and how hard they are tried."""

    cache_dir: str = ""  # of downloaded tars; empty: `shards` in the user's cache folder
    cache_gib: float = 20.0  # the most that downloaded tars take on disk
    prefetch_shards: int = 4  # downloaded ahead of their use, in each loader process
    read_attempts: int = 5  # before a shard that cannot be read is given up
    verify_sha256: bool = False  # also of tars on a local disk, when a process first opens one


class ShardFiles:
    """Opens tars by URL; a copy may live in every loader process."""

    def __init__(self, config: ShardFilesConfig) -> None:
        folder = Path(config.cache_dir or cache_path("shards")).expanduser()
        self._config = config
        self._cache = DownloadCache(folder, config.cache_gib * GIB)
        self._checked: set[str] = set()  # paths that this process has found whole

    def prepare(self, shards: Sequence[tuple[str, ShardEntry]]) -> None:
        """Make the cache when some of the shards need it.

        Raises ValueError when it has no room for one of them, and OSError when it cannot be made.
        """
        remote = [entry for url, entry in shards if storage.local_path(url) is None]
        largest = max(remote, key=lambda entry: entry.bytes, default=None)
        if largest is None:
            return
        if largest.bytes > self._cache.max_bytes:
            raise ValueError(
                f"loader.cache_gib = {self._config.cache_gib} has no room for {largest.name} of "
                f"{largest.bytes / GIB:.3g} GiB: raise it"
            )
        self._cache.folder.mkdir(parents=True, exist_ok=True)

    def open(self, url: str, entry: ShardEntry) -> FileIO:
        """Open a tar for reading.

        Raises OSError when it cannot be read, after `read_attempts` where waiting may help, and
        ValueError when its bytes are not those of the index.
        """
        path = storage.local_path(url)
        if path is None:
            return self._open_remote(url, entry)
        file = self._patiently(partial(FileIO, path))
        if self._config.verify_sha256:
            self._check(file, path, entry)
        return file

    def fetch(self, url: str, entry: ShardEntry) -> None:
        """Download a remote tar unless it is in the cache or another process is at it.

        Raises OSError or ValueError as `open`.
        """
        if storage.local_path(url) is None and not self._cache.path(entry.sha256).exists():
            file = self._download(url, entry, wait=False)
            if file is not None:
                file.close()

    def _open_remote(self, url: str, entry: ShardEntry) -> FileIO:
        while True:
            file = self._open_cached(entry) or self._download(url, entry, wait=True)
            if file is not None:
                return file

    def _open_cached(self, entry: ShardEntry) -> FileIO | None:
        """A tar of the cache; one that was damaged there is deleted."""
        file = self._cache.open(entry.sha256)
        if file is None:
            return None
        path = self._cache.path(entry.sha256)
        try:
            self._check(file, str(path), entry)
        except ValueError:
            path.unlink(missing_ok=True)
            return None
        return file

    def _download(self, url: str, entry: ShardEntry, wait: bool) -> FileIO | None:
        fill = partial(self._fill, url=url, entry=entry)
        file = self._cache.add(entry.sha256, entry.bytes, fill, wait)
        if file is not None:
            self._checked.add(str(self._cache.path(entry.sha256)))
        return file

    def _fill(self, file: BinaryIO, url: str, entry: ShardEntry) -> None:
        """Write an object's bytes over a file. Raises ValueError when they are not the index's."""
        for left in reversed(range(MAX_DOWNLOADS)):
            size, sha256 = self._copy(file, url, entry.bytes)
            try:
                return _compare(size, sha256, entry)
            except ValueError:
                if not left:
                    raise

    def _copy(self, file: BinaryIO, url: str, size_bytes: int) -> tuple[int, str]:
        """Write the first `size_bytes` of an object over a file; return how many it has of them,
        and their sha256.
        """
        sha256 = hashlib.sha256()
        file.seek(0)
        for offset in range(0, size_bytes, PIECE_BYTES):
            length = min(PIECE_BYTES, size_bytes - offset)
            data = self._patiently(partial(storage.read_bytes, url, offset, length))
            file.write(data)
            sha256.update(data)
            if len(data) < length:
                break
        return file.tell(), sha256.hexdigest()

    def _check(self, file: FileIO, path: str, entry: ShardEntry) -> None:
        """Compare a file with the index when this process first opens it, its size each time;
        closes it and raises ValueError when it differs.
        """
        size = os.fstat(file.fileno()).st_size
        if size == entry.bytes and path in self._checked:
            return
        try:
            digest = hashlib.file_digest(file, "sha256") if size == entry.bytes else None
            _compare(size, digest.hexdigest() if digest else "", entry)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        self._checked.add(path)

    def _patiently(self, read: Callable[[], Result]) -> Result:
        """Call until it works; a missing file or right is no reason to wait."""
        for attempt in range(1, self._config.read_attempts):
            try:
                return read()
            except LASTING:
                raise
            except OSError:
                time.sleep(FIRST_DELAY_S * 2 ** (attempt - 1))
        return read()


def _compare(size_bytes: int, sha256: str, entry: ShardEntry) -> None:
    found, expected = f"{size_bytes} bytes", f"{entry.bytes}"
    if size_bytes == entry.bytes:
        found, expected = f"sha256 {sha256[:12]}", entry.sha256[:12]
    if (size_bytes, sha256) != (entry.bytes, entry.sha256):
        raise ValueError(f"it has {found}, the index says {expected}: write it again")
