"""Read shards back: the samples of a tar, the first samples of a set, and a sheet to look at."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from catalog import storage
from shards.format import read_index
from shards.label_sheet import draw_label, title
from shards.labels import decode_label
from shards.pairs import IMAGES, decode_keypoints

PEEK_COLUMNS = (
    "pair_id", "kind", "part", "split", "dataset", "score", "view_angle_deg", "covisibility",
    "time_gap_s", "pose_distance",
)  # fmt: skip
LABEL_COLUMNS = ("label_id", "kind", "part", "split", "dataset", "subject", "gesture")
SHEET_COLUMNS = 4  # samples side by side
LABEL_PX = 18  # height of the line of text above a sample
SHEET_PX = 192  # side of an image on the sheet: room for the line of text
SEEN = 0.3  # confidence from which a keypoint is drawn

Image = npt.NDArray[np.uint8]  # (height, width, 3), BGR


@dataclass(frozen=True)
class RawSample:
    """One sample as it lies in a tar: its key (its id) and its files' bytes by extension."""

    key: str
    files: dict[str, bytes]

    @property
    def meta(self) -> dict[str, Any]:
        """Its JSON. Raises ValueError when that is missing or damaged."""
        try:
            meta = json.loads(self.files["json"])
        except (KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"sample {self.key} has no readable JSON: {error}") from None
        if not isinstance(meta, dict):
            raise ValueError(f"sample {self.key} has JSON that is no object")
        return meta


def read_samples(url: str) -> Iterator[RawSample]:
    """Stream the samples of the tar at `url`, in order.

    Raises ValueError when it is missing or ends within a file; `verify` finds all other damage.
    """
    try:
        with storage.open_read(url) as file:
            yield from iterate_tar(file)
    except FileNotFoundError:
        raise ValueError(f"{url} is not there") from None
    except tarfile.TarError as error:
        raise ValueError(f"{url} is damaged: {error}") from None


def iterate_tar(file: BinaryIO) -> Iterator[RawSample]:
    """Stream the samples of an open tar: neighbouring files that agree up to the first dot.

    Raises tarfile.TarError where the tar ends within a file.
    """
    key = ""
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            stem, _, extension = member.name.partition(".")
            if files and stem != key:
                yield RawSample(key, files)
                files = {}
            key = stem
            files[extension] = stream.read()
    if files:
        yield RawSample(key, files)


def peek(url: str, num: int) -> list[RawSample]:
    """The first `num` samples of a shard set's folder, or of one tar (a URL that ends in .tar)."""
    if url.endswith(".tar"):
        return list(islice(read_samples(url), num))
    tars = [storage.join(url, shard.name) for shard in read_index(url).shards]
    return list(islice((sample for tar in tars for sample in read_samples(tar)), num))


def summary_row(sample: RawSample) -> dict[str, Any]:
    """What to print of a sample."""
    meta = sample.meta
    size_bytes = sum(map(len, sample.files.values()))
    columns = LABEL_COLUMNS if "label_id" in meta else PEEK_COLUMNS
    return {**{name: meta.get(name) for name in columns}, "bytes": size_bytes}


def draw_sheet(samples: Sequence[RawSample]) -> Image:
    """A contact sheet: each sample's two images side by side, keypoints drawn, kind and terms
    above; of one labelled image its labels beside it.

    Raises ValueError when there is no sample, or an image or the keypoints do not decode.
    """
    if not samples:
        raise ValueError("no sample to draw")
    tiles = [_draw_sample(sample) for sample in samples]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    starts = range(0, len(tiles), SHEET_COLUMNS)
    return np.vstack([np.hstack(tiles[start : start + SHEET_COLUMNS]) for start in starts])


def write_sheet(url: str, samples: Sequence[RawSample]) -> None:
    """Write the contact sheet as JPEG or PNG, by the ending of `url`. Raises ValueError."""
    ending = url[url.rfind(".") :].lower()
    if ending not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"a sheet is written as .jpg or .png, not {url!r}")
    ok, data = cv2.imencode(ending, draw_sheet(samples))
    assert ok, "encoding in memory does not fail"
    storage.write_bytes(url, data.tobytes())


def decode_image(data: bytes) -> Image | None:
    """Decode a JPEG to (height, width, 3) BGR; None when it does not decode."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if image is None else np.asarray(image, np.uint8)


def _draw_sample(sample: RawSample) -> Image:
    meta = sample.meta
    return _draw_label(sample) if "label_id" in meta else _draw_pair(sample, meta)


def _draw_label(sample: RawSample) -> Image:
    label = decode_label(sample.meta)
    images = {}
    for name, data in sample.files.items():
        if name == "json":
            continue
        image = decode_image(data)
        if image is None:
            raise ValueError(f"sample {sample.key}: {name} does not decode")
        images[name] = image
    return _titled(title(label), draw_label(label, images, SHEET_PX))


def _draw_pair(sample: RawSample, meta: dict[str, Any]) -> Image:
    images = []
    try:
        keypoints_px = decode_keypoints(sample.files.get("keypoints.npy", b""))
    except ValueError as error:
        raise ValueError(f"sample {sample.key}: {error}") from None
    for name, points_px in zip(IMAGES, keypoints_px, strict=True):
        image = decode_image(sample.files.get(name, b""))
        if image is None:
            raise ValueError(f"sample {sample.key}: {name} does not decode")
        grown = SHEET_PX / image.shape[0]
        image = cv2.resize(image, (SHEET_PX, SHEET_PX), interpolation=cv2.INTER_AREA)
        for x, y, confidence in points_px.tolist():
            if confidence >= SEEN:
                at = round(x * grown), round(y * grown)
                cv2.circle(image, at, 2, (0, 255, 255), -1, cv2.LINE_AA)
        images.append(image)
    return _titled(_label(meta), np.hstack(images))


def _titled(text: str, drawn: Image) -> Image:
    """A drawing below a line of text."""
    label = np.zeros((LABEL_PX, drawn.shape[1], 3), np.uint8)
    cv2.putText(
        label, text, (4, LABEL_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
        (255, 255, 255), 1, cv2.LINE_AA,
    )  # fmt: skip
    return np.vstack([label, drawn])


def _label(meta: dict[str, Any]) -> str:
    parts = [f"{meta['kind']} {meta['pair_id'][:8]}"]
    terms = {"score": "score", "view_angle_deg": "angle", "time_gap_s": "gap s"}
    for column, name in terms.items():
        if meta.get(column) is not None:
            parts.append(f"{name} {meta[column]:.3g}")
    return "  ".join(parts)
