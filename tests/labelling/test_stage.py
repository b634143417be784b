"""What the adapters give becomes samples whose labels fall on the cut-out images."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catalog.parts import PartName
from mining.config import SplitConfig
from mining.labelling.config import LabelConfig
from mining.labelling.label import LabelPiece, label_unit
from mining.labelling.source import make_labelled_source
from mining.stage import WorkUnit
from shards.labels import decode_label
from tests.datasets.test_interhand import write_interhand
from tests.datasets.test_threedpw import write_3dpw
from tests.labelling.checks import list_labelled
from tests.labelling.test_densepose import write_densepose
from tests.labelling.test_freihand import write_freihand
from tests.labelling.test_hagrid import write_hagrid
from tests.labelling.test_human_tars import a_hand, person, write_tar

CONFIG = LabelConfig(min_person_px=1, min_hand_px=1, min_inside=0.1)


def write_tars(root: Path) -> Path:
    write_tar(root / "set/000000.tar", {"body": [person()], "hands": [a_hand("left")]})
    return root


WRITERS: dict[str, Callable[[Path], Path]] = {
    "3dpw-labelled": write_3dpw, "interhand-labelled": write_interhand, "freihand": write_freihand,
    "coco-densepose": write_densepose, "hagrid": write_hagrid, "human-tars": write_tars,
}  # fmt: skip


@pytest.mark.parametrize("adapter", WRITERS)
def test_samples_are_cut_and_their_labels_with_them(adapter: str, tmp_path: Path) -> None:
    source = make_labelled_source(adapter)
    listing = list_labelled(adapter, WRITERS[adapter](tmp_path))
    assert not listing.problems and not listing.excluded
    for number, unit in enumerate(listing.units):
        work = WorkUnit(
            stage="label", name=PartName("scope", "label", str(number)), dataset="toy",
            payload=LabelPiece(adapter=adapter, unit=unit), counted_stage="label",
            counted="samples", expected=unit.num_samples,
        )  # fmt: skip
        rows = label_unit(work, source, CONFIG, SplitConfig()).rows
        assert rows["labels"] and not rows["failures"]
        for row in rows["labels"]:
            label = decode_label(json.loads(row["label"]))
            assert label.licence == source.licence and label.split in ("train", "val")
            for image in label.images:
                x0, y0, x1, y1 = image.person_box_px
                assert 0 <= x0 < x1 <= CONFIG.size_px and 0 <= y0 < y1 <= CONFIG.size_px
                if image.pixels_from_cam is not None:
                    there = image.joints_cam_m[:, 3] > 0
                    shown = image.joints_cam_m[there, :3] @ image.pixels_from_cam.T
                    off = shown[:, :2] / shown[:, 2:] - image.keypoints_px[there, :2]
                    assert np.abs(off).max() < 0.05
