"""Labelled images of rendered people: bodies seen whole by several cameras, and close-ups of hands
that make gestures; everything is known exactly.

The default seed is another than that of `DATASET=synthetic`: nobody that a model was pre-trained on
is here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from catalog.anny_surface import BODY_PARTS
from catalog.config import override_from_table, to_dict
from catalog.ids import content_id
from mining.geometry.cameras import angle_between_views_deg
from mining.labelling.body_frames import mirrored
from mining.labelling.close_ups import VIEW_ANGLES_DEG, CloseUps
from mining.labelling.source import (
    Found,
    LabelledImage,
    LabelledListing,
    LabelledSample,
    LabelledUnit,
    LeftOut,
)
from mining.sources.base import DatasetSpec, Detection
from mining.sources.synthetic import RENDER_VERSION
from mining.synthetic.body_labels import Side, body_label, hand_label
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from mining.synthetic.truth import PixelTruth
from shards.labels import Body

VERSION = 1  # raise it when the same options give other labels
ADAPTER = "synthetic-labelled"
# Fewer keypoints than these in plain sight: too little is seen to say how the rest is posed.
FEWEST_SEEN = {"body": 6, "left_hand": 8, "right_hand": 8}


@dataclass(frozen=True, kw_only=True)
class LabelledScenes:
    """How much to render. A body capture has one to three people at four times, seen by three
    cameras; a hand capture has one person at one time, each of whose hands is seen by three.
    """

    num_captures: int = 450  # of bodies
    num_hand_captures: int = 600
    seed: int = 7919
    num_frames: int = 4  # times in each body capture
    num_views: int = 3  # cameras of each body capture, and of each hand
    image_px: int = 512  # of bodies; 3/4 of it where one person is alone
    hand_image_px: int = 320

    def check(self) -> None:
        """Raise ValueError for values that nothing can be rendered from."""
        if min(self.num_captures, self.num_hand_captures) < 0:
            raise ValueError("num_captures and num_hand_captures must be 0 or more")
        if self.num_captures + self.num_hand_captures < 1:
            raise ValueError("there is nothing to label: num_captures and num_hand_captures are 0")

    def bodies(self, index: int) -> SyntheticConfig:
        """What body capture `index` renders."""
        people = 1 + index % 3
        return SyntheticConfig(
            seed=self.seed,
            people_per_capture=people,
            num_views=self.num_views,
            num_frames=self.num_frames,
            image_px=(self.image_px if people > 1 else self.image_px * 3 // 4,),
            min_spread_deg=25.0,
            max_spread_deg=70.0,
        )

    def hands(self) -> SyntheticConfig:
        """What every hand capture renders; a seed of their own gives them other people."""
        return SyntheticConfig(
            seed=self.seed + 1,
            num_views=2 * self.num_views,
            num_frames=1,
            image_px=(self.hand_image_px,),
        )


class SyntheticLabelled:
    """Implements `LabelledSource`; its options are those of LabelledScenes."""

    def units(self, spec: DatasetSpec) -> LabelledListing:
        """List the captures, `bodies-00000` and `hands-00000` and so on; more of them leave the
        first ones as they are.
        """
        scenes = override_from_table(LabelledScenes(), spec.options)
        scenes.check()
        bodies = [_unit("bodies", k, scenes.bodies(k)) for k in range(scenes.num_captures)]
        hands = [_unit("hands", k, scenes.hands()) for k in range(scenes.num_hand_captures)]
        for unit_config in (scenes.bodies(0), scenes.hands()):
            unit_config.check()
        return LabelledListing(units=(*bodies, *hands))

    def labelled(self, unit: LabelledUnit) -> Iterator[Found]:
        """Render a capture. Of each person at each time, and of each hand, every image is a sample,
        and one pair of views that see it well.
        """
        payload = unit.payload
        config = override_from_table(SyntheticConfig(), payload["config"])
        if payload["shows"] == "hands":
            yield from _hands(unit, CloseUps(config, payload["capture"]))
        else:
            yield from _bodies(unit, Scene(config, payload["capture"]))


def _unit(shows: str, index: int, config: SyntheticConfig) -> LabelledUnit:
    payload = {"shows": shows, "capture": index, "config": to_dict(config)}
    people = config.people_per_capture * config.num_frames
    return LabelledUnit(
        name=f"{shows}-{index:05d}",
        payload=payload,
        fingerprint=content_id(ADAPTER, VERSION, RENDER_VERSION, payload),
        num_samples=people * config.num_views + (2 if shows == "hands" else people),
        licence="CC0-1.0",
    )


def _bodies(unit: LabelledUnit, scene: Scene) -> Iterator[Found]:
    for frame in range(scene.config.num_frames):
        seen: dict[int, dict[int, LabelledSample]] = {k: {} for k in range(len(scene.people))}
        for view in range(scene.config.num_views):
            image, detections = scene.render(view, frame)
            truth = scene.truth(view, frame)
            there = {one.identity: one for one in detections if one.part == "body"}
            for person, name in enumerate(scene.people):
                one = _sample(
                    unit, scene, image, truth, there.get(name), person, "body", view, frame
                )
                if isinstance(one, LabelledSample):
                    seen[person][view] = one
                yield one
        for person, samples in seen.items():
            yield from _two_view(scene, samples, person, frame)


def _hands(unit: LabelledUnit, scene: CloseUps) -> Iterator[Found]:
    seen: dict[str, dict[int, LabelledSample]] = {}
    for view, part in enumerate(scene.shown):
        image, detections = scene.render(view, 0)
        truth = scene.truth(view, 0)
        hand = next((one for one in detections if one.part == part), None)
        found = _sample(unit, scene, image, truth, hand, 0, part, view, 0)
        if isinstance(found, LabelledSample):
            found = replace(found, gesture=scene.gesture(part))
            seen.setdefault(part, {})[view] = found
        yield found
    for samples in seen.values():
        yield from _two_view(scene, samples, 0, 0)


def _sample(
    unit: LabelledUnit,
    scene: Scene,
    image: NDArray[np.uint8],
    truth: PixelTruth,
    shown: Detection | None,
    person: int,
    part: str,
    view: int,
    frame: int,
) -> LabelledSample | LeftOut:
    """One image of a person or hand, unless too little of it is seen."""
    name = f"{scene.people[person]}-{part}-cam{view}-{frame}"
    num_seen = 0 if shown is None else int((shown.keypoints_px[:, 2] == 1).sum())
    if shown is None or num_seen < FEWEST_SEEN[part]:
        wanted = f"at least {FEWEST_SEEN[part]} wanted"
        return LeftOut(name=name, reason="hidden", detail=f"{num_seen} keypoints seen, {wanted}")
    camera = scene.cameras[view]
    assert shown.joints_world is not None
    joints = camera.to_camera(shown.joints_world)
    labelled = LabelledImage(
        source=f"{ADAPTER}:{scene.config.seed}/{unit.name}/cam{view}",
        frame=frame,
        image=image,
        box_px=shown.box_px.astype(np.float64),
        keypoints_px=shown.keypoints_px.astype(np.float64),
        joints_cam_m=np.column_stack([joints, np.ones(len(joints))]),
        pixels_from_cam=camera.intrinsics,
        body=_body(scene, person, part, view, frame),
        iuv=_iuv(truth, person, part),
        dense_chart="anny",
    )
    return LabelledSample(
        name=name, part=shown.part, images=(labelled,), subject=scene.people[person],
        split_by=unit.name,
    )  # fmt: skip


def _two_view(
    scene: Scene, samples: dict[int, LabelledSample], person: int, frame: int
) -> Iterator[LabelledSample]:
    """One pair of views of an instant, where two see it from directions that fit. Every pixel's
    label is left to the single images, which are the same.
    """
    if len(samples) < 2:
        return
    first = next(iter(samples.values()))
    middle = scene.joints_world(person, frame, first.part).mean(axis=0)
    angles = {
        (a, b): angle_between_views_deg(scene.cameras[a], scene.cameras[b], middle)
        for a, b in combinations(samples, 2)
    }
    low, high = VIEW_ANGLES_DEG
    fitting = [views for views, angle in angles.items() if low <= angle <= high]
    if not fitting:
        return
    name = f"{scene.people[person]}-{first.part}-{frame}"
    views = fitting[_draw(scene, name, len(fitting))]
    yield replace(
        first,
        name=name,
        images=tuple(_without_pixels(samples[view].images) for view in views),
        view_angle_deg=round(angles[views], 3),
    )


def _draw(scene: Scene, name: str, num: int) -> int:
    return int(content_id("two_view", scene.config.seed, name), 16) % num


def _without_pixels(images: Sequence[LabelledImage]) -> LabelledImage:
    return replace(images[0], iuv=None, dense_chart=None)


def _iuv(truth: PixelTruth, person: int, part: str) -> NDArray[np.uint8]:
    """The dense map of one person, or of one hand: part from 1, u and v of Anny's texture."""
    shown = truth.person == person
    if part != "body":
        shown &= truth.part == BODY_PARTS.index(part)
    iuv = np.zeros((*shown.shape, 3), np.uint8)
    iuv[shown, 0] = truth.part[shown] + 1
    iuv[shown, 1:] = np.clip(np.round(truth.uv[shown] * 255), 0, 255)
    return iuv


def _body(scene: Scene, person: int, part: str, view: int, frame: int) -> Body:
    """The posed surface by reference; that of a left hand is its mirror image's."""
    if part == "body":
        label = body_label(scene, person, view, frame)
        return Body(
            model="anny",
            pose_rad=label.pose_J3,
            shape=label.shape_S,
            translation_m=label.translation_3,
        )
    side: Side = "left" if part == "left_hand" else "right"
    label = hand_label(scene, person, side, view, frame)
    body = Body(
        model="anny_hand",
        pose_rad=label.pose_J3,
        shape=label.shape_S,
        translation_m=label.translation_3,
    )
    return mirrored(body) if side == "left" else body
