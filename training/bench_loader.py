"""How fast the loader is, and what it could be: a bare loop that decodes the same JPEGs with as
many processes, to memory that stays in the processor's caches, and to as much as the loader's
images take.
"""

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice

import cv2
import numpy as np
import numpy.typing as npt
import torch

from catalog import storage
from catalog.measurements import Measurement
from shards.format import read_index
from shards.pairs import IMAGES
from training.loading.arrays import SharedArrays, allocate
from training.loading.loader import LoaderConfig, PairLoader, sets_in_turn
from training.loading.reader import Shard, decode_jpeg
from training.loading.shard_files import ShardFiles, ShardFilesConfig
from training.run_config import PretrainConfig, training_view

Pixels = npt.NDArray[np.uint8]  # (H, W, 3)

_jpegs: list[bytes] = []  # what a decoding process decodes
_places: list[Pixels] = []  # and where to: its share of as many images as the loader holds


def measure_loader(
    shards: Sequence[str], config: PretrainConfig, num_pairs: int, turns: int
) -> list[Measurement]:
    """Measure the loader of a configuration and bare decoding by as many processes, `num_pairs` in
    each turn; after the last, the medians.

    Raises ValueError for shards that cannot be used.
    """
    num_workers = config.loader.num_workers
    crops_px = {read_index(url).crop_px for url in shards}
    if len(crops_px) != 1:
        sizes = " and ".join(map(str, sorted(crops_px)))
        raise ValueError(f"the sets have images of {sizes} px: give sets of one size")
    jpegs, crop_px = _read_jpegs(shards, num_pairs), crops_px.pop()
    ratios, bare, kept, loaded = [], [], [], []
    given = (jpegs, config.loader, crop_px)
    with ProcessPoolExecutor(num_workers, initializer=_prepare, initargs=given) as pool:
        for _ in range(turns):
            bare.append(_decode_rate(pool, len(jpegs), num_workers, keep=False))
            kept.append(_decode_rate(pool, len(jpegs), num_workers, keep=True))
            loaded.append(_loading_rate(shards, config, num_pairs))
            ratios.append(loaded[-1] / bare[-1])
    processes = f"{num_workers} processes"
    px = f"{crop_px} px JPEGs"
    return [
        Measurement(
            metric="loader_over_decode", value=statistics.median(ratios), unit="ratio",
            count=turns, goal=">= 0.9",
            compared_with=f"a bare loop that decodes the same {px}, {processes} each; CPU",
        ),
        Measurement(
            metric="loader_pairs_per_s", value=statistics.median(loaded), unit="pairs/s",
            compared_with=f"the loader alone, {processes}; CPU",
        ),
        Measurement(
            metric="decode_pairs_per_s", value=statistics.median(bare), unit="pairs/s",
            compared_with=f"bare decoding of {px}, {processes}; CPU",
        ),
        Measurement(
            metric="kept_decode_pairs_per_s", value=statistics.median(kept), unit="pairs/s",
            compared_with=f"the same, keeping as many images as the loader holds; {processes}; CPU",
        ),
    ]  # fmt: skip


def _read_jpegs(shards: Sequence[str], num_pairs: int) -> list[bytes]:
    """The JPEGs of some pairs, again and again where there are fewer."""
    jpegs: list[bytes] = []
    tars = ShardFiles(ShardFilesConfig())
    for url in shards:
        for entry in read_index(url).of_split("train"):
            shard = Shard(tars, storage.join(url, entry.name), entry)
            for position in range(entry.samples):
                _, files = shard.read(position, IMAGES)
                jpegs += [bytes(files[name]) for name in IMAGES]
            shard.close()
            if len(jpegs) >= 2 * num_pairs:
                return jpegs[: 2 * num_pairs]
    return [jpegs[number % len(jpegs)] for number in range(2 * num_pairs)]


def _prepare(jpegs: list[bytes], config: LoaderConfig, crop_px: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)  # its threads do not survive a fork
    _jpegs.extend(jpegs)
    layout = allocate(config.batch_size, crop_px, num_patches=2, num_masked=1)
    sets = SharedArrays(layout, -(-sets_in_turn(config) // config.num_workers), pin_memory=False)
    for number in range(len(sets)):
        images = [sets.tensors(number)[f"images_{side}"].numpy() for side in "ab"]
        _places.extend(image for pair in zip(*images, strict=True) for image in pair)


def _decode_rate(pool: ProcessPoolExecutor, num_jpegs: int, num_workers: int, keep: bool) -> float:
    """Pairs a second of processes that decode a share of the JPEGs each, and nothing else: each
    image over the one before, or, with `keep`, to its own place in memory.
    """
    decode = partial(_decode_share, num_workers=num_workers, keep=keep)
    times = list(pool.map(decode, range(num_workers)))
    elapsed_s = max(end for _, end in times) - min(start for start, _ in times)
    return num_jpegs / 2 / elapsed_s


def _decode_share(number: int, num_workers: int, keep: bool) -> tuple[float, float]:
    places = cycle(_places if keep else _places[:1])
    started = time.perf_counter()
    for jpeg, place in zip(_jpegs[number::num_workers], places, strict=False):
        decode_jpeg(jpeg, out=place)
    return started, time.perf_counter()


def _loading_rate(shards: Sequence[str], config: PretrainConfig, num_pairs: int) -> float:
    """Pairs a second of the loader alone, once its processes are at work."""
    batches = iter(PairLoader(shards, config.loader, training_view(config), lend=True))
    ahead = config.loader.num_workers * config.loader.prefetch_batches
    for _ in islice(batches, ahead + config.loader.num_workers):
        pass
    count = max(1, num_pairs // config.loader.batch_size)
    started = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return count * config.loader.batch_size / (time.perf_counter() - started)
