"""What a labelled sample is: one image of a person or hand, or two views of the same instant, and
what is known of it.

A labelled shard set has tars of `<label_id>.a.jpg`, for two views `<label_id>.b.jpg`, the
description `<label_id>.json` and, where every pixel is labelled, `<label_id>.a.iuv.png` (and
`.b.`). Images are square and of one size, as those of pairs are. A label that an image does not
have is null: what can be trained on a set follows from what it has.

    label_id, dataset, kind (`single` or `two_view`), part (`body`, `left_hand`, `right_hand`),
    subject (null: unknown), split, licence, gesture (class name or null), a, b (null for `single`)

and of each image, where `px` are pixels of the stored image with (0, 0) at the outer corner of its
first pixel, and the camera's frame is x right, y down, z ahead, in metres:

    source              file, or generator, and frame that the image was cut from
    box_px              x0, y0, x1, y1 of the square in the source's pixels; may reach past it
    person_box_px       x0, y0, x1, y1 of the person or hand in the stored image
    keypoints_px        K x (x, y, confidence): COCO's 17, or 21 of a hand; confidence 0: not there
    joints_cam_m        K x (x, y, z, confidence) of the same keypoints; null: unknown
    pixels_from_cam     3x3: projects camera coordinates to the stored image; null: unknown
    body                the surface by reference: a body model, its pose, shape and place; see Body
    dense_points        P x (x_px, y_px, part, u, v): parts from 1, u and v from 0 to 1; null: none
    dense_chart         whose parts, u and v these and those of `iuv.png` are: `densepose` (24)
                        or `anny` (14, u and v in its texture); null where neither is there

`iuv.png` is RGB: the part (0: no person), and u and v from 0 to 255. No vertices are stored: the
body model gives them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from catalog.keypoints import NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS

LabelKind = Literal["single", "two_view"]
SIDES: dict[str, tuple[str, ...]] = {"single": ("a",), "two_view": ("a", "b")}
KINDS: dict[int, LabelKind] = {1: "single", 2: "two_view"}  # by the number of images
NUM_KEYPOINTS = {
    "body": NUM_BODY_KEYPOINTS,
    "left_hand": NUM_HAND_KEYPOINTS,
    "right_hand": NUM_HAND_KEYPOINTS,
}
DENSE_PARTS = {"densepose": 24, "anny": 14}  # parts of each chart, numbered from 1

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A posed surface by reference: vertices in the camera's frame are
    `model(rotations, shape) + translation_m`.

    `pose_rad` (J, 3) is each joint's rotation as axis times angle, in the model's order of joints;
    the first turns the whole body into the camera's axes. A left hand's body describes its mirror
    image, which is a right hand: mirror the image to use it.
    """

    model: str  # `anny`, `anny_hand`, `smpl`, `smplx` or `mano`
    pose_rad: Array
    shape: Array  # (S,)
    translation_m: Array  # (3,)
    gender: str = "neutral"


@dataclass(frozen=True, kw_only=True)
class ImageLabel:
    """What is known of one image; fields as the module's description says."""

    source: str
    box_px: Array
    person_box_px: Array
    keypoints_px: Array
    joints_cam_m: Array | None = None
    pixels_from_cam: Array | None = None
    body: Body | None = None
    dense_points: Array | None = None
    dense_chart: str | None = None


@dataclass(frozen=True, kw_only=True)
class Label:
    """One labelled sample."""

    label_id: str
    dataset: str
    kind: LabelKind
    part: str
    split: str
    images: tuple[ImageLabel, ...]  # one, or two views
    subject: str | None = None
    gesture: str | None = None
    licence: str | None = None


def encode_label(label: Label) -> bytes:
    """The bytes of a sample's JSON; the same label gives the same bytes.

    Numbers are rounded to 0.01 px, and everything else to 1e-6. Raises ValueError for values that
    are not finite, and for arrays of other shapes than the module's description says.
    """
    images = dict(zip(SIDES[label.kind], map(_encode_image, label.images), strict=True))
    values = {
        **{name: value for name, value in label.__dict__.items() if name != "images"},
        "a": images["a"],
        "b": images.get("b"),
    }
    decode_label(values)
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decode_label(values: Mapping[str, Any]) -> Label:
    """Read a sample's parsed JSON. Raises ValueError, naming what is wrong with it."""
    try:
        kind, part = values["kind"], values["part"]
        if kind not in SIDES:
            raise ValueError(f"unknown kind {kind!r}")
        if part not in NUM_KEYPOINTS:
            raise ValueError(f"unknown part {part!r}")
        return Label(
            images=tuple(_decode_image(values[side], part) for side in SIDES[kind]),
            label_id=values["label_id"],
            dataset=values["dataset"],
            kind=kind,
            part=part,
            split=values["split"],
            subject=values.get("subject"),
            gesture=values.get("gesture"),
            licence=values.get("licence"),
        )
    except KeyError as error:
        raise ValueError(f"the label's JSON has no {error}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the label's JSON is damaged: {error}") from None


def _encode_image(image: ImageLabel) -> dict[str, Any]:
    body = image.body and {
        "model": image.body.model,
        "gender": image.body.gender,
        **{name: _round(getattr(image.body, name), 6) for name in ("pose_rad", "shape")},
        "translation_m": _round(image.body.translation_m, 6),
    }
    pixels = ("box_px", "person_box_px", "keypoints_px")
    return {
        "source": image.source,
        **{name: _round(getattr(image, name), 2) for name in pixels},
        "joints_cam_m": _round(image.joints_cam_m, 6),
        "pixels_from_cam": _round(image.pixels_from_cam, 6),
        "body": body,
        "dense_points": _round(image.dense_points, 6),
        "dense_chart": image.dense_chart,
    }


def _round(values: Array | None, digits: int) -> Any:
    return None if values is None else np.asarray(values, np.float64).round(digits).tolist()


def _decode_image(values: Mapping[str, Any], part: str) -> ImageLabel:
    num = NUM_KEYPOINTS[part]
    chart = values.get("dense_chart")
    if chart is not None and chart not in DENSE_PARTS:
        raise ValueError(f"unknown dense_chart {chart!r}; there are: {', '.join(DENSE_PARTS)}")
    return ImageLabel(
        source=values["source"],
        box_px=_array(values, "box_px", (4,)),
        person_box_px=_array(values, "person_box_px", (4,)),
        keypoints_px=_array(values, "keypoints_px", (num, 3)),
        joints_cam_m=_optional(values, "joints_cam_m", (num, 4)),
        pixels_from_cam=_optional(values, "pixels_from_cam", (3, 3)),
        body=None if values.get("body") is None else _decode_body(values["body"]),
        dense_points=_optional(values, "dense_points", (-1, 5)),
        dense_chart=chart,
    )


def _decode_body(values: Mapping[str, Any]) -> Body:
    return Body(
        model=values["model"],
        pose_rad=_array(values, "pose_rad", (-1, 3)),
        shape=_array(values, "shape", (-1,)),
        translation_m=_array(values, "translation_m", (3,)),
        gender=values.get("gender", "neutral"),
    )


def _optional(values: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Array | None:
    return None if values.get(name) is None else _array(values, name, shape)


def _array(values: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    """An array of the named numbers; -1 in `shape` stands for any length."""
    array = np.array(values[name], np.float64)
    fits = array.ndim == len(shape) and all(
        wanted in (-1, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.isfinite(array).all():
        wanted = " x ".join("n" if size < 0 else str(size) for size in shape)
        found = " x ".join(map(str, array.shape))
        raise ValueError(f"{name} is not {wanted} finite numbers: it is {found}")
    return array
