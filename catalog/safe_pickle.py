"""Unpickles what datasets pickle, numpy arrays and plain values, and nothing that could run code.

A pickle names the callables that rebuild its objects. Only those of numpy arrays are allowed here,
under the names that numpy 1 and numpy 2, Python 2 and 3 write, so an annotation file from anywhere
is data and no program.
"""

import codecs
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

# What numpy's own pickles are rebuilt with; its ways here lead through the public names.
_RECONSTRUCT = np.array(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_FROM_BUFFER = np.arange(2).__reduce_ex__(5)[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): codecs.encode,
    ("builtins", "set"): set,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("__builtin__", "set"): set,
    ("__builtin__", "complex"): complex,
    ("__builtin__", "bytearray"): bytearray,
    **{
        (f"numpy.{core}.{module}", name): rebuild
        for core in ("core", "_core")
        for module, name, rebuild in (
            ("multiarray", "_reconstruct", _RECONSTRUCT),
            ("multiarray", "scalar", _SCALAR),
            ("numeric", "_frombuffer", _FROM_BUFFER),
        )
    },
}


StandIn = Callable[[str, str], Any]  # from a module and a name to a harmless class, or None


class _DataUnpickler(pickle.Unpickler):
    stand_in: StandIn | None = None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            found = self.stand_in(module, name) if self.stand_in else None
            if found is not None:
                return found
            raise ValueError(
                f"it names {module}.{name}, and only numpy arrays and plain values are read from "
                "a pickle, because anything else could run code"
            )
        return ALLOWED[module, name]


def load_pickle(data: bytes, stand_in: StandIn | None = None) -> Any:
    """Unpickle arrays, dicts, lists, tuples, text and numbers; Python 2's text is read as latin-1.

    `stand_in` may give what other names stand for: a class of the caller's that holds state and
    does nothing.

    Raises ValueError, in one sentence, for a pickle of anything else and for broken bytes.
    """
    try:
        unpickler = _DataUnpickler(io.BytesIO(data), encoding="latin1")
        unpickler.stand_in = stand_in
        return unpickler.load()
    except ValueError:
        raise
    except Exception as error:  # a broken pickle raises almost anything
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"not a pickle that can be read ({said})") from None
