"""Annotation files to plain values: JSON, text and pickles, with one sentence for what is wrong."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from catalog import storage
from catalog.safe_pickle import load_pickle

# what code that picks entries out of parsed files raises where they are not as expected
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, OSError, ValueError)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_FORGETTERS: list[Callable[[], None]] = []


def kept(
    maxsize: int,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Keep the last `maxsize` results of a function that reads files, until `forget_kept`."""

    def keep(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        cached = lru_cache(maxsize=maxsize)(function)
        _FORGETTERS.append(cached.cache_clear)
        return cached  # type: ignore[return-value]

    return keep


def forget_kept() -> None:
    """Drop whatever was read in this process: the files may have changed since."""
    for forget in _FORGETTERS:
        forget()


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever reading a malformed file raises into a ValueError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{what} is not there") from None
    except KeyError as error:
        raise ValueError(f"{what} lacks the entry {error}") from None
    except ValueError as error:
        text = " ".join(str(error).split())
        raise ValueError(text if what in text else f"{what}: {text}") from None
    except MALFORMED as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{what} is not as the dataset writes it ({said[:200]})") from None


def read_json(url: str) -> Any:
    """Parse a JSON file. Raises ValueError naming it when it is missing or broken."""
    with reading(file_name(url)):
        return json.loads(storage.read_bytes(url))


def read_pickle(url: str) -> Any:
    """Unpickle a file of numpy arrays and plain values. Raises ValueError naming it."""
    with reading(file_name(url)):
        return load_pickle(storage.read_bytes(url))


def read_lines(url: str) -> list[str]:
    """The lines of a text file that are not empty. Raises ValueError naming it when missing."""
    with reading(file_name(url)):
        return [line.strip() for line in storage.read_text(url).splitlines() if line.strip()]


def array(value: Any, shape: Sequence[int], what: str) -> NDArray[np.float64]:
    """A float array of this shape, where -1 stands for any length; None becomes NaN.

    Raises ValueError that tells the two shapes.
    """
    found = np.asarray(value, dtype=np.float64)
    fits = found.ndim == len(shape) and all(
        wanted in (-1, got) for wanted, got in zip(shape, found.shape, strict=True)
    )
    if not fits:
        wanted = " x ".join("N" if side == -1 else str(side) for side in shape)
        raise ValueError(f"{what} has shape {found.shape}, not {wanted}")
    return found


def file_name(url: str) -> str:
    """The last part of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]
