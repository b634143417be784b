"""Read a file of tensors: safetensors, with one sentence for what is missing or damaged."""

import safetensors
import safetensors.torch
from torch import Tensor

from catalog import storage


def read_tensors(url: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises ValueError when it is not there, or is
    damaged.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(storage.read_bytes(url))
        return tensors
    except FileNotFoundError:
        raise ValueError(f"{url} is not there: the checkpoint is not whole") from None
    except safetensors.SafetensorError as error:
        raise ValueError(f"{url} is damaged, or not safetensors: {error}") from None
