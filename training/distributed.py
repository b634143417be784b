"""One process or many: who I am among the ranks, how the model is divided, and how ranks agree.

Ranks are started by `torchrun`, which sets the environment that `torch.distributed` reads. Without
it everything here is the identity.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

Strategy = Literal["ddp", "fsdp"]
CPU = torch.device("cpu")
TIMEOUT = timedelta(minutes=30)  # of a collective: rank 0 evaluates while the others wait


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor over the ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def refuse_different(self, what: list[Any], advice: str) -> None:
        """Raise ValueError on all ranks when plain values are not the same on all of them."""
        if self.world_size == 1:
            return
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, what)
        if any(values != found[0] for values in found):
            raise ValueError(f"the ranks do not continue the same run, they have {found}: {advice}")

    def agree(self, used: float, stop: bool) -> tuple[float, bool]:
        """What all ranks go by: rank 0's clock, and whether any was told to stop.

        Clocks differ, and a run by minutes must end at one step on all ranks. The values travel on
        the CPU, so no device waits.
        """
        if self.world_size == 1:
            return used, stop
        values = torch.tensor([used if self.is_main else 0.0, float(stop)], dtype=torch.float64)
        dist.all_reduce(values)
        return values[0].item(), values[1].item() > 0


def choose_device(name: str) -> torch.device:
    """Return the device a config names; `auto` is this rank's GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("run.device is cuda, but torch sees no GPU: use cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def is_first() -> bool:
    """Whether this is the only process, or rank 0 of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def start_ranks(device_name: str) -> Iterator[Ranks]:
    """Join the other ranks for as long as the context lasts."""
    device = choose_device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(device=device)
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield Ranks(rank=dist.get_rank(), world_size=world_size, device=device)
    finally:
        dist.destroy_process_group()


def divide(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    ranks: Ranks,
    strategy: Strategy,
    param_dtype: torch.dtype,
) -> nn.Module:
    """Return the module to call in training: the model itself, or wrapped for the ranks.

    With `fsdp` every block's parameters, gradients and moments are divided among the ranks, and
    gathered in `param_dtype` when they are needed; the model is changed in place.
    """
    if strategy == "fsdp" and dist.is_initialized():
        # Inputs stay as they are: targets are made of them, and autocast turns what it must.
        policy = MixedPrecisionPolicy(
            param_dtype=param_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        for block in blocks:
            fully_shard(block, mp_policy=policy)
        fully_shard(model, mp_policy=policy)
        return model
    if ranks.world_size > 1:
        device_ids = [ranks.device.index] if ranks.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids, gradient_as_bucket_view=True)
    return model


@contextmanager
def keep_gradients(module: nn.Module, until_last: bool) -> Iterator[None]:
    """Leave gradients on their ranks within the context when `until_last`: more will be added."""
    if until_last and isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
        return
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(not until_last)
    yield


def gather_whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be divided among the ranks as a whole one; all ranks must call."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divide_like(whole: Tensor, like: Tensor) -> Tensor:
    """Divide a whole tensor as another one is divided, on its device."""
    whole = whole.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(whole, like.device_mesh, like.placements)
    return whole
