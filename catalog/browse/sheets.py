"""Image sheets: the crops of the page as small images, many in one JPEG, each stored once.

A screenful of pairs needs a few dozen files instead of hundreds, and a browser decodes them in
tens of milliseconds. Cells run row by row; the last sheet is cut to the rows that it needs.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog import storage
from catalog.ids import content_id
from catalog.images import Place, read_images

SHEET_PX = 768  # longest side: small enough that a pair of far crops costs little to decode
JPEG_QUALITY = 85
THREADS = 4  # OpenCV lets go of the interpreter while it decodes and encodes
SHEETS_AT_ONCE = 16  # bounds the memory of JPEGs that were read and not yet shrunk
EMPTY_BGR = (96, 96, 96)


@dataclass(frozen=True)
class Sheets:
    """Where the crops' small images lie: crop i is cell `i % (columns ** 2)` of the sheet
    `i // (columns ** 2)`, whose file is `<prefix><sheet, 5 digits>.jpg` below the page's folder.

    `unreadable` says why, by crop, where an image could not be read.
    """

    prefix: str
    columns: int
    cell_px: int
    num_bytes: int
    unreadable: dict[int, str]


def write_sheets(root: str, out: str, crops: pa.Table, cell_px: int) -> Sheets:
    """Write the crops (columns `file`, `offset`, `length`), each resized to a square of `cell_px`,
    to `OUT/sheets/`.

    Their names follow from the crops, so sheets of an earlier page stay whole beside them. Raises
    ValueError for a cell that is no image or does not fit a sheet.
    """
    if not 16 <= cell_px <= SHEET_PX:
        raise ValueError(f"crops on the page are 16 to {SHEET_PX} px, got {cell_px}")
    columns = SHEET_PX // cell_px
    places = [Place(row["file"], row["offset"], row["length"]) for row in crops.to_pylist()]
    prefix = f"sheets/{content_id(cell_px, JPEG_QUALITY, [list(place) for place in places])}-"
    unreadable: dict[int, str] = {}
    num_bytes = 0
    for number, (jpeg, problems) in enumerate(_make_sheets(root, places, columns, cell_px)):
        storage.write_bytes(storage.join(out, f"{prefix}{number:05d}.jpg"), jpeg)
        first = number * columns**2
        unreadable |= {first + cell: reason for cell, reason in problems.items()}
        num_bytes += len(jpeg)
    return Sheets(prefix, columns, cell_px, num_bytes, unreadable)


def _make_sheets(
    root: str, places: Sequence[Place], columns: int, cell_px: int
) -> Iterator[tuple[bytes, dict[int, str]]]:
    """Each sheet's JPEG, in order, with the cells that could not be read."""
    step = columns**2 * SHEETS_AT_ONCE
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(places), step):
            chunk = places[start : start + step]
            found = read_images(root, chunk)
            jpegs = [found[place] for place in chunk]
            groups = [jpegs[i : i + columns**2] for i in range(0, len(jpegs), columns**2)]
            yield from pool.map(lambda group: _make_sheet(group, columns, cell_px), groups)


def _make_sheet(
    jpegs: Sequence[bytes | ValueError], columns: int, cell_px: int
) -> tuple[bytes, dict[int, str]]:
    num_rows = -(-len(jpegs) // columns)
    sheet = np.full((num_rows * cell_px, columns * cell_px, 3), EMPTY_BGR, dtype=np.uint8)
    problems = {}
    for cell, jpeg in enumerate(jpegs):
        try:
            image = _decode(jpeg, cell_px)
        except ValueError as error:
            problems[cell] = str(error)
            continue
        top, left = cell // columns * cell_px, cell % columns * cell_px
        sheet[top : top + cell_px, left : left + cell_px] = image
    done, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return data.tobytes(), problems


def _decode(jpeg: bytes | ValueError, cell_px: int) -> NDArray[np.uint8]:
    if isinstance(jpeg, ValueError):
        raise jpeg
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("its JPEG cannot be decoded")
    return cv2.resize(image, (cell_px, cell_px), interpolation=cv2.INTER_AREA)
