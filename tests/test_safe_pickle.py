"""Pickles of arrays and plain values, as every Python and numpy wrote them, and of nothing else."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest

from catalog.safe_pickle import load_pickle

# cPickle of Python 2 and numpy 1: {'pose': array([[1.5, -2.0]]), 'who': 'f\xe9'}
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04poseq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
    b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02f8K\x00K\x01\x87"
    b"Rq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x10\x00\x00\x00\x00\x00"
    b"\x00\xf8?\x00\x00\x00\x00\x00\x00\x00\xc0tbU\x03whoq\x08U\x02f\xe9q\x09u."
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_values_come_back(protocol: int) -> None:
    values = {
        "array": np.arange(6.0).reshape(2, 3),
        "ints": np.array([1, 2], dtype=">i4"),
        "text": np.array(["a", "bc"]),
        "objects": np.array(["x", None], dtype=object),
        "scalar": np.float32(1.5),
        "plain": [1, 2.5, "x", None, True, (b"y", {3}), OrderedDict(a=1), 1j],
        ("S1", "54138969"): {},
    }
    found = load_pickle(pickle.dumps(values, protocol=protocol))
    assert found.keys() == values.keys()
    np.testing.assert_equal(found, values)


def test_numpy_1_and_python_2_are_read() -> None:
    found = load_pickle(PYTHON_2)
    assert found["pose"].tolist() == [[1.5, -2.0]] and found["who"] == "fé"
    new = pickle.dumps(np.arange(3), protocol=2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert load_pickle(old).tolist() == [0, 1, 2]


class Reduced:
    def __init__(self, *reduced: object) -> None:
        self.reduced = reduced

    def __reduce__(self) -> object:
        return self.reduced


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Reduced(eval, ("1/0",)), "builtins.eval"),
        (Reduced(__import__("os").system, ("false",)), "posix.system"),
        (Reduced(getattr, ("x", "upper")), "builtins.getattr"),
        (Reduced(np.load, ("x.npy",)), "numpy.load"),
        ([{"deep": np.array([Reduced(exec, ("1/0",))], dtype=object)}], "builtins.exec"),
    ],
)
def test_whatever_could_run_code_is_refused(value: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        load_pickle(pickle.dumps(value))


@pytest.mark.parametrize("data", [b"", b"text", PYTHON_2[:40], b"\x80\x05\x95\xff"])
def test_broken_bytes_are_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a pickle that can be read"):
        load_pickle(data)
