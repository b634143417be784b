"""How a task's figures are printed for people."""

from collections.abc import Mapping

COUNT = "_count"  # ending of the number of samples that a figure was taken over


def print_figures(summary: Mapping[str, float]) -> None:
    """Print each figure, with how many samples it was taken over where that is known."""
    width = max((len(name) for name in summary), default=0)
    for name, value in summary.items():
        if name.endswith(COUNT):
            continue
        count = summary.get(f"{name}{COUNT}")
        over = "" if count is None else f"  over {count:.0f}"
        print(f"  {name:{width}}  {value:.4g}{over}")
