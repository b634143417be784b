"""How fast training is, and what limits it: the loader against bare decoding, a step against the
same model plainly written, and both together.

Speeds are compared within one run, in turns, and the median of the turns' ratios counts: a machine
that others use, too, slows both sides alike.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import cv2
import torch

from catalog import storage
from catalog.measurements import Measurement
from shards.format import EXTENSIONS, read_index
from training.compiling import compile_model
from training.device_copies import DeviceCopies
from training.distributed import Ranks, choose_device
from training.flops import flops_per_pair, peak_flops
from training.loading.loader import PairLoader
from training.loading.masking import num_masked
from training.loading.pair_batch import PairBatch
from training.loading.reader import Shard, decode_jpeg
from training.loading.shard_files import ShardFiles, ShardFilesConfig
from training.loop import stepping_of
from training.models.croco import Croco
from training.models.plain import PlainCroco
from training.optimizer import make_optimizer, set_learning_rate
from training.plain import plain_optimizer, plain_step
from training.presets import compose
from training.pretrain import objective_of
from training.run_config import PretrainConfig, training_view
from training.step import FiniteCheck, Stepper

PARTS = {  # and what each measures
    "loader": "the loader against bare decoding",
    "step": "a training step against the same model plainly written",
    "training": "training with the loader",
}
RATE = 1e-5  # learning rate of the timed steps: small, and not zero
IMAGES = EXTENSIONS[:2]

_jpegs: list[bytes] = []  # of a decoding process


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """How much is timed."""

    parts: tuple[str, ...] = tuple(PARTS)
    preset: str = "tiny"
    batch_size: int = 32  # pairs of a step
    compile: bool = False
    num_workers: int = 2  # loader processes, and decoding ones
    loader_preset: str = "croco_v2_base"  # whose images are loaded
    loader_batch_size: int = 64
    loader_pairs: int = 4096  # timed in each turn
    turns: int = 5
    steps: int = 8  # timed in each turn
    training_steps: int = 40  # timed with the loader


def cpu_bench() -> BenchConfig:
    """The tiny preset, compiled, for two cores, and the loader for images of 224 px; about two
    minutes.
    """
    return BenchConfig(compile=True)


def gpu_bench() -> BenchConfig:
    """CroCo v2 base at 224 px in batches of 256, in bfloat16, compiled.

    The plainly written model, which keeps more for its way back, has to fit in beside it.
    """
    return BenchConfig(
        preset="croco_v2_base", batch_size=256, compile=True, num_workers=15,
        loader_batch_size=256, loader_pairs=10_240, turns=3, steps=5, training_steps=40,
    )  # fmt: skip


BENCHES: dict[str, Callable[[], BenchConfig]] = {"cpu": cpu_bench, "gpu": gpu_bench}


def measure_speed(
    shards: Sequence[str], bench: BenchConfig, show: Callable[[str], None]
) -> Iterator[list[Measurement]]:
    """Measure part after part on this machine's GPU, or its CPU where there is none.

    `show` is told what is being measured. Raises ValueError for shards that cannot be used, and an
    unknown part.
    """
    unknown = set(bench.parts) - set(PARTS)
    if unknown:
        raise ValueError(f"unknown part {', '.join(sorted(unknown))}; choose of {', '.join(PARTS)}")
    device = choose_device("auto")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    for part in bench.parts:
        show(PARTS[part])
        yield _MEASURES[part](shards, bench, device, name)


def _measure_loader(
    shards: Sequence[str], bench: BenchConfig, device: torch.device, name: str
) -> list[Measurement]:
    config = _config(bench.loader_preset, bench.loader_batch_size, bench)
    jpegs = _read_jpegs(shards, bench.loader_pairs)
    ratios, bare, loaded = [], [], []
    with ProcessPoolExecutor(bench.num_workers, initializer=_keep, initargs=(jpegs,)) as pool:
        for _ in range(bench.turns):
            bare.append(_decode_rate(pool, len(jpegs), bench.num_workers))
            loaded.append(_loading_rate(shards, config, bench))
            ratios.append(loaded[-1] / bare[-1])
    processes = f"{bench.num_workers} processes"
    px = f"{read_index(shards[0]).crop_px} px JPEGs"
    return [
        Measurement(
            metric="loader_over_decode", value=statistics.median(ratios), unit="ratio",
            count=bench.turns, goal=">= 0.9",
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
    ]  # fmt: skip


def _measure_step(
    shards: Sequence[str], bench: BenchConfig, device: torch.device, name: str
) -> list[Measurement]:
    config = _config(bench.preset, bench.batch_size, bench)
    torch.manual_seed(0)
    model = Croco(config.model).to(device)
    plain = PlainCroco(copy.deepcopy(model))
    plain_adamw = plain_optimizer(plain, config.optimizer)
    set_learning_rate(plain_adamw, RATE)
    fast = _fast_step(model, config, device)
    batch = next(iter(PairLoader(shards, config.loader, training_view(config))))
    steps: dict[str, Callable[[], object]] = {
        "fast": lambda: fast(batch),
        "plain": lambda: plain_step(plain, plain_adamw, batch, config),
    }
    for step in steps.values():  # warm up, and compile
        _time_steps(step, 2, device)
    seconds: dict[str, list[float]] = {which: [] for which in steps}
    for _ in range(bench.turns):
        for which, step in steps.items():
            seconds[which].append(_time_steps(step, bench.steps, device))
    ratios = [slow / quick for slow, quick in zip(seconds["plain"], seconds["fast"], strict=True)]
    what = f"{bench.preset}, batches of {bench.batch_size}, {config.run.precision}"
    how = ", compiled" if bench.compile else ""
    goal = ">= 1.5" if device.type == "cuda" else ">= 1.3"
    rows = [
        Measurement(
            metric="step_over_plain", value=statistics.median(ratios), unit="ratio",
            count=bench.turns, goal=goal,
            compared_with=f"a step of the same model plainly written ({what}){how}; {name}",
        ),
    ]  # fmt: skip
    for which, compiled in (("fast", how), ("plain", "")):
        rate = bench.batch_size / statistics.median(seconds[which])
        metric = {"fast": "step_pairs_per_s", "plain": "plain_step_pairs_per_s"}[which]
        rows.append(
            Measurement(
                metric=metric, value=rate, unit="pairs/s",
                compared_with=f"steps on one batch ({what}){compiled}; {name}",
            )
        )  # fmt: skip
        if which == "fast":
            rows.append(_mfu(rate, config, device, f"steps on one batch ({what}){how}; {name}"))
    return rows


def _measure_training(
    shards: Sequence[str], bench: BenchConfig, device: torch.device, name: str
) -> list[Measurement]:
    config = _config(bench.preset, bench.batch_size, bench)
    torch.manual_seed(0)
    step = _fast_step(Croco(config.model).to(device), config, device)
    pin_memory = device.type == "cuda"
    loader = PairLoader(
        shards, config.loader, training_view(config), pin_memory=pin_memory, lend=True
    )
    batches: Iterator[PairBatch] = iter(loader)
    for batch in islice(batches, 3):
        step(batch)
    _wait(device)
    waited_s, started = 0.0, time.perf_counter()
    for _ in range(bench.training_steps):
        began = time.perf_counter()
        batch = next(batches)
        waited_s += time.perf_counter() - began
        step(batch)
    _wait(device)
    elapsed_s = time.perf_counter() - started
    rate = bench.training_steps * bench.batch_size / elapsed_s
    how = ", compiled" if bench.compile else ""
    what = f"{bench.preset}, batches of {bench.batch_size}, {config.run.precision}{how}; {name}"
    return [
        Measurement(
            metric="pairs_per_s", value=rate, unit="pairs/s",
            count=bench.training_steps, compared_with=f"training with the loader: {what}",
        ),
        Measurement(
            metric="data_wait_share", value=waited_s / elapsed_s, unit="share",
            compared_with=f"time in which training waited for its loader: {what}",
        ),
        _mfu(rate, config, device, f"training with the loader: {what}"),
    ]  # fmt: skip


def _mfu(
    pairs_per_s: float, config: PretrainConfig, device: torch.device, what: str
) -> Measurement:
    peak = peak_flops(device, config.run.precision)
    hidden = num_masked(config.model.grid**2, config.masking.ratio)
    mfu = None if peak is None else pairs_per_s * flops_per_pair(config.model, hidden) / peak
    peak_text = "no peak known" if peak is None else f"the peak is {peak / 1e12:.0f} TFLOP/s"
    return Measurement(
        metric="mfu", value=mfu, unit="share", goal=">= 0.45" if peak else "",
        compared_with=f"{what}; {peak_text}",
    )  # fmt: skip


def _config(preset: str, batch_size: int, bench: BenchConfig) -> PretrainConfig:
    config = compose(preset)
    precision: Literal["float32", "bfloat16"] = "float32"
    if torch.cuda.is_available():
        precision = "bfloat16"
    loader = replace(config.loader, batch_size=batch_size, num_workers=bench.num_workers)
    run = replace(config.run, precision=precision, compile=bench.compile)
    return replace(config, loader=loader, run=run)


def _fast_step(
    model: Croco, config: PretrainConfig, device: torch.device
) -> Callable[[PairBatch], None]:
    """A step as the trainer takes it."""
    if config.run.compile:
        compile_model(model)
    optimizer = make_optimizer(model, config.optimizer)
    set_learning_rate(optimizer, RATE)
    ranks = Ranks(device=device)
    stepper = Stepper(model, optimizer, None, objective_of(config), stepping_of(config), ranks)
    finite, copies = FiniteCheck(), DeviceCopies(device)

    def step(batch: PairBatch) -> None:
        batch = copies.copy(batch)
        finite.add(stepper.step(batch), 0, batch)

    return step


def _time_steps(step: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds a step."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return (time.perf_counter() - started) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _read_jpegs(shards: Sequence[str], num_pairs: int) -> list[bytes]:
    """The JPEGs of some pairs, again and again where there are fewer."""
    jpegs: list[bytes] = []
    tars = ShardFiles(ShardFilesConfig())
    for url in shards:
        for entry in read_index(url).of_split("train"):
            shard = Shard(tars, storage.join(url, entry.name), entry)
            for position in range(entry.samples):
                _, files = shard.read(position, IMAGES)
                jpegs += [files[name] for name in IMAGES]
            shard.close()
            if len(jpegs) >= 2 * num_pairs:
                return jpegs[: 2 * num_pairs]
    return [jpegs[number % len(jpegs)] for number in range(2 * num_pairs)]


def _keep(jpegs: list[bytes]) -> None:
    cv2.setNumThreads(0)
    _jpegs.extend(jpegs)


def _decode_rate(pool: ProcessPoolExecutor, num_jpegs: int, num_workers: int) -> float:
    """Pairs a second of processes that decode a share of the JPEGs each, and nothing else."""
    times = list(pool.map(_decode_share, range(num_workers), [num_workers] * num_workers))
    elapsed_s = max(end for _, end in times) - min(start for start, _ in times)
    return num_jpegs / 2 / elapsed_s


def _decode_share(number: int, num_workers: int) -> tuple[float, float]:
    started = time.perf_counter()
    for jpeg in _jpegs[number::num_workers]:
        decode_jpeg(jpeg)
    return started, time.perf_counter()


def _loading_rate(shards: Sequence[str], config: PretrainConfig, bench: BenchConfig) -> float:
    """Pairs a second of the loader alone, once its processes are at work."""
    batches = iter(PairLoader(shards, config.loader, training_view(config), lend=True))
    ahead = config.loader.num_workers * config.loader.prefetch_batches
    for _ in islice(batches, ahead + config.loader.num_workers):
        pass
    count = max(1, bench.loader_pairs // config.loader.batch_size)
    started = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return count * config.loader.batch_size / (time.perf_counter() - started)


_MEASURES: dict[
    str, Callable[[Sequence[str], BenchConfig, torch.device, str], list[Measurement]]
] = {"loader": _measure_loader, "step": _measure_step, "training": _measure_training}
