"""A folder of downloaded tars that all processes of a machine share, bounded in bytes.

A tar is named by its sha256, so two sets never mix, and a set that moves is not fetched again. What
has its final name is whole: a download fills a `.part` file, which is renamed. Only who holds the
lock on a `.part` file writes, renames or deletes it; the kernel lets go of a killed process's lock,
so the next one takes its place. When the folder is full the tars that were opened longest ago are
deleted; who has one open reads on, because an unlinked file lives until it is closed.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO


class DownloadCache:
    """Tars by sha256; a copy may live in every process."""

    def __init__(self, folder: Path, max_bytes: float) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def path(self, sha256: str) -> Path:
        """Where a tar lies when it is there."""
        return self.folder / f"{sha256}.tar"

    def open(self, sha256: str) -> FileIO | None:
        """Open a tar for reading, and note the time of its use; None when it is not there."""
        path = self.path(sha256)
        try:
            file = FileIO(path)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # another user's file, or deleted a moment ago
            os.utime(path)
        return file

    def add(
        self, sha256: str, size_bytes: int, fill: Callable[[BinaryIO], None], wait: bool
    ) -> FileIO | None:
        """Let `fill` write a tar, give it its name, and open it for reading.

        Returns None when another process has added it meanwhile, or, without `wait`, is at it. What
        `fill` raises is passed on, and leaves nothing behind.
        """
        path = self.path(sha256)
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            if not _lock(file, wait) or path.exists() or not _is_at(file, part):
                return None
            try:
                self._make_room(file, size_bytes)
                fill(file)
                file.flush()
                reader = FileIO(part)
                os.replace(part, path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            return reader

    def _make_room(self, part: BinaryIO, size_bytes: int) -> None:
        """Reserve the bytes of a download, deleting what was opened longest ago until they fit."""
        with open(self.folder / "lock", "ab") as lock:
            _lock(lock, wait=True)
            os.truncate(part.fileno(), size_bytes)  # so that other downloads count it
            files = sorted(self._files())
            excess = sum(size for _, size, _ in files) - self.max_bytes
            for _, size, path in files:
                if excess > 0 and _remove(path):
                    excess -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of the files that count."""
        for path in self.folder.iterdir():
            if path.suffix in (".tar", ".part"):
                with contextlib.suppress(FileNotFoundError):
                    stat = path.stat()
                    yield stat.st_mtime, stat.st_size, path


def _remove(path: Path) -> bool:
    """Delete a tar, or a download that nobody is at any more; tell whether it is gone."""
    if path.suffix == ".tar":
        path.unlink(missing_ok=True)
        return True
    with contextlib.suppress(FileNotFoundError), open(path, "r+b") as file:
        if not _lock(file, wait=False) or not _is_at(file, path):
            return False
        path.unlink()
    return True


def _lock(file: BinaryIO, wait: bool) -> bool:
    """Take the lock on an open file, which lasts until it is closed; tell whether it is ours."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
