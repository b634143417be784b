"""`predict`: use a fine-tuned model on images and videos.

People are found by mining's detectors. This file is where the two packages meet, and the only one
of `training` that imports `mining`: inside a function, so that all else, and this with `--boxes`,
runs without it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from catalog import storage
from catalog.commands import UsageError, add_command
from training.commands.arguments import Commands, add_checkpoint
from training.loading.placed import Bytes, Floats

if TYPE_CHECKING:
    from training.prediction.inputs import Finder

NONE = "none"
DEMO = "demo"


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "predict",
        run_predict,
        "find people in images and videos; write meshes (or what a model says) and overlays",
        "python -m training predict photo.jpg walk.mp4 --checkpoint data/finetuning/body_mesh-tiny",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IMAGE_OR_VIDEO", help="files, or `demo`: the demo's footage"
    )
    add_checkpoint(parser)
    parser.add_argument(
        "--out", default="predictions", metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--boxes",
        metavar="FILE|none",
        help="no detector: boxes from a JSON file, or `none`: each image is one person's crop",
    )
    parser.add_argument("--max-people", type=int, metavar="N", help="the surest of each image")
    parser.add_argument(
        "--focal-px", type=float, help="focal length of the images (default: their diagonal)"
    )
    parser.add_argument("--second", metavar="IMAGE", help="of a task of two views: the other view")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--every", type=int, metavar="N", help="every so many frames of a video")
    rate.add_argument("--fps", type=float, help="about so many frames a second of a video")
    parser.add_argument(
        "--no-meshes", action="store_true", help="write pictures and JSON, but no mesh files"
    )


def run_predict(options: argparse.Namespace) -> int:
    """Predict on each input, and say where the overlays are."""
    from training.prediction.inputs import boxes_of_file, whole_image
    from training.prediction.predictor import Predictor
    from training.prediction.run import PredictConfig, Prediction
    from training.tasks.task import default_part

    config = PredictConfig(
        out=storage.absolute(options.out),
        max_people=options.max_people,
        focal_px=options.focal_px,
        every=options.every,
        fps=options.fps,
        meshes=not options.no_meshes,
    )
    inputs = _inputs(options.inputs)
    if len(inputs) > 1 and (options.second or options.boxes not in (None, NONE)):
        raise UsageError(
            f"--boxes FILE and --second go with one input, not {len(inputs)}: run it for each"
        )
    margin = 1.0 if options.boxes == NONE else None  # a crop has its margin already
    predictor = Predictor(options.checkpoint, options.average, margin=margin)
    parts = predictor.task.parts
    if options.boxes == NONE:
        find = whole_image(default_part(parts))
    elif options.boxes:
        find = boxes_of_file(options.boxes, parts)
    else:
        find = _detector(parts)

    def done(url: str) -> None:
        print(f"wrote {url}")

    def failed(sentence: str) -> None:
        sys.stderr.write(f"python -m training: {sentence}\n")

    well = Prediction(predictor, find, config).on_all(inputs, options.second, done, failed)
    return 0 if well else 1


def _inputs(names: Sequence[str]) -> list[str]:
    """The files that are meant; of the demo one view of the capture, and the outdoor video."""
    files = []
    for name in names:
        if name == DEMO:
            try:
                from mining.sources.demo import demo_footage
            except ImportError as error:
                raise _lacking(error) from None
            folder = demo_footage()
            files += [str(folder / "walk" / "cam03.mp4"), str(folder / "outdoors.mp4")]
        else:
            files.append(name)
    return files


def _detector(parts: Sequence[str]) -> "Finder":
    """Finds bodies, or hands: at the wrists of bodies, and anywhere where no body's is found. Of
    these, those of the task's parts.
    """
    from training.prediction.inputs import Found

    try:
        from mining.cropping.crop import CropConfig
        from mining.detecting.config import DetectConfig
        from mining.detecting.hands import make_hand_finder
        from mining.detecting.people import make_detector
        from mining.detecting.weights import resolve_weights
        from mining.sources.base import Detection
    except ImportError as error:
        raise _lacking(error) from None
    hands = "body" not in parts
    config = resolve_weights(DetectConfig(parts=("body", "hands") if hands else ("body",)))
    people = make_detector(config)
    hand_finder = make_hand_finder(config) if hands else None
    min_confidence = CropConfig().min_confidence

    def detect(image: Bytes) -> list[Detection]:
        bodies = people.detect(image)
        if hand_finder is None:
            return bodies
        found, _ = hand_finder.at_wrists(image, bodies)
        return found or hand_finder.everywhere(image)

    def find(image: Bytes, frame: int) -> list[Found]:
        try:
            detections = detect(image)
        except ImportError as error:
            raise _lacking(error) from None
        return [
            Found(
                box_px=_around(one.box_px, one.keypoints_px, min_confidence),
                part=one.part,
                score=one.score,
            )
            for one in sorted(detections, key=lambda one: -one.score)
            if one.part in parts
        ]

    return find


def _lacking(error: ImportError) -> UsageError:
    return UsageError(
        f"finding people takes what mining needs, and {error.name} is not installed: "
        "install the project with it (pip install '.[mining]' in its checkout), or give --boxes"
    )


def _around(box_px: Floats, keypoints_px: Floats, min_confidence: float) -> Floats:
    """The box that holds a detection's box and its confident keypoints, as mined crops do."""
    seen = keypoints_px[keypoints_px[:, 2] >= min_confidence, :2]
    corners = np.concatenate([np.asarray(box_px, np.float64).reshape(2, 2), seen])
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
