"""What a person sees of a run while it lasts: a bar on a terminal, plain lines elsewhere."""

import sys

from tqdm import tqdm


class ProgressLine:
    """Shows on stderr how far a run is, and its figures."""

    def __init__(self) -> None:
        layout = "{percentage:3.0f}% {bar} {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(total=100, bar_format=layout, disable=not sys.stderr.isatty())

    def show(self, share: float, text: str) -> None:
        """Show that `share` (0..1) of the work is done."""
        if self._bar.disable:
            tqdm.write(f"{share:4.0%}  {text}", file=sys.stderr)
            sys.stderr.flush()
            return
        self._bar.n = round(100 * share)
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leave the terminal in order."""
        self._bar.close()
