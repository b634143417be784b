"""Prove that a shard set is whole: every tar, sample, image and description, against the index."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import asdict

from catalog import storage
from catalog.schemas import PAIRS
from shards.format import ShardEntry, ShardIndex, read_index
from shards.groups import Group, decode_groups
from shards.label_check import check_label
from shards.pairs import (
    CROP_COLUMNS,
    EXTENSIONS,
    IMAGES,
    decode_foreground,
    decode_keypoints,
)
from shards.read import RawSample, decode_image, iterate_tar

PAIR_KEYS = {name for name in PAIRS.schema.names if not name.startswith("crop_")}
IMAGE_KEYS = {*CROP_COLUMNS, "box_px"}

Problem = dict[str, str]  # shard, sample (empty: the whole shard), problem


def verify(url: str) -> list[Problem]:
    """Check a shard set's sizes, sha256, sample counts, images, arrays and JSON; one row for each
    problem.

    Raises ValueError when there is no shard set or its index is damaged.
    """
    index = read_index(url)
    return [*_unlisted(url, index), *_check_shards(url, index)]


def _unlisted(url: str, index: ShardIndex) -> Iterator[Problem]:
    listed = {shard.name for shard in index.shards}
    for name in sorted(file.rsplit("/", 1)[-1] for file in storage.list_files(url, ".tar")):
        if name not in listed:
            yield _problem(name, "", "is not in the index: a build was stopped; run it again")


def _check_shards(url: str, index: ShardIndex) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for shard in index.shards:
        try:
            data = storage.read_bytes(storage.join(url, shard.name))
        except FileNotFoundError:
            yield _problem(shard.name, "", "is missing: build the set again")
            continue
        yield from _check_bytes(shard, data)
        yield from _check_samples(shard, data, index, seen)


def _check_bytes(shard: ShardEntry, data: bytes) -> Iterator[Problem]:
    found = hashlib.sha256(data).hexdigest()
    if len(data) != shard.bytes:
        found_size = f"has {len(data)} bytes, the index says {shard.bytes}"
        yield _problem(shard.name, "", f"{found_size}: delete it and build the set again")
    elif found != shard.sha256:
        wrong = f"has sha256 {found[:12]}, the index says {shard.sha256[:12]}"
        yield _problem(shard.name, "", f"{wrong}: delete it and build the set again")


def _check_samples(
    shard: ShardEntry, data: bytes, index: ShardIndex, seen: dict[str, str]
) -> Iterator[Problem]:
    num_samples, last, reason = 0, "", "the tar ends"
    groups = (index.groups[number] for number in decode_groups(shard.groups))
    try:
        for sample in iterate_tar(io.BytesIO(data)):
            num_samples, last = num_samples + 1, sample.key
            if sample.key in seen:
                yield _problem(shard.name, sample.key, f"is in {seen[sample.key]} too")
            seen[sample.key] = shard.name
            check = _check_sample if index.contents == "pairs" else check_label
            for text in check(sample, shard, next(groups, None), index.crop_px):
                yield _problem(shard.name, sample.key, text)
    except tarfile.TarError as error:
        reason = str(error)
    if num_samples != shard.samples:
        count = f"is sample {num_samples} of {shard.samples} and the last that is whole: {reason}"
        yield _problem(shard.name, last, count)


def _check_sample(
    sample: RawSample, shard: ShardEntry, group: Group | None, crop_px: int
) -> Iterator[str]:
    if set(sample.files) != set(EXTENSIONS):
        yield f"has the files {', '.join(sorted(sample.files))}, not {', '.join(EXTENSIONS)}"
    for name in IMAGES:
        image = decode_image(sample.files.get(name, b""))
        if image is None:
            yield f"{name} does not decode"
        elif image.shape[:2] != (crop_px, crop_px):
            yield f"{name} has {image.shape[1]} x {image.shape[0]} px, not {crop_px} x {crop_px}"
    yield from _check_arrays(sample)
    try:
        meta = sample.meta
    except ValueError as error:
        yield str(error)
        return
    if missing := PAIR_KEYS - set(meta):
        yield f"its JSON lacks {', '.join(sorted(missing))}"
    elif (meta["pair_id"], meta["split"]) != (sample.key, shard.split):
        yield f"its JSON is of pair {meta['pair_id']} in {meta['split']}"
    elif group and (found := {name: meta[name] for name in asdict(group)}) != asdict(group):
        of_index = " ".join(map(str, asdict(group).values()))
        yield f"its JSON is of {' '.join(map(str, found.values()))}, the index says {of_index}"
    for side in ("a", "b"):
        image = meta.get(side)
        if not isinstance(image, dict) or IMAGE_KEYS - set(image):
            yield f"its JSON's {side} is incomplete"


def _check_arrays(sample: RawSample) -> Iterator[str]:
    decoders = {"foreground.npy": decode_foreground, "keypoints.npy": decode_keypoints}
    for name, decode in decoders.items():
        try:
            decode(sample.files.get(name, b""))
        except ValueError as error:
            yield str(error)


def _problem(shard: str, sample: str, text: str) -> Problem:
    return {"shard": shard, "sample": sample, "problem": text}
