"""Compiling a model in place, so that the names of its weights stay."""

import os
import shutil
from collections.abc import Sequence

from torch import nn

COMPILERS = ("g++", "clang++", "c++")  # as torch looks for them, after the variable CXX


def compile_model(model: nn.Module, blocks: Sequence[nn.Module] = ()) -> None:
    """Compile the blocks one by one, or without any the whole. Raises ValueError where there is no
    C++ compiler.
    """
    if not os.environ.get("CXX") and not any(map(shutil.which, COMPILERS)):
        raise ValueError(
            f"to compile a model takes a C++ compiler, and none of {', '.join(COMPILERS)} is on "
            "the PATH: install one, or set run.compile=false (of the benchmark: compile=false)"
        )
    for module in blocks or [model]:
        module.compile()
