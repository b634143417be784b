"""How fast training is, and what limits it: the loader against bare decoding, a step against the
same model plainly written, and both together.

Speeds are compared within one run, in turns, and the median of the turns' ratios counts: a machine
that others use, too, slows both sides alike.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch

from catalog.measurements import Measurement
from training.bench_loader import measure_loader
from training.compiling import compile_model
from training.device_copies import DeviceCopies
from training.distributed import Ranks, choose_device
from training.flops import flops_per_pair, peak_flops
from training.loading.loader import PairLoader
from training.loading.masking import num_masked
from training.loading.pair_batch import PairBatch
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
    return measure_loader(shards, config, bench.loader_pairs, bench.turns)


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
    rates = {
        which: bench.batch_size / statistics.median(of_which) for which, of_which in seconds.items()
    }
    what = f"steps on one batch: {_describe(bench, config, name)}"
    return [
        Measurement(
            metric="step_over_plain", value=statistics.median(ratios), unit="ratio",
            count=bench.turns, goal=">= 1.5" if device.type == "cuda" else ">= 1.3",
            compared_with=f"the same model plainly written, not compiled; ours: {what}",
        ),
        Measurement(
            metric="step_pairs_per_s", value=rates["fast"], unit="pairs/s", compared_with=what
        ),
        _mfu(rates["fast"], config, device, what),
        Measurement(
            metric="plain_step_pairs_per_s", value=rates["plain"], unit="pairs/s",
            compared_with=f"the same model plainly written, not compiled; ours: {what}",
        ),
    ]  # fmt: skip


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
    what = f"training with the loader: {_describe(bench, config, name)}"
    return [
        Measurement(
            metric="pairs_per_s", value=rate, unit="pairs/s", count=bench.training_steps,
            compared_with=what,
        ),
        Measurement(
            metric="data_wait_share", value=waited_s / elapsed_s, unit="share",
            compared_with=f"time in which training waited for its loader; {name}",
        ),
        _mfu(rate, config, device, what),
    ]  # fmt: skip


def _describe(bench: BenchConfig, config: PretrainConfig, device_name: str) -> str:
    """What is trained, and where."""
    how = ", compiled" if bench.compile else ""
    precision = config.run.precision
    return f"{bench.preset}, batches of {bench.batch_size}, {precision}{how}; {device_name}"


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


_MEASURES: dict[
    str, Callable[[Sequence[str], BenchConfig, torch.device, str], list[Measurement]]
] = {"loader": _measure_loader, "step": _measure_step, "training": _measure_training}
