"""Find the files of a tar: their names, and where their bytes lie.

Every loader process does this for every shard it opens. `tarfile` makes an object of each header,
which takes 25 ms for 500 samples (as long as decoding 20 of them); reading the fields that matter
takes 3 ms. So plain headers are read here, and anything else (another kind of member, a long name,
damage, an end that comes early) is left to `tarfile`, whose word counts.
"""

import os
import tarfile
from collections.abc import Iterator
from io import FileIO

import numpy as np

Member = tuple[str, int, int]  # name, offset and length of its bytes

BLOCK = tarfile.BLOCKSIZE
CHECKSUM = slice(148, 156)  # of a header, counted as if it were spaces


def list_members(file: FileIO) -> Iterator[Member]:
    """Yield the regular files of an open tar, in order.

    Raises tarfile.TarError where it is damaged, after the files before the damage.
    """
    plain = _plain_members(file.fileno())
    if plain is not None:
        yield from plain
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, member.offset_data, member.size


def _plain_members(descriptor: int) -> list[Member] | None:
    """The members of a tar that holds regular files alone and is whole; None for any other."""
    members: list[Member] = []
    headers: list[bytes] = []
    offset = 0
    while (header := os.pread(descriptor, BLOCK, offset)) and header[0]:
        digits = header[124:136].rstrip(b" \0")
        if len(header) < BLOCK or header[156:157] != b"0" or header[345] or not digits.isdigit():
            return None
        try:
            name, size = header[:100].split(b"\0")[0].decode("ascii"), int(digits, 8)
        except ValueError:
            return None
        headers.append(header)
        members.append((name, offset + BLOCK, size))
        offset += BLOCK + -(-size // BLOCK) * BLOCK
    if header != bytes(BLOCK):
        return None
    return members if _checksums_match(headers) else None


def _checksums_match(headers: list[bytes]) -> bool:
    rows = np.frombuffer(b"".join(headers), np.uint8).reshape(-1, BLOCK)
    sums = rows.sum(axis=1, dtype=np.int64) - rows[:, CHECKSUM].sum(axis=1, dtype=np.int64)
    written = [b"%06o" % total for total in (sums + 8 * ord(" ")).tolist()]
    return written == [header[CHECKSUM].strip(b" \0") for header in headers]
