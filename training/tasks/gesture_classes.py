"""Which gestures a labelled shard set names, from the JSON of its samples; no image is read."""

import json
from collections.abc import Sequence

from catalog import storage
from shards.format import read_index
from training.loading.shard_files import ShardFiles, ShardFilesConfig
from training.loading.tar_members import list_members


def gather_classes(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all gestures of the training samples in some sets, sorted.

    Tars of an object store come through the loader's cache, which needs them anyway. Raises
    ValueError when no sample names a gesture, or as reading an index and a tar does.
    """
    opener = ShardFiles(ShardFilesConfig())
    shards = [
        (storage.join(url, entry.name), entry)
        for url in urls
        for entry in read_index(url).of_split("train")
    ]
    opener.prepare(shards)
    found: set[str] = set()
    for url, entry in shards:
        with opener.open(url, entry) as file:
            for name, offset, size in list(list_members(file)):
                if not name.endswith(".json"):
                    continue
                file.seek(offset)
                gesture = json.loads(file.read(size)).get("gesture")
                if gesture is not None:
                    found.add(gesture)
    if not found:
        raise ValueError(
            f"no sample of split 'train' in {', '.join(urls)} names a gesture: "
            "give sets whose labels do"
        )
    return tuple(sorted(found))
