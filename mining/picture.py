"""The frames that a pair was cut from, read once more from their footage, with the two crops drawn:
the end of the way from a sample back to its source.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from catalog.parts import Row
from catalog.query import select
from catalog.trace import trace
from mining.decoding.readers import Readers
from mining.decoding.video import DecodeConfig
from mining.sync import first_s

CROPS = """
    WITH shown AS (
        SELECT unnest([crop_a, crop_b]) AS crop_id, unnest(['a', 'b']) AS label
        FROM (SELECT pair_id, crop_a, crop_b FROM pairs
              UNION ALL SELECT pair_id, crop_a, crop_b FROM rejected_pairs)
        WHERE pair_id = $id
        UNION ALL SELECT crop_id, 'crop' FROM crops WHERE crop_id = $id
    )
    SELECT label, box_px, frame_index, time_s, name, uri, reader, offset_s
    FROM shown JOIN crops USING (crop_id) JOIN views USING (view_id) ORDER BY label"""

HEIGHT_PX = 720  # of each frame on the picture
TITLE_PX = 32  # height of the line of text above it
COLOURS_RGB = {"a": (255, 140, 0), "b": (0, 200, 255), "crop": (255, 140, 0)}
FONT = cv2.FONT_HERSHEY_SIMPLEX

Image = NDArray[np.uint8]  # (height, width, 3), RGB


def draw_frames(root: str, id: str) -> Image:
    """The frames of a pair (also a rejected one, or a sample's file name) side by side, or that of
    a crop, RGB, each with the box of its crop.

    Raises ValueError, in one sentence, for another id, and where the footage is gone, cannot be
    read or no longer has the frame.
    """
    id = id.split(".", 1)[0]
    crops = select(root, CROPS, {"id": id}).to_pylist()
    if not crops:
        what = trace(root, id)[0]["what"]  # raises where the catalog does not know it
        raise ValueError(
            f"{id!r} is a {what}, which has no crops of its own to draw: give the id of a pair or "
            "crop, or a sample's file name; `python -m catalog trace` leads to them"
        )
    readers = Readers(DecodeConfig())
    return np.hstack([_draw(crop, _read(crop, readers)) for crop in crops])


def _read(crop: Row, readers: Readers) -> Image:
    """The crop's frame, RGB."""
    frame = f"frame {crop['frame_index']} of view {crop['name']} ({crop['uri']})"
    try:
        reader = readers[crop["reader"]]
        reader.probe(crop["uri"])  # says what is wrong with footage that is gone
        nearest = next(iter(reader.frames(crop["uri"], [crop["time_s"] - first_s(crop)])))
    except (ValueError, OSError) as error:
        raise ValueError(f"{frame} cannot be read any more: {error}") from None
    if nearest.index != crop["frame_index"]:
        raise ValueError(
            f"{frame} is not there any more: at its time there is frame {nearest.index}; the "
            "footage was changed since it was mined"
        )
    return nearest.image


def _draw(crop: Row, image: Image) -> Image:
    """A frame with the box, which may reach past it, at its height on the picture."""
    scale = HEIGHT_PX / image.shape[0]
    width_px = round(image.shape[1] * scale)
    drawn = cv2.resize(image, (width_px, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (round(edge * scale) for edge in crop["box_px"])
    colour = COLOURS_RGB[crop["label"]]
    cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 3)
    at = (max(4, x0 + 8), max(32, y0 + 32))
    cv2.putText(drawn, crop["label"], at, FONT, 1.0, colour, 2, cv2.LINE_AA)
    title = np.zeros((TITLE_PX, width_px, 3), np.uint8)
    text = f"{crop['label']}  {crop['name']}  frame {crop['frame_index']}  {crop['time_s']:.2f} s"
    cv2.putText(title, text, (8, TITLE_PX - 10), FONT, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([title, drawn])
