"""How fast this machine renders, measured as mining does it: processes that each read the views of
captures of their own, annotations included. `python -m mining.synthetic.rate 2` writes the rate.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from mining.synthetic.config import SyntheticConfig
from mining.synthetic.reader import SyntheticReader, view_uri

# images of 256 x 256 pixels with three people, with keypoints and masks of bodies and hands
MEASURED = SyntheticConfig(
    people_per_capture=3, num_views=4, num_frames=8, fps=5.0, motion="crossing", image_px=(256,)
)
CAPTURES_EACH = 6  # that each process renders while the clock runs


def measure_rate(num_processes: int) -> float:
    """Images a second of all processes together, once each has warmed up: wall-clock time."""
    with ProcessPoolExecutor(
        num_processes, mp_context=get_context("spawn"), initializer=_start
    ) as pool:
        # As many tasks as processes, each long enough that no process takes two.
        warm = [pool.submit(_read, 1000 + number, 1) for number in range(num_processes)]
        for task in warm:
            task.result()
        started = time.perf_counter()
        tasks = [
            pool.submit(_read, number * CAPTURES_EACH, CAPTURES_EACH)
            for number in range(num_processes)
        ]
        num_images = sum(task.result() for task in tasks)
        return num_images / (time.perf_counter() - started)


def _start() -> None:
    import torch

    torch.set_num_threads(1)


def _read(first: int, num_captures: int) -> int:
    """Render captures whole and count the images."""
    count = 0
    for capture in range(first, first + num_captures):
        for view in range(MEASURED.num_views):
            times_s = [frame / MEASURED.fps for frame in range(MEASURED.num_frames)]
            count += sum(
                1 for _ in SyntheticReader().frames(view_uri(MEASURED, capture, view), times_s)
            )
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{measure_rate(int(sys.argv[1]))}\n")
