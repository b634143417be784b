"""Files that may not be read, also for who may read everything."""

import errno
import os

import pytest

from catalog import storage


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Refuse from now on to read files of this name."""
    read = storage.read_bytes

    def refuse(url: str, offset: int = 0, length: int | None = None) -> bytes:
        if url.endswith(f"/{name}"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), url)
        return read(url, offset, length)

    monkeypatch.setattr(storage, "read_bytes", refuse)
