"""Stream batches of labelled images: read, decode, place by chance, and make a task's targets.

Which samples a batch has, `slots.py` says; what chance does to one follows from (seed, epoch,
slot). So any process can make any batch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from shards.labels import KINDS, SIDES, decode_label
from training.loading.augment import NUM_LOOK
from training.loading.chance import draw_slots
from training.loading.label_augment import NUM_DRAWS, LabelAugmentConfig, look, place
from training.loading.label_batch import META, LabelBatch
from training.loading.order import Subset
from training.loading.placed import Bytes, Floats, Placed
from training.loading.reader import Files, decode_jpeg
from training.loading.slots import Damage, Maker, Reading, SlotReader
from training.loading.stream import StreamConfig, StreamLoader
from training.tasks.task import Task

REQUIRED = ("a.jpg", "json")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class LabelLoaderConfig(StreamConfig):
    """How labelled samples are read."""

    label_share: float = 1.0  # of the samples, that training may use: smaller ones lie in larger
    label_seed: int = 0  # of the choice of them

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.label_share <= 1:
            raise ValueError(f"loader.label_share must lie in (0, 1], got {self.label_share}")


@dataclass(frozen=True, kw_only=True)
class LabelView:
    """How labelled samples become arrays; held-out ones owe nothing to chance."""

    image_px: int
    augment: LabelAugmentConfig
    seed: int
    held_out: bool = False


class LabelMaker(Maker[LabelBatch]):
    """Makes batches of labelled samples for a task."""

    def __init__(
        self,
        urls: Sequence[str],
        task: Task,
        view: LabelView,
        reading: Reading,
        files: LabelLoaderConfig,
    ) -> None:
        """Read the sets' indexes. Raises as SlotReader."""
        super().__init__(SlotReader(urls, reading, files, REQUIRED))
        self._task, self._view = task, view

    def places(self) -> set[str]:
        """Where the samples lie that are read at all, as `LabelBatch.places` has them."""
        return self._slots.names()

    def _make(self, epoch: int, number: int, turn: int, damaged: Damage) -> LabelBatch | None:
        first, slots = self._slots.find(epoch, number)
        chance = None
        if not self._view.held_out:
            columns = NUM_DRAWS * self._task.num_images
            chance = draw_slots(self._view.seed, epoch, first, len(slots), columns)
        rows: list[Arrays] = []
        metas, places = [], []
        for i, slot in enumerate(slots):
            name = self._slots.name(slot)
            try:
                _, files = self._slots.read(slot)
                arrays, meta = self._row(files, None if chance is None else chance[i])
            except (ValueError, OSError) as error:
                damaged[tuple(slot)] = f"{name}: {error}"
                continue
            rows.append(arrays)
            metas.append(meta)
            places.append(name)
        if not rows:
            if self._view.held_out:
                return _empty(self._task.num_images, self._view.image_px, damaged)
            return None
        wanted = len(rows) if self._view.held_out else self._reading.batch_size
        chosen = [row % len(rows) for row in range(wanted)]
        stacked = {
            name: torch.from_numpy(np.stack([rows[row][name] for row in chosen]))
            for name in rows[0]
        }
        return LabelBatch(
            images=stacked.pop("images"),
            looks=stacked.pop("looks"),
            targets=stacked,
            metas=[metas[row] for row in chosen],
            places=[places[row] for row in chosen],
            damaged=damaged,
        )

    def _row(self, files: Files, chance: Floats | None) -> tuple[Arrays, dict[str, object]]:
        """A sample's images, looks and targets, and what is known of it."""
        label = decode_label(json.loads(str(files["json"], "utf-8")))
        task, sides = self._task, SIDES[label.kind][: self._task.num_images]
        if len(sides) < task.num_images:
            raise ValueError(f"{task.name} needs two views of an instant, and this is one")
        images, placed, looks = [], [], []
        for at, side in enumerate(sides):
            drawn = None if chance is None else chance[at * NUM_DRAWS : (at + 1) * NUM_DRAWS]
            pixels = decode_jpeg(files[f"{side}.jpg"])
            coded = files.get(f"{side}.iuv.png") if task.reads_maps else None
            mirrored = task.mirror_left and label.part == "left_hand"
            view = Placed(
                label=label.images[at],
                placement=place(self._view.augment, drawn, mirrored),
                stored_px=len(pixels),
                image_px=self._view.image_px,
                iuv=_decode_map(coded, len(pixels)),
            )
            images.append(view.warp(pixels))
            looks.append(np.array(look(self._view.augment, drawn), np.float32))
            placed.append(view)
        arrays: Arrays = {name: np.asarray(value) for name, value in
                          task.target(label, placed).items()}  # fmt: skip
        meta = {name: getattr(label, name) for name in META}
        return {**arrays, "images": np.stack(images), "looks": np.stack(looks)}, meta


def _empty(num_images: int, px: int, damaged: Damage) -> LabelBatch:
    images = torch.empty((0, num_images, px, px, 3), dtype=torch.uint8)
    looks = torch.empty((0, num_images, NUM_LOOK))
    return LabelBatch(images=images, looks=looks, targets={}, metas=[], places=[], damaged=damaged)


class LabelLoader(StreamLoader[LabelBatch, LabelBatch]):
    """Batches of labelled samples for a task."""

    def __init__(
        self,
        urls: Sequence[str],
        task: Task,
        config: LabelLoaderConfig,
        view: LabelView,
        split: str = "train",
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ) -> None:
        """Read the sets' indexes. Raises ValueError for no set, a damaged one, shares that cannot
        be had, or no sample of the split.
        """
        self._pin_memory = pin_memory
        share = 1.0 if view.held_out else config.label_share
        kind = KINDS[task.num_images]
        reading = Reading(
            contents="labels",
            split=split,
            held_out=view.held_out,
            repeat=not view.held_out,
            seed=view.seed,
            batch_size=config.batch_size,
            rank=rank,
            world_size=world_size,
            window_shards=config.window_shards,
            shares=config.shares,
            subset=Subset(share=share, parts=task.parts, kinds=(kind,), seed=config.label_seed),
        )
        maker = LabelMaker(urls, task, view, reading, config)
        self._places = maker.places
        super().__init__(urls, maker, config)
        self.refuse_too_few(f"{split} samples of {kind} {', '.join(task.parts)}", world_size)

    def usable_places(self) -> set[str]:
        """Where the samples lie that are read at all, as `LabelBatch.places` has them."""
        return self._places()

    def _finish(self, made: LabelBatch) -> tuple[LabelBatch, Damage]:
        return made.pin_memory() if self._pin_memory else made, made.damaged


def _decode_map(data: memoryview | None, size_px: int) -> Bytes | None:
    """Decode a part, u, v map. Raises ValueError when it is damaged or of another size."""
    if data is None:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None or image.shape[:2] != (size_px, size_px):
        raise ValueError(f"its iuv.png is no whole map of {size_px} x {size_px} px")
    return np.ascontiguousarray(image[:, :, ::-1])
