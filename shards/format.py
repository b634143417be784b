"""The index of a shard set: which tars it has and what they hold, for builder and trainer.

A shard set is a folder (local or object store) with tars and `index.json`. It holds pairs, whose
samples `pairs.py` describes, or labelled images, which `labels.py` does. Plain `webdataset` reads
the tars. Nothing here is pickled, and nothing heavy is imported: `training` needs this module,
`groups.py`, `pairs.py` and `labels.py` alone.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np

from catalog import storage
from shards.groups import MAX_GROUPS, Group, decode_groups

FORMAT = 4
INDEX_NAME = "index.json"
SPLITS = ("train", "val")
Contents = Literal["pairs", "labels"]


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One tar of a shard set."""

    name: str  # file name within the folder
    split: str  # `train` or `val`
    samples: int
    bytes: int
    sha256: str  # 64 hex digits
    groups: str  # number in `ShardIndex.groups` of each sample, in order; see `groups.py`


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What `index.json` says: how the samples were picked, and the tars in order."""

    name: str
    query: str  # SQL condition that picked the samples
    seed: int  # of the order of the samples
    num_samples: int
    samples_by_kind: dict[str, int]
    crop_px: int  # side of every image
    groups: tuple[Group, ...]  # the datasets, kinds and parts of the samples; at most 256
    shards: tuple[ShardEntry, ...]
    contents: Contents = "pairs"
    licences: dict[str, int] = field(default_factory=dict)  # of the footage: samples of each
    plan: str = ""  # hash of everything that went in: the picked rows, their images, the settings
    num_failed: int = 0  # picked samples whose images could not be read
    config: dict[str, Any] = field(default_factory=dict)  # caps, sizes and other settings
    columns: tuple[str, ...] = ()  # at the top of each pair's JSON; empty: not recorded, or labels

    def of_split(self, split: str) -> tuple[ShardEntry, ...]:
        """The tars of one split, in order."""
        return tuple(shard for shard in self.shards if shard.split == split)

    def to_json(self) -> str:
        """The text of `index.json`; the same index gives the same bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, url: str = INDEX_NAME) -> "ShardIndex":
        """Parse and check the text of `index.json`; `url` names it in errors.

        Raises ValueError when it is not an index, is of another format version, or its parts
        contradict each other.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{url} is damaged: not JSON ({error}); build the set again") from None
        if not isinstance(raw, dict) or "format" not in raw:
            raise ValueError(f"{url} is not the index of a shard set: it has no `format`")
        if raw["format"] != FORMAT:
            raise ValueError(
                f"{url} has format {raw['format']!r} but this version reads {FORMAT}: "
                "build the set again (`python -m shards build` mines nothing), or use the version "
                "that wrote it"
            )
        try:
            known = {name.name for name in fields(cls)} & set(raw)
            entries = tuple(ShardEntry(**shard) for shard in raw["shards"])
            groups = tuple(Group(**group) for group in raw["groups"])
            values = {name: raw[name] for name in known}
            columns = tuple(raw.get("columns", ()))
            index = cls(**{**values, "shards": entries, "groups": groups, "columns": columns})
            problem = _contradiction(index)
        except (KeyError, TypeError, AttributeError) as error:
            problem = str(error)
        if problem:
            raise ValueError(f"{url} is damaged: {problem}; build the set again")
        return index


def read_index(url: str) -> ShardIndex:
    """Read the index of the shard set in folder `url`.

    Raises ValueError when there is none, or as `ShardIndex.from_json`.
    """
    index_url = storage.join(url, INDEX_NAME)
    try:
        text = storage.read_bytes(index_url).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{url} is not a shard set: it has no {INDEX_NAME}; `python -m shards build` writes one"
        ) from None
    return ShardIndex.from_json(text, index_url)


def _contradiction(index: ShardIndex) -> str | None:
    names = [shard.name for shard in index.shards]
    num_samples = sum(shard.samples for shard in index.shards)
    unsafe = [name for name in names if "/" in name or name.startswith(".")]
    splits = {shard.split for shard in index.shards} - set(SPLITS)
    if unsafe:
        return f"shard name {unsafe[0]!r} is not a file name"
    if len(set(names)) != len(names):
        return "it names a shard twice"
    if splits:
        return f"unknown split {sorted(splits)[0]!r}"
    if any(len(shard.sha256) != 64 for shard in index.shards):
        return "a sha256 is not 64 digits"
    if num_samples != index.num_samples or sum(index.samples_by_kind.values()) != num_samples:
        return f"{index.num_samples} samples but {num_samples} in its shards"
    if index.contents not in get_args(Contents):
        return f"unknown contents {index.contents!r}"
    return _wrong_groups(index)


def _wrong_groups(index: ShardIndex) -> str | None:
    if len(index.groups) > MAX_GROUPS or len(set(index.groups)) != len(index.groups):
        return f"its {len(index.groups)} groups are more than {MAX_GROUPS}, or one is there twice"
    counts = np.zeros(MAX_GROUPS, np.int64)
    for shard in index.shards:
        if len(shard.groups) != 2 * shard.samples:
            found = f"{len(shard.groups)} digits of group numbers for {shard.samples} samples"
            return f"{shard.name} has {found}"
        try:
            counts += np.bincount(decode_groups(shard.groups), minlength=MAX_GROUPS)
        except ValueError as error:
            return f"{shard.name}: {error}"
    if counts[len(index.groups) :].any():
        return f"a sample is of group {np.flatnonzero(counts)[-1]} of {len(index.groups)}"
    by_kind = dict.fromkeys([group.kind for group in index.groups], 0)
    for group, count in zip(index.groups, counts.tolist(), strict=False):
        by_kind[group.kind] += count
    found_kinds = {kind: count for kind, count in by_kind.items() if count}
    if found_kinds != index.samples_by_kind:
        return f"its samples by kind are {index.samples_by_kind} but its groups have {found_kinds}"
    return None
