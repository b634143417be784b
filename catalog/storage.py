"""The one module that reads and writes files. Every location is a URL or a local path, opened
through fsspec.

Writes are atomic: a local file is written under a temporary name, flushed to disk and renamed; an
object store's put is atomic by itself. So a file that exists is whole, and "done" can mean "the
file is there".
"""

import contextlib
import hashlib
import os
import posixpath
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from catalog.object_store import with_plain_errors

LEFTOVER_AGE_S = 3600.0
TEMPORARY_PREFIX = ".tmp-"  # readers and listings skip such names; `remove_leftovers` deletes them


def join(base: str, *names: str) -> str:
    """Join a URL or path with names below it."""
    return posixpath.join(str(base), *names)


def absolute(url: str) -> str:
    """Return a local path as an absolute one and any other URL unchanged."""
    return url if "://" in url else str(Path(url).expanduser().resolve())


def local_path(url: str) -> str | None:
    """Return the path of a file on a local disk; None for one in an object store."""
    if "://" in url and not url.startswith("file://"):
        return None
    return _open_filesystem(url)[1]


@with_plain_errors
def exists(url: str) -> bool:
    """Tell whether a file or folder is there."""
    filesystem, path = _open_filesystem(url)
    return bool(filesystem.exists(path))


@with_plain_errors
def size_bytes(url: str) -> int:
    """Return a file's size. Raises FileNotFoundError."""
    filesystem, path = _open_filesystem(url)
    return int(filesystem.size(path))


def fingerprint(url: str) -> str:
    """Hash a file's size, first MiB and last MiB: cheap for hours of video, and different for
    different footage.
    """
    size = size_bytes(url)
    ends = read_bytes(url, 0, min(size, 2**20)) + read_bytes(
        url, max(0, size - 2**20), min(size, 2**20)
    )
    return hashlib.sha256(str(size).encode() + ends).hexdigest()


@with_plain_errors
def open_read(url: str) -> BinaryIO:
    """Open a file for reading bytes, with seek. Raises FileNotFoundError."""
    filesystem, path = _open_filesystem(url)
    return cast(BinaryIO, filesystem.open(path, "rb"))


@with_plain_errors
def read_bytes(url: str, offset: int = 0, length: int | None = None) -> bytes:
    """Read a file, or `length` bytes of it from `offset`. Raises FileNotFoundError."""
    filesystem, path = _open_filesystem(url)
    end = None if length is None else offset + length
    return bytes(filesystem.cat_file(path, start=offset, end=end))


def read_text(url: str) -> str:
    """Read a UTF-8 text file."""
    return read_bytes(url).decode()


@with_plain_errors
def write_bytes(url: str, data: bytes) -> None:
    """Write a file atomically, creating the folders above it and replacing what was there."""
    filesystem, path = _open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)
        return
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(url: str, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(url, text.encode())


@with_plain_errors
def list_files(folder: str, suffix: str = "") -> list[str]:
    """List the files directly in a folder, sorted by name, as full URLs; none when the folder is
    missing.
    """
    filesystem, path = _open_filesystem(folder)
    try:
        entries = filesystem.ls(path, detail=True)
    except FileNotFoundError:
        return []
    names = [posixpath.basename(e["name"]) for e in entries if _is_type(filesystem, e, "file")]
    return [
        join(folder, name) for name in sorted(names) if name.endswith(suffix) and name[0] != "."
    ]


@with_plain_errors
def list_folders(folder: str) -> list[str]:
    """List the folders directly in a folder, sorted by name, as full URLs; none when the folder is
    missing.
    """
    filesystem, path = _open_filesystem(folder)
    try:
        entries = filesystem.ls(path, detail=True)
    except FileNotFoundError:
        return []
    folders = [e for e in entries if _is_type(filesystem, e, "directory")]
    names = [posixpath.basename(entry["name"].rstrip("/")) for entry in folders]
    return [join(folder, name) for name in sorted(names) if name[0] != "."]


@with_plain_errors
def delete(url: str) -> None:
    """Delete one file; nothing happens when it is already gone."""
    filesystem, path = _open_filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(path)


def remove_leftovers(folder: str) -> int:
    """Delete what killed writers left in a local folder more than an hour ago; return how many
    files.

    Younger temporary files may belong to a run that is still going on. Folders below are not
    touched.
    """
    filesystem, path = _open_filesystem(folder)
    if not isinstance(filesystem, LocalFileSystem) or not os.path.isdir(path):
        return 0
    oldest_s = time.time() - LEFTOVER_AGE_S
    leftovers = [
        leftover
        for leftover in sorted(Path(path).glob(f"{TEMPORARY_PREFIX}*"))
        if leftover.is_file() and leftover.stat().st_mtime < oldest_s
    ]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _is_type(filesystem: Any, entry: dict[str, Any], wanted: str) -> bool:
    """Whether a listed entry, or what it links to, is a `file` or a `directory`."""
    if entry["type"] in ("file", "directory"):
        return bool(entry["type"] == wanted)
    is_wanted = filesystem.isfile if wanted == "file" else filesystem.isdir
    return bool(is_wanted(entry["name"]))


def _open_filesystem(url: str) -> tuple[Any, str]:
    # Others write to an object store while we read it: a listing that is kept is soon wrong.
    options = {"use_listings_cache": False} if "://" in str(url) else {}
    filesystem, path = fsspec.core.url_to_fs(str(url), **options)
    return filesystem, path
