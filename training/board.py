"""The curves and pictures of a run for TensorBoard: `tensorboard --logdir <the run's folder>`.

The curves are the rows of `log.jsonl` under the same names. Names and bytes of the event files hold
the clock and the host, so they have a folder of their own, `tensorboard/`, that no result depends
on. TensorBoard need not be installed.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

FOLDER = "tensorboard"
ADVICE = "no curves are written, as TensorBoard is not installed: pip install tensorboard"


class Board:
    """Writes a run's curves and pictures; without TensorBoard it says so once and does nothing."""

    def __init__(self, folder: str, resumed_step: int) -> None:
        """Go on after the step a run continues from; what was written beyond it no longer counts.

        `folder` is the run's, on a local disk.
        """
        self._resumed_step = resumed_step
        self._there: set[str] = set()  # what the resumed step has already
        self._writer: SummaryWriter | None = None
        events = Path(folder) / FOLDER
        try:
            from torch.utils.tensorboard import SummaryWriter as Writer
        except ImportError:
            tqdm.write(ADVICE, file=sys.stderr)
            return
        self._there = _names_at(events, resumed_step)
        self._writer = Writer(str(events), purge_step=resumed_step + 1)
        self._writer.flush()  # that it went on from here holds even if it is killed now

    def scalars(self, step: int, row: dict[str, Any]) -> None:
        """Add a point to the curve of each number in a row of the log; other values have none.

        It is on the disk on return, so a run that is killed keeps it.
        """
        if self._writer is None:
            return
        for name, value in row.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and name != "step" and self._is_new(step, name):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Add a picture, given as the bytes of a PNG."""
        if self._writer is None or not self._is_new(step, name):
            return
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        self._writer.add_image(name, rgb, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()

    def _is_new(self, step: int, name: str) -> bool:
        return step != self._resumed_step or name not in self._there


def _names_at(events: Path, step: int) -> set[str]:
    """Names of the curves and pictures that have a point at a step, of all sessions so far."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    names: set[str] = set()
    for path in sorted(events.glob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            if event.HasField("session_log") and event.step <= step:
                names.clear()  # a session that began here wrote the step anew
            if event.step == step:
                names.update(value.tag for value in event.summary.value)
    return names
