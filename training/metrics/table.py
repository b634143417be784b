"""From a row for each sample to what is reported: means with counts, and a Parquet file of the rows
themselves, so that SQL can ask where a model fails.

Rows are columns: a tensor (B,) for each metric, with its unit in its name (`mpjpe_mm`, `pck_0.1`),
and a list of B strings for what names a sample: `label_id`, `dataset` and `subject` always.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from catalog import storage

Rows = Mapping[str, Tensor | Sequence[str]]
NAMES = ("label_id", "dataset", "subject")


def summarize(rows: Rows) -> dict[str, float]:
    """Return each metric's mean over the samples that have it, and under `<metric>_count` their
    number.

    NaN values do not count; infinite ones do, so that a prediction that is no number shows. A
    metric that no sample has is NaN with a count of 0. Columns of strings are left out.
    """
    summary: dict[str, float] = {}
    for name, column in rows.items():
        if isinstance(column, Tensor):
            values = column.detach().double()
            summary[name] = values.nanmean().item()
            summary[f"{name}_count"] = float((~values.isnan()).sum().item())
    return summary


def write_rows(url: str, rows: Rows) -> None:
    """Write rows as a Parquet file, atomically, on a disk or an object store; NaN becomes NULL,
    which SQL's `avg` passes over.

    Raises ValueError when pyarrow is not installed, or when columns are missing or differ in
    length.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ValueError(
            "the rows of an evaluation are written as Parquet, but pyarrow is not installed: "
            "pip install pyarrow"
        ) from error
    missing = [name for name in NAMES if name not in rows]
    if missing:
        raise ValueError(
            f"the rows have no {' or '.join(missing)}: give each sample its {', '.join(NAMES)}"
        )
    lengths = {name: len(column) for name, column in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length, {lengths}: give each sample one value each")
    table = pa.table(
        {
            name: pa.array(_values(column), from_pandas=True)
            if isinstance(column, Tensor)
            else pa.array(list(column), pa.string())
            for name, column in rows.items()
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    storage.write_bytes(url, file.getvalue())


def _values(column: Tensor) -> np.ndarray:
    return column.detach().cpu().numpy()
