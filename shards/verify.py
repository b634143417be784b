"""Prove that a shard set is whole: every tar, sample, image and description, against the index."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import fields

from catalog import storage
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
from shards.sample_check import check_images, check_place

# what a pair's JSON cannot do without; all that is asked of a set whose index names no columns
NEEDED_KEYS = {"pair_id", "identity_id", "split", *(field.name for field in fields(Group))}
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
            check = _check_pair if index.contents == "pairs" else check_label
            for text in check(sample, shard, next(groups, None), index):
                yield _problem(shard.name, sample.key, text)
    except tarfile.TarError as error:
        reason = str(error)
    if num_samples != shard.samples:
        count = f"is sample {num_samples} of {shard.samples} and the last that is whole: {reason}"
        yield _problem(shard.name, last, count)


def _check_pair(
    sample: RawSample, shard: ShardEntry, group: Group | None, index: ShardIndex
) -> Iterator[str]:
    if set(sample.files) != set(EXTENSIONS):
        yield f"has the files {', '.join(sorted(sample.files))}, not {', '.join(EXTENSIONS)}"
    images = {name: decode_image(sample.files[name]) for name in IMAGES if name in sample.files}
    yield from check_images(images, index.crop_px)
    yield from _check_arrays(sample)
    if "json" not in sample.files:
        return
    try:
        meta = sample.meta
    except ValueError as error:
        yield str(error)
        return
    if missing := {*NEEDED_KEYS, *index.columns} - set(meta):
        yield f"its JSON lacks {', '.join(sorted(missing))}"
    else:
        yield from check_place(meta, "pair", sample.key, shard, group)
    for side in ("a", "b"):
        image = meta.get(side)
        if not isinstance(image, dict) or IMAGE_KEYS - set(image):
            yield f"its JSON's {side} is incomplete"


def _check_arrays(sample: RawSample) -> Iterator[str]:
    decoders = {"foreground.npy": decode_foreground, "keypoints.npy": decode_keypoints}
    for name in sorted(decoders.keys() & sample.files.keys()):
        try:
            decoders[name](sample.files[name])
        except ValueError as error:
            yield str(error)


def _problem(shard: str, sample: str, text: str) -> Problem:
    return {"shard": shard, "sample": sample, "problem": text}
