"""Which reader reads which kind of view.

A new kind is one entry here, or an entry point in `crosspairs.readers`.
"""

from mining.decoding.images import ImageSequenceReader
from mining.decoding.video import DecodeConfig, VideoReader
from mining.plugins import find_plugin
from mining.sources.base import Reader


class Readers:
    """The readers of one process, each made when first needed."""

    def __init__(self, config: DecodeConfig) -> None:
        self._config = config
        self._made: dict[str, Reader] = {}

    def __getitem__(self, name: str) -> Reader:
        """The reader of that name.

        Raises ValueError, naming those there are, for an unknown one.
        """
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Reader:
        if name == "video":
            return VideoReader(self._config)
        if name == "images":
            return ImageSequenceReader()
        if name == "synthetic":
            from mining.synthetic.reader import SyntheticReader

            return SyntheticReader()
        if name == "annotated":
            from mining.sources.datasets.reader import AnnotatedReader

            return AnnotatedReader(self._config)
        ours = ("video", "images", "synthetic", "annotated")
        reader: Reader = find_plugin("crosspairs.readers", name, f"unknown reader {name!r}", ours)()
        return reader
