"""Toy labelled sets in the real format: a dark dot on noise, which all keypoints lie around.

Nobody can know the keypoints without finding the dot, and a camera that the pixels agree with gives
them a place in space. The second view of a `two_view` sample shows the dot mirrored.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import webdataset as wds

from shards.format import ShardEntry, ShardIndex
from shards.groups import Group, encode_groups
from shards.labels import ImageLabel, Label, encode_label

FOCAL_PX = 200.0


def write_toy_labels(
    folder: Path,
    shard_sizes: Sequence[int] = (24, 24),
    val_size: int = 8,
    crop_px: int = 48,
    parts: Sequence[str] = ("body",),
    kind: str = "single",
) -> str:
    """Write tars of the given numbers of training samples, and one of held-out ones; return the
    set's URL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = [Group(dataset="toy", kind=kind, part=part) for part in parts]
    entries, number = [], 0
    for split, size in [*(("train", size) for size in shard_sizes), ("val", val_size)]:
        buffer = io.BytesIO()
        numbers = [i % len(groups) for i in range(number, number + size)]
        with wds.TarWriter(buffer, encoder=False, mtime=0) as tar:
            for of_group in numbers:
                tar.write(_make_sample(number, split, crop_px, groups[of_group]))
                number += 1
        name = f"{split}-{len(entries):06d}.tar"
        (folder / name).write_bytes(buffer.getvalue())
        entries.append(
            ShardEntry(
                name=name, split=split, samples=size, bytes=len(buffer.getvalue()),
                sha256=hashlib.sha256(buffer.getvalue()).hexdigest(), groups=encode_groups(numbers),
            )
        )  # fmt: skip
    index = ShardIndex(
        name="toy", query="true", seed=0, num_samples=number,
        samples_by_kind=dict(Counter({kind: number})), crop_px=crop_px, groups=tuple(groups),
        shards=tuple(entries), contents="labels",
    )  # fmt: skip
    (folder / "index.json").write_text(index.to_json())
    return str(folder)


def _make_sample(number: int, split: str, crop_px: int, group: Group) -> dict[str, object]:
    rng = np.random.default_rng([7, number])
    centre = rng.uniform(0.3, 0.7, 2) * crop_px
    count = 17 if group.part == "body" else 21
    ring = np.arange(count) * 2 * np.pi / count
    places = centre + 0.1 * crop_px * np.stack([np.cos(ring), np.sin(ring)], axis=1)
    views = [places, places * [-1, 1] + [crop_px, 0]][: 2 if group.kind == "two_view" else 1]
    label = Label(
        label_id=f"{number:016x}", dataset="toy", kind=group.kind, part=group.part, split=split,
        images=tuple(_label(view, crop_px) for view in views), subject=f"person {number // 2}",
        gesture=("left", "right")[int(centre[0] > crop_px / 2)],
    )  # fmt: skip
    jpegs = {
        f"{side}.jpg": _draw(view.mean(axis=0), crop_px, rng)
        for side, view in zip("ab", views, strict=False)
    }
    return {"__key__": label.label_id, **jpegs, "json": encode_label(label)}


def _label(places_px: np.ndarray, crop_px: int) -> ImageLabel:
    depth_m = np.full(len(places_px), 3.0)
    pixels_from_cam = np.array(
        [[FOCAL_PX, 0, crop_px / 2], [0, FOCAL_PX, crop_px / 2], [0, 0, 1.0]]
    )
    rays = np.column_stack([places_px, np.ones(len(places_px))]) @ np.linalg.inv(pixels_from_cam).T
    return ImageLabel(
        source="toy",
        box_px=np.array([0.0, 0, crop_px, crop_px]),
        person_box_px=np.array([*places_px.min(axis=0), *places_px.max(axis=0)]),
        keypoints_px=np.column_stack([places_px, np.ones(len(places_px))]),
        joints_cam_m=np.column_stack([rays * depth_m[:, None], np.ones(len(places_px))]),
        pixels_from_cam=pixels_from_cam,
    )


def _draw(centre_px: np.ndarray, crop_px: int, rng: np.random.Generator) -> bytes:
    image = rng.integers(120, 255, (crop_px, crop_px, 3)).astype(np.uint8)
    at = tuple(int(value) for value in centre_px)
    cv2.circle(image, at, round(0.12 * crop_px), (0, 0, 0), -1)
    ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    return jpeg.tobytes()
