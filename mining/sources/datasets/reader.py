"""Reads frames with the people that a dataset's annotations give for them."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.footage import read_rgb
from mining.decoding.decoders import nearest
from mining.decoding.video import DecodeConfig, VideoReader
from mining.sources.base import BrokenOffError, Frame, ViewInfo
from mining.sources.datasets.parsing import file_name, kept
from mining.sources.datasets.source import make_adapter
from mining.sources.datasets.view import AnnotatedView, Tile, parse_uri

CACHED_VIEWS = 16  # a segment's views are read one after the other, and again in the next segment


class AnnotatedReader:
    """Implements `mining.sources.base.Reader` for the uris of dataset views.

    Only annotated frames are given: the one nearest to each time, each once.
    """

    def __init__(self, config: DecodeConfig) -> None:
        self._videos = VideoReader(config)

    def probe(self, uri: str) -> ViewInfo:
        """Read size, rate and length of the video; of images, the size of the first, and rate and
        length as the dataset states them. Raises ValueError in one sentence.
        """
        view = open_view(uri)
        if view.video is not None:
            return self._videos.probe(view.video)
        height_px, width_px = _compose(view, view.tiles[0]).shape[:2]
        return ViewInfo(
            width_px=width_px, height_px=height_px, fps=view.fps, num_frames=view.num_frames
        )

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """See Reader. A frame whose image cannot be read is left out; after the others
        BrokenOffError tells how many were.
        """
        view = open_view(uri)
        fps = view.fps if view.video is None else self._videos.probe(view.video).fps
        starts_s = (view.indices - view.first) / fps
        places = list(dict.fromkeys(nearest(starts_s, times_s).tolist()))
        errors: list[str] = []
        for place, index, time_s, image in self._images(view, places, starts_s, errors):
            try:
                people = view.people(place)
            except ValueError as error:
                errors.append(str(error))
                continue
            yield Frame(index=index, time_s=time_s, image=image, people=people)
        if errors:
            raise BrokenOffError(errors[0], num_lost=len(errors))

    def _images(
        self,
        view: AnnotatedView,
        places: Sequence[int],
        starts_s: NDArray[np.float64],
        errors: list[str],
    ) -> Iterator[tuple[int, int, float, NDArray[np.uint8]]]:
        """The place, number, time and image of each frame; what cannot be read goes to `errors`."""
        if view.video is not None:
            place_of = {int(index): place for place, index in enumerate(view.indices)}
            for frame in self._videos.frames(view.video, starts_s[places].tolist()):
                if frame.index in place_of:
                    yield place_of[frame.index], frame.index, frame.time_s, frame.image
                else:  # the video's rate wavers, so that another frame was nearest
                    errors.append(
                        f"frame {frame.index} of {file_name(view.video)} is not annotated"
                    )
            return
        for place in places:
            try:
                image = _compose(view, view.tiles[place])
            except ValueError as error:
                errors.append(str(error))
                continue
            yield place, int(view.indices[place]), float(starts_s[place]), image


@kept(CACHED_VIEWS)
def open_view(uri: str) -> AnnotatedView:
    """Open the view that a uri means. Raises ValueError, in one sentence, for broken annotations
    and for a view without any.
    """
    adapter, root, place = parse_uri(uri)
    view = make_adapter(adapter).open_view(root, place)
    if not len(view.indices):
        raise ValueError("no frame of this view is annotated")
    return view


def _compose(view: AnnotatedView, tiles: Sequence[Tile]) -> NDArray[np.uint8]:
    """The RGB frame (H, W, 3): an image, or cut-out windows put back where they were cut."""
    if view.size_px is None:
        return read_rgb(tiles[0].file)
    width, height = view.size_px
    frame = np.zeros((height, width, 3), np.uint8)
    for tile in tiles:
        assert tile.window_px is not None
        x0, y0, x1, y1 = (round(edge) for edge in tile.window_px)
        image = cv2.resize(read_rgb(tile.file), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        left, top, right, bottom = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        frame[top:bottom, left:right] = image[top - y0 : bottom - y0, left - x0 : right - x0]
    return frame
