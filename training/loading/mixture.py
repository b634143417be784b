"""How often each group of samples is read in an epoch: from the asked shares to whole numbers.

A user asks for shares of an epoch by source, kind and part. They are marginals: every cell (source
x kind x part) gets what is nearest to the data's own make-up among all that has the asked sums,
found by iterative proportional fitting. A source is a dataset, as the groups of the index name it,
and not a shard set: one dataset has a set for bodies and one for hands, one set may hold many
datasets, and folders are copied and renamed.

Shapes: G groups (of all sets), S sources, K kinds, P parts.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.groups import Group

AXES = {"sources": "dataset", "kinds": "kind", "parts": "part"}  # setting -> field of a group
REACHED = 1e-6  # how far from the asked share a marginal may end
NEAR = 1e-3  # ... when the fit stands still: cells that must vanish do so as 1 / sweeps
STILL = 1e-9  # change of a sweep below which later ones do not help
MAX_SWEEPS = 10_000
MAX_LISTED = 12  # cells that a message lists

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What is asked for: `name=share` texts, whose shares need not sum to 1.

    An empty setting leaves the data as they are. Names that a setting does not list get nothing.
    """

    sources: tuple[str, ...] = ()  # names of datasets
    kinds: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def group_quotas(groups: Sequence[Group], counts_G: Counts, shares: Shares) -> Counts:
    """Return the slots of an epoch that go to each group; `counts_G` is how many samples it has.

    The slots are as many as the groups with a positive share have samples. Raises ValueError for
    names that no sample has, for what is no share, and for shares that the samples cannot give.
    """
    there = np.flatnonzero(counts_G).tolist()
    if not len(there) or shares == Shares():
        return counts_G.copy()
    columns = {a: [getattr(groups[i], name) for i in there] for a, name in AXES.items()}
    names = {axis: sorted(set(column)) for axis, column in columns.items()}
    wanted = [parse_shares(axis, getattr(shares, axis), names[axis]) for axis in AXES]
    cell = tuple(np.array([names[a].index(name) for name in columns[a]]) for a in AXES)
    counts_SKP = np.zeros([len(names[axis]) for axis in AXES], np.int64)
    np.add.at(counts_SKP, cell, counts_G[there])
    fitted_SKP = fit_shares(counts_SKP, wanted)
    _refuse_unreached(fitted_SKP, wanted, counts_SKP, list(names.values()))
    num_slots = int(counts_SKP[fitted_SKP > 0].sum())
    quotas_G = np.zeros_like(counts_G)
    of_cell = counts_G[there] / counts_SKP[cell]  # share of each group among those of its cell
    quotas_G[there] = _round_to_sum(num_slots * fitted_SKP[cell] * of_cell, num_slots)
    return quotas_G


def parse_shares(axis: str, texts: Sequence[str], known: Sequence[str]) -> Floats | None:
    """Read the `name=share` texts of a setting: the share of each known name, with sum 1.

    None when there are none. Raises ValueError, naming the setting, for anything else.
    """
    if not texts:
        return None
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = (part.strip() for part in text.rpartition("="))
        if not name:
            raise ValueError(f"loader.{axis}: {text!r} is not name=share, such as {known[0]}=1")
        if name not in known:
            raise ValueError(f"loader.{axis} names {name!r}; the samples have: {', '.join(known)}")
        if name in found:
            raise ValueError(f"loader.{axis} names {name} twice: give it one share")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not 0 <= found[name] < math.inf:
            raise ValueError(f"loader.{axis}: the share in {text!r} must be a number, 0 or more")
    if not sum(found.values()):
        raise ValueError(f"loader.{axis} has no share above 0: nothing would be read")
    return np.array([found.get(name, 0.0) for name in known]) / sum(found.values())


def fit_shares(counts_SKP: Counts, wanted: Sequence[Floats | None]) -> Floats:
    """Scale counts to shares with the wanted sums along each axis; None leaves an axis free.

    Each sweep scales the slices of one axis after the other. It ends when all sums hold within
    `REACHED`, or stand still short of it where empty cells keep them from it.
    """
    fitted_SKP = np.asarray(counts_SKP, np.float64)
    asked = [(axis, share) for axis, share in enumerate(wanted) if share is not None]
    for axis, share in asked:
        fitted_SKP = fitted_SKP * (_along(share, axis) > 0)
    fitted_SKP = fitted_SKP / max(fitted_SKP.sum(), 1.0)
    for _ in range(MAX_SWEEPS):
        before_SKP = fitted_SKP
        for axis, share in asked:
            sums = _sums(fitted_SKP, axis)
            fitted_SKP = fitted_SKP * _along(share / np.where(sums > 0, sums, 1.0), axis)
        misses = [np.abs(_sums(fitted_SKP, axis) - share).max() for axis, share in asked]
        if max(misses) <= REACHED or np.abs(fitted_SKP - before_SKP).max() < STILL:
            break
    return fitted_SKP


def _along(values: Floats, axis: int) -> Floats:
    return values.reshape([-1 if other == axis else 1 for other in range(len(AXES))])


def _sums(cells_SKP: Floats, axis: int) -> Floats:
    return cells_SKP.sum(axis=tuple(other for other in range(len(AXES)) if other != axis))


def _refuse_unreached(
    fitted_SKP: Floats,
    wanted: Sequence[Floats | None],
    counts_SKP: Counts,
    names: Sequence[Sequence[str]],
) -> None:
    """Raise ValueError for the share that is missed most, one that gets nothing before others."""
    misses = []
    for axis, (setting, share) in enumerate(zip(AXES, wanted, strict=True)):
        if share is not None:
            rows = zip(names[axis], share, _sums(fitted_SKP, axis), strict=True)
            misses += [
                (found == 0, abs(found - asked), f"loader.{setting}", name, asked, found)
                for name, asked, found in rows
                if abs(found - asked) > NEAR
            ]
    if misses:
        _, _, setting, name, asked, found = max(misses, key=lambda miss: miss[:2])
        raise ValueError(
            f"{setting} cannot give {name} its share of {asked:.1%} beside the other shares: it "
            f"comes to {found:.1%}; the samples are: {', '.join(_list_cells(counts_SKP, names))}"
        )


def _list_cells(counts_SKP: Counts, names: Sequence[Sequence[str]]) -> Iterator[str]:
    cells = np.argwhere(counts_SKP)
    for cell in cells[:MAX_LISTED]:
        label = " ".join(names[axis][i] for axis, i in enumerate(cell))
        yield f"{counts_SKP[tuple(cell)]} of {label}"
    if len(cells) > MAX_LISTED:
        yield f"{len(cells) - MAX_LISTED} more groups"


def _round_to_sum(expected: Floats, total: int) -> Counts:
    """Round to whole numbers with a given sum: down, then up where most was cut off."""
    expected = np.round(expected, 6)  # so that no difference of machines decides
    rounded = np.floor(expected).astype(np.int64)
    most_cut = np.argsort(rounded - expected, kind="stable")
    rounded[most_cut[: total - int(rounded.sum())]] += 1
    return rounded
