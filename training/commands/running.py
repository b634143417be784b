"""A training under a progress line, and what is said at its end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.loop import Show, TrainResult


def run_and_report(
    train: Callable[["Show"], "TrainResult"], print_rows: Callable[["TrainResult"], None]
) -> int:
    """Train, then print the held-out figures and where things are; return the exit code.

    Only the first rank prints.
    """
    from training.distributed import is_first
    from training.progress import ProgressLine
    from training.stopping import EXIT_CODE

    line = ProgressLine()
    try:
        result = train(line.show)
    finally:
        line.close()
    if is_first() and result.stopped:
        print(f"stopped after step {result.step}; run the same command again to go on")
    elif is_first():
        print_rows(result)
        print(f"{result.step} steps; checkpoint {result.checkpoint}")
        if result.picture:
            print(f"picture {result.picture}")
    return EXIT_CODE if result.stopped else 0
