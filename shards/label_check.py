"""What is wrong with a labelled sample, if anything: its files, its description and its maps."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from shards.format import ShardEntry, ShardIndex
from shards.groups import Group
from shards.labels import DENSE_PARTS, SIDES, Label, decode_label
from shards.read import RawSample, decode_image
from shards.sample_check import check_images, check_place


def check_label(
    sample: RawSample, shard: ShardEntry, group: Group | None, index: ShardIndex
) -> Iterator[str]:
    """Check one labelled sample against its shard, its group and the index of its set."""
    try:
        label = decode_label(sample.meta)
    except ValueError as error:
        yield str(error)
        return
    images = {name: decode_image(data) for name, data in sample.files.items() if name != "json"}
    yield from _check_files(label, images)
    yield from check_images(images, index.crop_px)
    yield from check_place(vars(label), "label", sample.key, shard, group)


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
