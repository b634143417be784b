"""The tars of a shard set: built in memory, written whole, taken up when they are there.

A tar's bytes depend on the plan alone: fixed order, owner, mode and time; images are copied.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from catalog import storage
from catalog.images import Place, read_jpegs
from catalog.parts import Row
from catalog.query import select_from
from shards.format import ShardEntry, ShardIndex, sample_json
from shards.groups import encode_groups
from shards.plan import PAIR_COLUMNS, Plan, PlannedShard
from shards.read import iterate_tar

if TYPE_CHECKING:
    import duckdb

PAIRS_PER_QUERY = 10_000  # a scan of the crops table serves this many pairs; bounds memory

CROPS_OF_PAIRS = """
    SELECT crop_id, view_id, frame_index, time_s, box_px, size_px, keypoints_px, foreground
    FROM crops SEMI JOIN wanted USING (crop_id)"""


@dataclass
class WrittenTar:
    """A tar that is there (unless all of its pairs were lost), and what was lost on the way."""

    entry: ShardEntry
    pair_ids: list[str]  # in order
    failures: list[Row] = field(default_factory=list)  # id and error of each lost pair


def write_tars(
    root: str,
    url: str,
    connection: "duckdb.DuckDBPyConnection",
    plan: Plan,
    planned: Sequence[PlannedShard],
    earlier: ShardIndex | None,
) -> Iterator[WrittenTar]:
    """Write the tars that are not there, in order; hand back what each holds."""
    sha256s = {}
    if earlier is not None and earlier.plan == plan.plan_hash:
        sha256s = {shard.name: shard.sha256 for shard in earlier.shards}
    group = max(1, PAIRS_PER_QUERY // plan.config.samples_per_shard)
    for start in range(0, len(planned), group):
        pending = []
        found: dict[str, WrittenTar] = {}
        for shard in planned[start : start + group]:
            written = _find_written(url, shard, sha256s.get(shard.name))
            if written is None:
                pending.append(shard)
            else:
                found[shard.name] = written
        crops = _crops_of(connection, pending)
        for shard in planned[start : start + group]:
            yield found.get(shard.name) or _write_tar(root, url, shard, crops)


def _find_written(url: str, shard: PlannedShard, sha256: str | None) -> WrittenTar | None:
    """Take up a tar that a killed build of this plan left, when it holds every planned pair.

    Writes are atomic, so such a tar is whole; `sha256` is what an index says of it, if one does.
    """
    tar_url = storage.join(url, shard.name)
    if not storage.exists(tar_url):
        return None
    data = storage.read_bytes(tar_url)
    if sha256 not in (None, hashlib.sha256(data).hexdigest()):
        return None
    try:
        pair_ids = [sample.key for sample in iterate_tar(io.BytesIO(data))]
    except tarfile.TarError:
        return None
    if pair_ids != shard.pairs["pair_id"].to_pylist():
        return None
    return WrittenTar(_entry(shard, data, shard.groups), pair_ids)


def _crops_of(
    connection: "duckdb.DuckDBPyConnection", shards: Sequence[PlannedShard]
) -> dict[str, Row]:
    """The rows of all crops that go into some tars, by id."""
    if not shards:
        return {}
    columns = [shard.pairs[side] for shard in shards for side in ("crop_a", "crop_b")]
    crop_ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks])
    connection.register("wanted", pa.table({"crop_id": crop_ids.unique()}))
    rows = select_from(connection, CROPS_OF_PAIRS).to_pylist()
    return {row["crop_id"]: row for row in rows}


def _write_tar(root: str, url: str, shard: PlannedShard, crops: dict[str, Row]) -> WrittenTar:
    """Write one tar. A pair whose images or rows are damaged is left out and named."""
    from webdataset.writer import TarWriter  # here: it imports torch, which takes a second

    pairs = shard.pairs.to_pylist()
    places = [_places(pair) for pair in pairs]
    jpegs = read_jpegs(root, (place for both in places for place in both))
    buffer = io.BytesIO()
    pair_ids, groups, failures = [], [], []
    with TarWriter(buffer, encoder=False, mtime=0, mode=0o444, user="", group="") as tar:
        for pair, group, both in zip(pairs, shard.groups, places, strict=True):
            try:
                image_a, image_b = (_whole(jpegs[place]) for place in both)
                columns = {name: pair[name] for name in PAIR_COLUMNS}
                meta = sample_json(columns, crops[pair["crop_a"]], crops[pair["crop_b"]])
            except ValueError as error:
                failures.append({"id": pair["pair_id"], "error": str(error)})
                continue
            files = {"a.jpg": image_a, "b.jpg": image_b, "json": meta}
            tar.write({"__key__": pair["pair_id"], **files})
            pair_ids.append(pair["pair_id"])
            groups.append(group)
    data = buffer.getvalue()
    if pair_ids:
        storage.write_bytes(storage.join(url, shard.name), data)
    return WrittenTar(_entry(shard, data, groups), pair_ids, failures)


def _places(pair: Row) -> tuple[Place, Place]:
    place_a, place_b = (
        Place(pair[f"file_{side}"], pair[f"offset_{side}"], pair[f"length_{side}"]) for side in "ab"
    )
    return place_a, place_b


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
