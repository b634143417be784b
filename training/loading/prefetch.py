"""Download the shards that are needed next, in a thread, while the current ones are read.

It changes no result and reports no error: whoever needs a shard that is not there downloads it
himself, and learns then why it cannot be had.
"""

import bisect
import contextlib
import threading
from collections.abc import Sequence

import numpy as np

from catalog import storage
from shards.format import ShardEntry
from training.loading.order import Slots
from training.loading.shard_files import ShardFiles

Shards = Sequence[tuple[str, ShardEntry]]  # URL and entry of each


class Prefetcher:
    """A thread that fetches what the coming slots need; it starts with the first wish, so that an
    unused one can be sent to a loader process.
    """

    def __init__(self, files: ShardFiles, shards: Sequence[Shards], count: int) -> None:
        """Fetch `count` of the `shards` of each set ahead of their use."""
        self._files, self._shards, self._count = files, shards, count
        urls = [url for of_set in shards for url, _ in of_set]
        self._is_idle = all(storage.local_path(url) is not None for url in urls)
        self._uses: tuple[int, list[int], Shards] | None = None  # epoch, first slots, shards
        self._tried: set[str] = set()  # URLs of the last wish, each fetched once
        self._wanted: list[tuple[str, ShardEntry]] = []
        self._changed: threading.Condition | None = None

    def look_ahead(self, epoch: int, slots: Slots, slot: int) -> None:
        """Fetch the remote shards that an epoch first needs after `slot`, instead of what was asked
        for before.
        """
        if self._is_idle:
            return
        if self._uses is None or self._uses[0] != epoch:
            self._uses = (epoch, *self._first_uses(slots))
        _, starts, shards = self._uses
        after = bisect.bisect_right(starts, slot)
        self._want(shards[after : after + self._count])

    def _first_uses(self, slots: Slots) -> tuple[list[int], Shards]:
        """The slots at which remote shards are first needed, rising, and those shards."""
        places, starts = np.unique(slots[:, :2], axis=0, return_index=True)
        uses = [
            (start, self._shards[of_set][number])
            for (of_set, number), start in zip(places.tolist(), starts.tolist(), strict=True)
        ]
        uses = sorted(
            (use for use in uses if storage.local_path(use[1][0]) is None), key=lambda use: use[0]
        )
        return [start for start, _ in uses], [shard for _, shard in uses]

    def _want(self, shards: Shards) -> None:
        if self._changed is None:
            if not shards:
                return
            self._changed = threading.Condition()
            # A daemon: the end of a run does not wait for downloads that nobody needs.
            threading.Thread(
                target=self._work, args=(self._changed,), daemon=True, name="prefetch"
            ).start()
        with self._changed:
            self._tried &= {url for url, _ in shards}
            self._wanted = [shard for shard in shards if shard[0] not in self._tried]
            self._changed.notify()

    def _work(self, changed: threading.Condition) -> None:
        while True:
            with changed:
                while not self._wanted:
                    changed.wait()
                url, entry = self._wanted.pop(0)
                self._tried.add(url)
            with contextlib.suppress(OSError, ValueError):
                self._files.fetch(url, entry)
