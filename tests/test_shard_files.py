"""Tars as local files: the cache of downloads, its bound, its checks, and its patience.

`local://` stands for an object store here: it is read as one, and processes can share it.
"""

import hashlib
import io
import multiprocessing
import os
import signal
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from shards.format import ShardEntry
from training.loading import shard_files
from training.loading.prefetch import Prefetcher
from training.loading.shard_files import ShardFiles, ShardFilesConfig
from training.loading.tar_members import _plain_members, list_members

SIZE = 4000  # bytes of a shard
GIB = 2**30

Shards = list[tuple[str, ShardEntry]]


@pytest.fixture
def shards(tmp_path) -> Shards:
    """Five shards of different bytes."""
    return [write_shard(tmp_path / "far" / f"{i}.tar", bytes([i]) * SIZE) for i in range(5)]


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the shards that were read, in order."""
    read_bytes, names = storage.read_bytes, []

    def read(url, *range_):
        names.append(Path(url).name)
        return read_bytes(url, *range_)

    monkeypatch.setattr(storage, "read_bytes", read)
    return names


@pytest.fixture
def sleeps(monkeypatch) -> list[float]:
    """How long was waited between attempts."""
    seconds: list[float] = []
    monkeypatch.setattr(shard_files.time, "sleep", seconds.append)
    return seconds


def write_shard(path: Path, data: bytes) -> tuple[str, ShardEntry]:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    entry = ShardEntry(
        name=path.name, split="train", samples=1, bytes=len(data), sha256=sha256, groups="00"
    )
    return f"local://{path}", entry


def make_files(tmp_path: Path, **options) -> ShardFiles:
    files = ShardFiles(ShardFilesConfig(cache_dir=str(tmp_path / "cache"), **options))
    (tmp_path / "cache").mkdir(exist_ok=True)
    return files


def cached(tmp_path: Path, shards: Shards) -> list[int]:
    """Which of the shards are in the cache."""
    names = [f"{entry.sha256}.tar" for _, entry in shards]
    return [i for i, name in enumerate(names) if (tmp_path / "cache" / name).exists()]


def content(files: ShardFiles, shard: tuple[str, ShardEntry]) -> bytes:
    with files.open(*shard) as file:
        return file.read()


def test_a_shard_is_downloaded_once(tmp_path, shards, reads):
    for _ in range(2):
        files = make_files(tmp_path)
        assert content(files, shards[3]) == content(files, shards[3]) == bytes([3]) * SIZE
    assert reads == ["3.tar"]


def test_a_set_that_moved_is_not_downloaded_again(tmp_path, shards, reads):
    content(make_files(tmp_path), shards[0])
    moved = write_shard(tmp_path / "far" / "moved.tar", bytes(SIZE))
    assert content(make_files(tmp_path), moved) == bytes(SIZE)
    assert reads == ["0.tar"]


def test_large_shards_come_in_pieces(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(shard_files, "PIECE_BYTES", 1000)
    data = np.random.default_rng(0).bytes(2 * SIZE + 1)
    shard = write_shard(tmp_path / "far" / "large.tar", data)
    assert content(make_files(tmp_path), shard) == data
    assert len(reads) == 9


def test_the_bound_holds_and_what_was_used_last_stays(tmp_path, shards):
    files = make_files(tmp_path, cache_gib=3 * SIZE / GIB)
    for use, number in enumerate((0, 1, 2, 0, 3)):
        content(files, shards[number])
        entry = shards[number][1]
        os.utime(tmp_path / "cache" / f"{entry.sha256}.tar", (use, use))
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 3 * SIZE
    assert cached(tmp_path, shards) == [0, 2, 3]


def test_an_evicted_shard_can_be_read_on(tmp_path, shards):
    files = make_files(tmp_path, cache_gib=SIZE / GIB)
    with files.open(*shards[1]) as file:
        content(files, shards[2])
        assert cached(tmp_path, shards) == [2]
        assert file.read() == bytes([1]) * SIZE


def test_a_cache_without_room_for_a_shard_is_refused(tmp_path, shards):
    files = make_files(tmp_path, cache_gib=(SIZE - 1) / GIB)
    with pytest.raises(ValueError, match=r"loader\.cache_gib = .* no room for 0\.tar .* raise it"):
        files.prepare(shards)


def test_a_shard_damaged_in_the_cache_is_fetched_again(tmp_path, shards, reads):
    content(make_files(tmp_path), shards[1])
    path = tmp_path / "cache" / f"{shards[1][1].sha256}.tar"
    for damaged in (b"\0" * SIZE, b"short"):
        path.write_bytes(damaged)
        assert content(make_files(tmp_path), shards[1]) == bytes([1]) * SIZE
    assert len(reads) == 3


def test_a_damaged_download_is_tried_once_more(tmp_path, shards, monkeypatch):
    answers = [b"\0" * SIZE, bytes([1]) * SIZE]
    monkeypatch.setattr(storage, "read_bytes", lambda *place: answers.pop(0))
    assert content(make_files(tmp_path), shards[1]) == bytes([1]) * SIZE
    answers += [b"\0" * SIZE] * 2
    with pytest.raises(ValueError, match=r"it has sha256 .*, the index says"):
        content(make_files(tmp_path), shards[2])
    assert cached(tmp_path, shards) == [1]
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_truncated_shard_is_named(tmp_path, shards):
    Path(shards[0][0].removeprefix("local://")).write_bytes(bytes(100))
    with pytest.raises(ValueError, match="it has 100 bytes, the index says 4000"):
        content(make_files(tmp_path), shards[0])


def test_a_failing_read_is_tried_again_ever_more_slowly(tmp_path, shards, sleeps, monkeypatch):
    answers = [ConnectionError("reset"), OSError("busy"), bytes([1]) * SIZE]

    def read(*place):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(storage, "read_bytes", read)
    assert content(make_files(tmp_path), shards[1]) == bytes([1]) * SIZE
    assert sleeps == [0.5, 1.0]
    answers += [OSError("busy")] * 4 + [OSError("still busy")]
    with pytest.raises(OSError, match="still busy"):
        content(make_files(tmp_path), shards[2])
    assert sleeps == [0.5, 1.0, 0.5, 1.0, 2.0, 4.0] and not answers


@pytest.mark.parametrize("error", [PermissionError("no"), FileNotFoundError("none")])
def test_what_waiting_does_not_help_is_not_tried_again(
    tmp_path, shards, sleeps, monkeypatch, error
):
    def read(*place):
        raise error

    monkeypatch.setattr(storage, "read_bytes", read)
    with pytest.raises(type(error)):
        content(make_files(tmp_path), shards[1])
    assert not sleeps


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_local_shards_are_opened_where_they_lie(tmp_path, prefix):
    url, entry = write_shard(tmp_path / "far" / "x.tar", bytes(SIZE))
    path = Path(url.removeprefix("local://"))
    shard = (f"{prefix}{path}", entry)
    path.write_bytes(b"\1" * SIZE)
    assert content(make_files(tmp_path), shard) == b"\1" * SIZE
    with pytest.raises(ValueError, match=r"it has sha256 .* write it again"):
        make_files(tmp_path, verify_sha256=True).open(*shard)
    path.write_bytes(bytes(SIZE))
    assert content(make_files(tmp_path, verify_sha256=True), shard) == bytes(SIZE)
    assert list((tmp_path / "cache").iterdir()) == []


def open_all(folder: Path, shards: Shards) -> int:
    """In a process of its own: read all shards through a cache, noting each download in a file."""
    read_bytes = storage.read_bytes

    def read(url, *range_):
        with (folder / "reads").open("a") as log:
            log.write(f"{Path(url).name}\n")
        time.sleep(0.05)
        return read_bytes(url, *range_)

    storage.read_bytes = read
    files = make_files(folder)
    return sum(content(files, shard) == bytes([i]) * SIZE for i, shard in enumerate(shards))


def test_processes_that_share_a_cache_download_each_shard_once(tmp_path, shards):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(open_all, [(tmp_path, shards)] * 2, chunksize=1) == [5, 5]
    assert sorted((tmp_path / "reads").read_text().split()) == [f"{i}.tar" for i in range(5)]


def hang(folder: Path, shards: Shards) -> None:
    """In a process of its own: stop in the middle of a download."""
    read_bytes = storage.read_bytes
    shard_files.PIECE_BYTES = SIZE // 2

    def read(url, offset, length):
        if offset:
            (folder / "halfway").touch()
            time.sleep(60)
        return read_bytes(url, offset, length)

    storage.read_bytes = read
    make_files(folder).open(*shards[0])


def test_a_killed_download_is_not_taken_for_whole(tmp_path, shards):
    process = multiprocessing.get_context("spawn").Process(target=hang, args=(tmp_path, shards))
    process.start()
    while not (tmp_path / "halfway").exists():
        assert process.is_alive()
        time.sleep(0.02)
    make_files(tmp_path).fetch(*shards[0])  # somebody is at it: no wait, no second download
    assert cached(tmp_path, shards) == []
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(list((tmp_path / "cache").glob("*.part"))) == 1
    full = make_files(tmp_path, cache_gib=SIZE / GIB)
    assert content(full, shards[1]) == bytes([1]) * SIZE  # what the dead one left makes room
    assert not list((tmp_path / "cache").glob("*.part"))
    assert content(full, shards[0]) == bytes(SIZE)


def test_coming_shards_are_fetched_ahead(tmp_path, shards):
    slots = np.array([[0, shard, i] for shard in (4, 2, 0, 1, 3) for i in range(10)])
    prefetcher = Prefetcher(make_files(tmp_path), [shards], count=2)
    Path(shards[1][0].removeprefix("local://")).unlink()  # costs nobody anything yet
    for slot, expected in ((0, [0, 2]), (15, [0, 2]), (25, [0, 2, 3])):
        prefetcher.look_ahead(0, slots, slot)
        deadline = time.monotonic() + 10
        while cached(tmp_path, shards) != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cached(tmp_path, shards) == expected


def make_tar(names: list[str], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 0 if name.endswith("/") else 400 * number
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(bytes([number % 256]) * member.size))
    return buffer.getvalue()


PLAIN = [f"{number:016x}.{name}" for number in range(9) for name in ("a.jpg", "b.jpg", "json")]


@pytest.mark.parametrize(
    ("names", "is_plain"),
    [
        (PLAIN, True),
        ([*PLAIN, "folder/", "folder/x.json"], False),
        ([*PLAIN, "long" * 40 + ".json"], False),
        ([*PLAIN, "umlaut-ä.json"], False),
        ([], True),
    ],
)
def test_members_are_those_of_tarfile(tmp_path, names, is_plain):
    whole = make_tar(names)
    damages = [whole, whole[: len(whole) // 2], whole[:-15000], whole[:700], b"", whole[:-20000]]
    flips = [0, 124, 148, 156, 512 * 3 + 130]
    damages += [whole[:at] + b"\x31" + whole[at + 1 :] for at in flips]
    for data in damages:
        path = tmp_path / "x.tar"
        path.write_bytes(data)
        with io.FileIO(path) as file:
            found = collect(list_members(file))
            assert data != whole or (_plain_members(file.fileno()) is not None) == is_plain
        assert found == collect(members_by_tarfile(path))


def members_by_tarfile(path: Path):
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, member.offset_data, member.size


def collect(members) -> tuple[list[tuple[str, int, int]], str]:
    """The members before any damage, and the damage."""
    found: list[tuple[str, int, int]] = []
    try:
        found.extend(iter(members))
    except tarfile.TarError as error:
        return found, str(error)
    return found, ""
