"""The tars of a shard set: built in memory, written whole, taken up when they are there.

A tar's bytes depend on the plan alone: fixed order, owner, mode and time; images are copied.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from catalog import storage
from catalog.images import Place, read_images
from catalog.parts import Row
from catalog.query import select_from
from shards.format import Contents, ShardEntry, ShardIndex
from shards.groups import encode_groups
from shards.labels import SIDES, decode_label
from shards.pairs import encode_pair
from shards.plan import JSON_COLUMNS, Plan, PlannedShard
from shards.read import iterate_tar

if TYPE_CHECKING:
    import duckdb

PAIRS_PER_QUERY = 10_000  # a scan of the crops table serves this many pairs; bounds memory

CROPS_OF_PAIRS = """
    SELECT crop_id, view_id, frame_index, time_s, box_px, size_px, keypoints_px, foreground
    FROM crops SEMI JOIN wanted USING (crop_id)"""


@dataclass
class WrittenTar:
    """A tar that is there (unless all of its samples were lost), and what was lost on the way."""

    entry: ShardEntry
    ids: list[str]  # of its samples, in order
    failures: list[Row] = field(default_factory=list)  # id and error of each lost sample


def write_tars(
    root: str,
    url: str,
    connection: "duckdb.DuckDBPyConnection",
    plan: Plan,
    planned: Sequence[PlannedShard],
    earlier: ShardIndex | None,
) -> Iterator[WrittenTar]:
    """Hand back what each planned tar holds, in order: those that are there are taken up, the
    others are written. `earlier` is the index that the folder has, if any.
    """
    sha256s = {}
    if earlier is not None and earlier.plan == plan.plan_hash:
        sha256s = {shard.name: shard.sha256 for shard in earlier.shards}
    size = max(1, PAIRS_PER_QUERY // plan.config.samples_per_shard)
    for start in range(0, len(planned), size):
        shards = planned[start : start + size]
        reused = [_take_up(url, shard, sha256s.get(shard.name)) for shard in shards]
        missing = [shard for shard, tar in zip(shards, reused, strict=True) if tar is None]
        crops = _crops_of(connection, missing) if plan.contents == "pairs" else {}
        for shard, tar in zip(shards, reused, strict=True):
            yield tar or _write_tar(root, url, shard, plan.contents, crops)


def _take_up(url: str, shard: PlannedShard, sha256: str | None) -> WrittenTar | None:
    """Take up a tar that a killed build of this plan left, when it holds every planned sample.

    Writes are atomic, so such a tar is whole; `sha256` is what an index says of it, if one does.
    """
    tar_url = storage.join(url, shard.name)
    if not storage.exists(tar_url):
        return None
    data = storage.read_bytes(tar_url)
    if sha256 not in (None, hashlib.sha256(data).hexdigest()):
        return None
    try:
        ids = [sample.key for sample in iterate_tar(io.BytesIO(data))]
    except tarfile.TarError:
        return None
    if ids != shard.ids:
        return None
    return WrittenTar(_entry(shard, data, shard.groups), ids)


def _crops_of(
    connection: "duckdb.DuckDBPyConnection", shards: Sequence[PlannedShard]
) -> dict[str, Row]:
    """The rows of all crops that go into some tars, by id."""
    if not shards:
        return {}
    columns = [shard.rows[side] for shard in shards for side in ("crop_a", "crop_b")]
    crop_ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks])
    connection.register("wanted", pa.table({"crop_id": crop_ids.unique()}))
    rows = select_from(connection, CROPS_OF_PAIRS).to_pylist()
    return {row["crop_id"]: row for row in rows}


def _write_tar(
    root: str, url: str, shard: PlannedShard, contents: Contents, crops: dict[str, Row]
) -> WrittenTar:
    """Write one tar. A sample whose images or rows are damaged is left out and named."""
    from webdataset.writer import TarWriter  # here: it imports torch, which takes a second

    rows = shard.rows.to_pylist()
    places = [_places(row, contents) for row in rows]
    images = read_images(root, (place for each in places for place in each.values()))
    buffer = io.BytesIO()
    ids, groups, failures = [], [], []
    with TarWriter(buffer, encoder=False, mtime=0, mode=0o444, user="", group="") as tar:
        for row, id, group, each in zip(rows, shard.ids, shard.groups, places, strict=True):
            try:
                files = {ending: _whole(images[place]) for ending, place in each.items()}
                files |= _description(row, contents, crops)
            except ValueError as error:
                failures.append({"id": id, "error": str(error)})
                continue
            tar.write({"__key__": id, **files})
            ids.append(id)
            groups.append(group)
    data = buffer.getvalue()
    if ids:
        storage.write_bytes(storage.join(url, shard.name), data)
    return WrittenTar(_entry(shard, data, groups), ids, failures)


def _places(row: Row, contents: Contents) -> dict[str, Place]:
    """Where each of a sample's images lies, by the ending of its file in the tar."""
    if contents == "pairs":
        return {
            f"{side}.jpg": Place(row[f"file_{side}"], row[f"offset_{side}"], row[f"length_{side}"])
            for side in "ab"
        }
    places = {
        f"{side}.{ending}": Place(
            row["file"], row[f"{what}offset_{side}"], row[f"{what}length_{side}"]
        )
        for side in SIDES[row["kind"]]
        for ending, what in (("jpg", ""), ("iuv.png", "iuv_"))
    }
    return {
        ending: place
        for ending, place in places.items()
        if place.offset is not None or not ending.endswith(".png")
    }


def _description(row: Row, contents: Contents, crops: dict[str, Row]) -> dict[str, bytes]:
    """The files that describe a sample, by ending. Raises ValueError when it is damaged."""
    if contents == "pairs":
        columns = {name: row[name] for name in JSON_COLUMNS}
        return encode_pair(columns, crops[row["crop_a"]], crops[row["crop_b"]])
    text: str = row["label"]
    decode_label(json.loads(text))
    return {"json": text.encode()}


def _whole(jpeg: bytes | ValueError) -> bytes:
    if isinstance(jpeg, ValueError):
        raise jpeg
    return jpeg


def _entry(shard: PlannedShard, data: bytes, groups: Sequence[int]) -> ShardEntry:
    return ShardEntry(
        name=shard.name,
        split=shard.split,
        samples=len(groups),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        groups=encode_groups(groups),
    )
