"""What is wrong with a labelled sample, if anything: its files, its description and its maps."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from shards.format import ShardEntry
from shards.groups import Group
from shards.labels import DENSE_PARTS, SIDES, Label, decode_label
from shards.read import RawSample, decode_image


def check_label(
    sample: RawSample, shard: ShardEntry, group: Group | None, crop_px: int
) -> Iterator[str]:
    """Check one labelled sample against its shard, its group and the size of the images."""
    try:
        label = decode_label(sample.meta)
    except ValueError as error:
        yield str(error)
        return
    images = {name: decode_image(data) for name, data in sample.files.items() if name != "json"}
    yield from _check_files(label, images)
    for name, image in images.items():
        if image is None:
            yield f"{name} does not decode"
        elif image.shape[:2] != (crop_px, crop_px):
            yield f"{name} has {image.shape[1]} x {image.shape[0]} px, not {crop_px} x {crop_px}"
    if (label.label_id, label.split) != (sample.key, shard.split):
        yield f"its JSON is of label {label.label_id} in {label.split}"
    elif group and (found := {name: getattr(label, name) for name in asdict(group)}) != asdict(
        group
    ):
        of_index = " ".join(map(str, asdict(group).values()))
        yield f"its JSON is of {' '.join(map(str, found.values()))}, the index says {of_index}"


def _check_files(label: Label, images: Mapping[str, npt.NDArray[np.uint8] | None]) -> Iterator[str]:
    wanted = {f"{side}.jpg" for side in SIDES[label.kind]}
    allowed = wanted | {f"{side}.iuv.png" for side in SIDES[label.kind]}
    if not wanted <= set(images) <= allowed:
        yield f"has the images {', '.join(sorted(images))}, not {', '.join(sorted(wanted))}"
    for side, described in zip(SIDES[label.kind], label.images, strict=True):
        iuv_bgr = images.get(f"{side}.iuv.png")
        if iuv_bgr is None:
            continue
        if described.dense_chart is None:
            yield f"{side}.iuv.png has no dense_chart in the JSON"
        elif iuv_bgr[..., 2].max() > DENSE_PARTS[described.dense_chart]:
            yield f"{side}.iuv.png has part {iuv_bgr[..., 2].max()} of {described.dense_chart}"
