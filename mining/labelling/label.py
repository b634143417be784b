"""Stage label: from a unit of a labelled source to samples: square crops, and everything that is
known mapped into them.

Gives rows of `labels` and a tar of their images. An image that several samples share is stored
once.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.ids import content_id
from catalog.parts import Row, crops_file
from mining.config import SplitConfig
from mining.labelling.config import LabelConfig
from mining.labelling.cutting import Stored, find_box, reject_image, store
from mining.labelling.source import (
    Found,
    LabelledSample,
    LabelledSource,
    LabelledUnit,
    LeftOut,
)
from mining.probe import split_by_hash
from mining.segment import CropTar
from mining.sources.base import SourceProblem
from mining.stage import Outcome, Tally, WorkUnit
from shards.labels import KINDS, SIDES, Label, encode_label

VERSION = 1  # raise it when the rows or bytes of this stage change for the same input


@dataclass(frozen=True, kw_only=True)
class LabelPiece:
    """A unit of a labelled dataset, and the adapter that reads it."""

    adapter: str
    unit: LabelledUnit


def label_unit(
    work: WorkUnit, source: LabelledSource, config: LabelConfig, split: SplitConfig
) -> Outcome:
    """Make the samples of a LabelPiece (`payload`). What is wrong with one sample costs only that
    sample; what the source raises costs the unit.
    """
    piece: LabelPiece = work.payload
    outcome = Outcome(seconds={"read": 0.0, "cut": 0.0})
    tally = Tally(outcome, work, "label", "samples")
    tar = _ImageTar(crops_file(work.name))
    for found in _timed(source.labelled(piece.unit), outcome):
        tally.take(1)
        started = time.perf_counter()
        if isinstance(found, SourceProblem):
            tally.fail(found.unit, found.error)
            continue
        label_id = content_id("label", work.dataset, piece.unit.name, found.name)
        if isinstance(found, LeftOut):
            tally.reject(label_id, found.reason, found.detail)
            continue
        try:
            row = _make_row(found, label_id, work, config, split, tar)
        except (ValueError, OSError) as error:
            tally.fail(label_id, f"{found.images[0].source}: {' '.join(str(error).split())}")
        else:
            if isinstance(row, tuple):
                tally.reject(label_id, *row)
            else:
                tally.keep()
                outcome.rows["labels"].append(row)
        outcome.seconds["cut"] += time.perf_counter() - started
    tally.close()
    outcome.crops_tar = tar.close() if outcome.rows["labels"] else None
    return outcome


class _ImageTar:
    """The unit's tar; the same bytes are stored once."""

    def __init__(self, file: str) -> None:
        self.file, self._tar = file, CropTar()
        self._offsets: dict[str, int] = {}

    def add(self, data: bytes, ending: str) -> tuple[int, int]:
        """Store a file; gives its offset and length."""
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._offsets:
            self._offsets[digest] = self._tar.add(f"{digest[:16]}.{ending}", data)
        return self._offsets[digest], len(data)

    def close(self) -> bytes:
        """The finished tar."""
        return self._tar.close()


def _timed(found: Iterator[Found], outcome: Outcome) -> Iterator[Found]:
    """Count the time that the source takes."""
    while True:
        started = time.perf_counter()
        one = next(found, None)
        outcome.seconds["read"] += time.perf_counter() - started
        if one is None:
            return
        yield one


def _make_row(
    sample: LabelledSample,
    label_id: str,
    work: WorkUnit,
    config: LabelConfig,
    split: SplitConfig,
    tar: _ImageTar,
) -> Row | tuple[str, str]:
    """The row of a sample, whose images are then in the tar; or why it is rejected."""
    kind = KINDS[len(sample.images)]
    piece: LabelPiece = work.payload
    stored: list[Stored] = []
    for image in sample.images:
        box_px = find_box(image, sample.part, config)
        if problem := reject_image(image, sample, box_px, config):
            return problem
        pixels = image.image() if callable(image.image) else image.image
        cut = store(replace(image, image=pixels), box_px, config)
        if isinstance(cut, tuple):
            return cut
        stored.append(cut)
    label = Label(
        label_id=label_id,
        dataset=work.dataset,
        kind=kind,
        part=sample.part,
        split=sample.split or split_by_hash(
            work.dataset, sample.split_by or sample.subject or piece.unit.name, split
        ),
        images=tuple(one.label for one in stored),
        subject=sample.subject,
        gesture=sample.gesture,
        licence=piece.unit.licence,
    )  # fmt: skip
    row = {
        **{name: getattr(label, name) for name in _COPIED},
        "capture_id": work.name.scope,
        "capture": piece.unit.name,
        "view_angle_deg": sample.view_angle_deg,
        "person_px": min(one.person_px for one in stored),
        "num_keypoints": min(int((i.keypoints_px[:, 2] > 0).sum()) for i in label.images),
        "has_joints": all(image.joints_cam_m is not None for image in label.images),
        "has_camera": all(image.pixels_from_cam is not None for image in label.images),
        "body_model": _common([i.body.model if i.body else None for i in label.images]),
        "dense": _common([one.dense for one in stored]),
        "dense_chart": _common([image.dense_chart for image in label.images]),
        "size_px": config.size_px,
        "label": encode_label(label).decode(),
        "file": tar.file,
    }
    for side, image, one in zip(SIDES[kind], sample.images, stored, strict=True):
        row |= {f"source_{side}": image.source, f"frame_{side}": image.frame}
        row[f"offset_{side}"], row[f"length_{side}"] = tar.add(one.jpeg, "jpg")
        if one.iuv_png is not None:
            place = tar.add(one.iuv_png, "png")
            row[f"iuv_offset_{side}"], row[f"iuv_length_{side}"] = place
    return row


_COPIED = ("label_id", "dataset", "kind", "part", "split", "subject", "gesture", "licence")


def _common(values: list[str | None]) -> str | None:
    """What all images have; None where one lacks it."""
    return values[0] if len(set(values)) == 1 else None
