"""The study's plots: for each task, its headline over the share of the labels, a line for each
initialization, with the spread over seeds.
"""

import io
import statistics
from collections.abc import Sequence
from typing import Any

from catalog import storage
from training.finetuning.study import headline_values, is_headline
from training.finetuning.study_config import StudyConfig


def draw_study(study: StudyConfig, rows: Sequence[dict[str, Any]], folder: str) -> list[str]:
    """Draw a PNG for each task into a folder; return the files' URLs.

    Raises ValueError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(
            "no plots are drawn, as matplotlib is not installed: pip install matplotlib; "
            "the rows are in the report"
        ) from None
    urls = []
    for task in study.tasks:
        of_task = [row for row in rows if is_headline(row, task)]
        if not of_task:
            continue
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.subplots()
        for init in study.inits:
            shares, means, spreads = [], [], []
            for share in study.label_shares:
                values = headline_values(rows, task, init, share)
                if values:
                    shares.append(100 * share)
                    means.append(statistics.mean(values))
                    spreads.append(statistics.stdev(values) if len(values) > 1 else 0.0)
            axes.errorbar(shares, means, spreads, marker="o", capsize=3, label=init)
        axes.set_xscale("log")
        axes.set_xticks([100 * share for share in study.label_shares])
        axes.set_xticklabels([f"{share:.0%}" for share in study.label_shares])
        axes.set_xlabel("share of the labels")
        better = "higher" if of_task[0]["larger_is_better"] else "lower"
        axes.set_ylabel(f"{of_task[0]['metric']} ({better} is better)")
        seeds = f"mean and deviation of {len(study.seeds)} seeds"
        axes.set_title(f"{task} ({study.preset}): {seeds}")
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        urls.append(storage.join(folder, f"{task}.png"))
        storage.write_bytes(urls[-1], buffer.getvalue())
    return urls
