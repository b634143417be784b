"""InterHand2.6M with labels: MANO's parameters of right and left hands, many calibrated cameras.

The files are those that `mining/sources/datasets/interhand.py` reads, and

    annotations/.../InterHand2.6M_{split}_MANO.json    by capture and frame (text), of `right` and
        `left`: null, or `pose` [48] (axis times angle, the root first, in world axes, the fingers
        against MANO's mean pose), `shape` [10], `trans` [3] in metres

without which, or without MANO's own file (option `bodies`: see mano.py), the hands have joints and
no body. A left hand's parameters are mirrored: its shape is taken to be that of a right hand seen
in a mirror, as the dataset's own code corrects MANO's left hand to be. `views = "two_view"` pairs
the cameras of one instant, those about 60 degrees apart. The layout of the MANO file was read about
in the dataset's own code; no file of it was opened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from catalog import storage
from mining.labelling.body_frames import MIRROR_POINT, mirrored, turned
from mining.labelling.camera_pairs import (
    CameraView,
    Group,
    Shown,
    angle_deg,
    pairs,
    shown_in,
    singles,
)
from mining.labelling.dataset import LabelledDataset, Make, Piece, broken, given_image, image_of
from mining.labelling.mano import NUM_SHAPES, OPTION, Mano, read_mano
from mining.labelling.source import LabelledImage, LabelledSample, LabelledUnit
from mining.sources.base import Part, SourceProblem
from mining.sources.datasets.interhand import (
    KINDS,
    SPLITS,
    InterHand,
    annotation_file,
    annotation_folder,
    read_camera,
    read_index,
)
from mining.sources.datasets.parsing import array, kept, read_json
from shards.labels import Body

VIEWS = ("single", "two_view")


class LabelledInterHand(LabelledDataset):
    """Implements `LabelledSource`: a unit is a sequence of a capture; the subject is known."""

    licence = InterHand.licence
    known_by = InterHand.known_by
    options: ClassVar[Mapping[str, Any]] = {
        "subset": "all",  # the folder of annotations
        "views": "single",  # or two_view
        "every": 1,  # each that many frames
        **OPTION,
    }

    def find(self, root: str, options: Mapping[str, Any]) -> Iterator[Piece]:
        """See LabelledDataset."""
        if options["views"] not in VIEWS:
            raise ValueError(f"views must be {' or '.join(VIEWS)}, got {options['views']!r}")
        bodies = storage.join(root, options["bodies"]) if options["bodies"] else ""
        if bodies:
            read_mano(bodies)
        for split in SPLITS:
            folder = annotation_folder(root, split, options["subset"])
            if folder is None:
                continue
            try:
                kinds = (*KINDS, "MANO") if _read_fits(folder, split) else KINDS
                marks = [storage.fingerprint(annotation_file(folder, split, k)) for k in kinds]
                index = read_index(folder, split)
            except (ValueError, OSError) as error:
                yield SourceProblem(unit=split, error=" ".join(str(error).split()))
                continue
            for (capture, sequence), (_, rows) in index.items():
                num_images = sum(len(images) for images in rows.values())
                yield LabelledUnit(
                    name=f"{split}/Capture{capture}/{sequence}",
                    payload={
                        "root": root, "split": split, "capture": capture, "sequence": sequence,
                        "annotations": folder.removeprefix(f"{root}/"), "fps": 30.0,
                        "views": options["views"], "every": options["every"], "bodies": bodies,
                    },
                    fingerprint=" ".join(marks),
                    num_samples=-(-num_images // options["every"]),
                )  # fmt: skip

    def samples(self, payload: Mapping[str, Any]) -> Iterator[tuple[str, Make]]:
        """See LabelledDataset."""
        split, capture = payload["split"], payload["capture"]
        folder = f"{payload['root']}/{payload['annotations']}"
        subject, rows = read_index(folder, split)[capture, payload["sequence"]]
        mano = read_mano(payload["bodies"]) if payload["bodies"] else None
        fits = {} if mano is None else _read_fits(folder, split).get(capture, {})
        views: list[CameraView] = []
        for name in rows:
            try:
                views.append(_open(payload, folder, name))
            except ValueError as error:
                yield broken(f"cam{name}", error)
        frames = sorted({frame for view in views for frame in view.place_of})
        for frame in frames[:: payload["every"]]:
            shown: list[Shown] = []
            for view in views:
                try:
                    shown += shown_in(view, frame)
                except ValueError as error:
                    yield broken(f"{frame} cam{view.name}", error)
            known: dict[str, Any] = {
                "mano": mano,
                "fits": fits.get(str(frame)) or {},
                "subject": f"subject {subject}",
                "split": None if split == "train" else "val",
            }
            for part in ("right_hand", "left_hand"):
                hands = [one for one in shown if one.hand.part == part]
                for group in pairs(hands) if payload["views"] == "two_view" else singles(hands):
                    name = " ".join([str(frame), *(f"cam{one.view.name}" for one in group), part])
                    yield name, partial(_sample, name, group, **known)


def _open(payload: Mapping[str, Any], folder: str, name: str) -> CameraView:
    annotated = InterHand().open_view(payload["root"], {**payload, "camera": name})
    return CameraView(
        name=name,
        camera=read_camera(folder, payload["split"], payload["capture"], name),
        annotated=annotated,
        place_of={int(index): at for at, index in enumerate(annotated.indices)},
    )


@kept(1)
def _read_fits(folder: str, split: str) -> dict[str, Any]:
    """The MANO file, empty where there is none."""
    path = annotation_file(folder, split, "MANO")
    fits: dict[str, Any] = read_json(path) if storage.exists(path) else {}
    return fits


def _sample(
    name: str,
    group: Group,
    *,
    mano: Mano | None,
    fits: Mapping[str, Any],
    **known: Any,
) -> LabelledSample:
    part: Part = group[0].hand.part
    fit = fits.get(part.removesuffix("_hand"))
    return LabelledSample(
        name=name,
        part=part,
        images=tuple(_image(one, _body(one, fit, mano) if mano and fit else None) for one in group),
        view_angle_deg=angle_deg(*group) if len(group) == 2 else None,
        **known,
    )


def _image(shown: Shown, body: Body | None) -> LabelledImage:
    file = shown.view.annotated.tiles[shown.view.place_of[shown.frame]][0].file
    return given_image(
        shown.hand,
        shown.view.camera,
        source=file,
        image=image_of(file),
        frame=shown.frame,
        body=body,
    )


def _body(shown: Shown, fit: Mapping[str, Any], mano: Mano) -> Body:
    """MANO in the camera's frame, of a right hand."""
    camera, is_left = shown.view.camera, shown.hand.part == "left_hand"
    shape = array(fit["shape"], (NUM_SHAPES,), "shape")
    root = mano.root_at_rest(shape) * (MIRROR_POINT if is_left else 1.0)
    root_world = root + array(fit["trans"], (3,), "trans")
    body = Body(
        model="mano",
        pose_rad=turned(array(fit["pose"], (48,), "pose").reshape(16, 3), camera.cam_from_world),
        shape=shape,
        translation_m=camera.to_camera(root_world[None])[0],
    )
    if is_left:
        body = mirrored(body)  # and the left hand's mean pose is the right one's, mirrored
    return replace(body, pose_rad=mano.whole_pose(body.pose_rad.ravel()))
