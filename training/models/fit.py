"""Whether weights from elsewhere fit a model: one sentence that names what does not."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

NAMED = 3  # tensors a sentence names before it only counts


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError unless `found` has exactly the names and shapes of `expected`; `source` says
    where the weights are from.
    """
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"lacks {name_some(missing)}")
    if unknown := [name for name in found if name not in expected]:
        problems.append(f"has {name_some(unknown)}, which the model has not")
    misshapen = [
        f"{name} {shape_of(found[name])} instead of {shape_of(expected[name])}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    if misshapen:
        problems.append(f"has {name_some(misshapen)}")
    if problems:
        raise ValueError(f"{source} does not fit: it {', and '.join(problems)}")


def name_some(names: Collection[str]) -> str:
    """Name the first few, and say how many more there are."""
    first = list(names)[:NAMED]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(first) + more


def shape_of(tensor: Tensor) -> str:
    """A tensor's shape as `2 x 3`."""
    return " x ".join(map(str, tensor.shape))


def check_same(found: Any, wanted: Any, names: Collection[str], source: str) -> None:
    """Raise ValueError where two configs differ in one of the named fields: shapes do not show
    these, so wrong ones would load without a sound.
    """
    wrong = [
        f"{name} {getattr(found, name)} instead of {getattr(wanted, name)}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]
    if wrong:
        raise ValueError(f"{source} does not fit: it has {', '.join(wrong)}")
