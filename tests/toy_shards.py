"""Toy shard sets in the real format: a coloured shape on a plain grey, seen twice.

Each identity is a shape with its own colours and pattern. Cross-view: the shape rotated.
Cross-pose: the shape moved. Nothing but the second image tells the colours of what is masked, so a
model that ignores it cannot do well.
"""

import hashlib
import io
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import webdataset as wds

from catalog.foreground import FOREGROUND_GRID
from catalog.ids import content_id
from shards.format import ShardEntry, ShardIndex
from shards.groups import Group, encode_groups
from shards.pairs import encode_pair

KINDS = ("cross_view", "cross_pose")


def write_toy_shards(
    folder: Path,
    shard_sizes: tuple[int, ...] = (16, 16),
    val_size: int = 0,
    crop_px: int = 64,
    seed: int = 0,
    dataset: str = "toy",
    kinds: tuple[str, ...] = KINDS,
    parts: tuple[str, ...] = ("body",),
) -> str:
    """Write tars of the given numbers of training pairs, and one of held-out pairs; return the
    set's URL.

    Kinds take turns from pair to pair, and parts after each turn of the kinds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries, number = [], 0
    groups = [
        Group(dataset=dataset, kind=kinds[i % len(kinds)], part=parts[i // len(kinds)])
        for i in range(len(kinds) * len(parts))
    ]
    splits = [("train", size) for size in shard_sizes] + [("val", val_size)] * bool(val_size)
    for split, size in splits:
        name = f"{split}-{len([e for e in entries if e.split == split]):06d}.tar"
        buffer = io.BytesIO()
        numbers = [i % len(groups) for i in range(number, number + size)]
        with wds.TarWriter(buffer, encoder=False, mtime=0) as tar:
            for of_group in numbers:
                tar.write(_make_sample(number, groups[of_group], split, crop_px, seed))
                number += 1
        data = buffer.getvalue()
        (folder / name).write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append(
            ShardEntry(
                name=name,
                split=split,
                samples=size,
                bytes=len(data),
                sha256=sha256,
                groups=encode_groups(numbers),
            )
        )
    counts = Counter(groups[i % len(groups)].kind for i in range(number))
    index = ShardIndex(
        name="toy",
        query="true",
        seed=seed,
        num_samples=number,
        samples_by_kind=dict(sorted(counts.items())),
        crop_px=crop_px,
        groups=tuple(groups),
        shards=tuple(entries),
    )
    (folder / "index.json").write_text(index.to_json())
    return str(folder)


def _make_sample(
    number: int, group: Group, split: str, crop_px: int, seed: int
) -> dict[str, object]:
    pair_id = content_id(group.dataset, seed, number)
    rng = np.random.default_rng([seed, number])
    colours = rng.integers(0, 256, (4, 3))
    turn_deg = (0.0, rng.uniform(-40, 40) if group.kind == "cross_view" else 0.0)
    shift = (np.zeros(2), np.zeros(2) if group.kind == "cross_view" else rng.uniform(-0.1, 0.1, 2))
    images, foregrounds = zip(
        *(_draw(colours, crop_px, turn_deg[i], shift[i]) for i in range(2)), strict=True
    )
    gap_s = 0.0 if group.kind == "cross_view" else 0.5 * (-1) ** (number // 2)  # b after a, before
    times_s = (1.0, 1.0 + gap_s)
    pair = {
        "pair_id": pair_id,
        "kind": group.kind,
        "part": group.part,
        "split": split,
        "dataset": group.dataset,
        "capture_id": f"capture-{number}",
        "identity_id": f"identity-{number}",
        "score": 1.0,
    }
    crops = [
        {
            "crop_id": f"{pair_id}-{side}",
            "view_id": f"view-{i}",
            "frame_index": 0,
            "time_s": times_s[i],
            "box_px": [0.0, 0.0, crop_px, crop_px],
            "size_px": crop_px,
            "foreground": foregrounds[i],
            "keypoints_px": _keypoints(group.part, crop_px, turn_deg[i], shift[i]),
        }
        for i, side in enumerate("ab")
    ]
    images = {f"{side}.jpg": image for side, image in zip("ab", images, strict=True)}
    return {"__key__": pair_id, **images, **encode_pair(pair, *crops)}


def _keypoints(part: str, crop_px: int, turn_deg: float, shift: np.ndarray) -> list[float]:
    """Points that turn and move with the disc: its centre, and two rings of eight; a hand has four
    more that nobody sees.
    """
    angles = np.arange(8) * np.pi / 4 - np.radians(turn_deg)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.concatenate([[[0, 0]], 0.12 * around, 0.24 * around]) + shift + 0.5
    seen = np.column_stack([places * crop_px, np.ones(17)])
    rows = seen if part == "body" else np.concatenate([seen, np.zeros((4, 3))])
    return np.round(rows, 2).ravel().tolist()


def _draw(
    colours: np.ndarray, crop_px: int, turn_deg: float, shift: np.ndarray
) -> tuple[bytes, bytes]:
    """A disc of four coloured sectors; returns its JPEG and its foreground cells."""
    rows, columns = np.mgrid[0:crop_px, 0:crop_px] / crop_px - 0.5
    x, y = columns - shift[0], rows - shift[1]
    sector = (np.floor((np.arctan2(y, x) + np.radians(turn_deg)) / (np.pi / 2)) % 4).astype(int)
    inside = x**2 + y**2 < 0.3**2
    image = np.where(inside[:, :, None], colours[sector], 128).astype(np.uint8)
    ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert ok
    size = (FOREGROUND_GRID, FOREGROUND_GRID)
    cells = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return jpeg.tobytes(), np.rint(cells * 255).astype(np.uint8).tobytes()
