"""How much of a person or hand an image shows: the share that lies outside the frame, and the share
of the rest that others hide.

Both are estimates from the skeleton. Keypoints that were not seen are put where the seen ones and
usual proportions have them, capsules around the bones are sampled across the image, and the samples
outside the frame, and those inside it that are hidden, are counted.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalog.keypoints import (
    INDEX_BASE,
    LEFT_ANKLE,
    LEFT_EAR,
    LEFT_ELBOW,
    LEFT_EYE,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    LITTLE_BASE,
    MIDDLE_BASE,
    NOSE,
    NUM_BODY_KEYPOINTS,
    NUM_HAND_KEYPOINTS,
    RIGHT_ANKLE,
    RIGHT_EAR,
    RIGHT_ELBOW,
    RIGHT_EYE,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    RING_BASE,
    THUMB_BASE,
    WRIST,
)
from mining.geometry.surface import AHEAD, BODY, HAND, Bone
from mining.sources.base import Detection

Array = NDArray[np.float64]

ALONG = 6  # samples along a bone
NEAR = 0.1  # in torsos or palms: how far beside the mask a skeleton's sample may lie
ACROSS = np.array([-0.8, 0.0, 0.8])  # samples across it, in radii; hidden ones are sought at half


class Link(NamedTuple):
    """Where a joint that was not seen is put: from `start`, on in the direction from `before` to
    there (down the trunk, or towards the fingers, where that is None or was not seen), by a
    `length` in torsos or palms.
    """

    joint: int
    start: int
    before: int | None
    length: float


BODY_CHAINS = (
    Link(LEFT_KNEE, LEFT_HIP, None, 0.8),
    Link(RIGHT_KNEE, RIGHT_HIP, None, 0.8),
    Link(LEFT_ANKLE, LEFT_KNEE, LEFT_HIP, 0.8),
    Link(RIGHT_ANKLE, RIGHT_KNEE, RIGHT_HIP, 0.8),
    Link(LEFT_ELBOW, LEFT_SHOULDER, None, 0.55),
    Link(RIGHT_ELBOW, RIGHT_SHOULDER, None, 0.55),
    Link(LEFT_WRIST, LEFT_ELBOW, LEFT_SHOULDER, 0.5),
    Link(RIGHT_WRIST, RIGHT_ELBOW, RIGHT_SHOULDER, 0.5),
)
KNUCKLES = [INDEX_BASE, MIDDLE_BASE, RING_BASE, LITTLE_BASE]
NEXT_TO_KNUCKLES = [base + 1 for base in KNUCKLES]
HAND_CHAINS = (
    *(Link(base, WRIST, None, 1.0) for base in KNUCKLES),
    Link(THUMB_BASE, WRIST, None, 0.4),
    *(
        Link(base + k + 1, base + k, base + k - 1 if k else WRIST, length)
        for base in (THUMB_BASE, *KNUCKLES)
        for k, length in enumerate((0.42, 0.3, 0.24))
    ),
)
# pairs of joints and their usual distance, which foreshortening only lessens
BODY_SPANS = (
    (LEFT_SHOULDER, LEFT_HIP, 1.0), (RIGHT_SHOULDER, RIGHT_HIP, 1.0),
    (LEFT_SHOULDER, RIGHT_SHOULDER, 0.72),
    (LEFT_HIP, LEFT_KNEE, 0.8), (RIGHT_HIP, RIGHT_KNEE, 0.8),
    (LEFT_KNEE, LEFT_ANKLE, 0.8), (RIGHT_KNEE, RIGHT_ANKLE, 0.8),
    (LEFT_SHOULDER, LEFT_ELBOW, 0.55), (RIGHT_SHOULDER, RIGHT_ELBOW, 0.55),
    (LEFT_ELBOW, LEFT_WRIST, 0.5), (RIGHT_ELBOW, RIGHT_WRIST, 0.5),
)  # fmt: skip
HAND_SPANS = (
    (WRIST, INDEX_BASE, 1.0), (WRIST, MIDDLE_BASE, 1.0), (WRIST, RING_BASE, 0.95),
    (WRIST, LITTLE_BASE, 0.9), (INDEX_BASE, LITTLE_BASE, 0.65), (INDEX_BASE, INDEX_BASE + 1, 0.45),
    (MIDDLE_BASE, MIDDLE_BASE + 1, 0.48), (RING_BASE, RING_BASE + 1, 0.45),
    (LITTLE_BASE, LITTLE_BASE + 1, 0.35),
)  # fmt: skip
FACE = [NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR]
SHOULDERS, HIPS = [LEFT_SHOULDER, RIGHT_SHOULDER], [LEFT_HIP, RIGHT_HIP]
ANKLES = [LEFT_ANKLE, RIGHT_ANKLE]
TO_SHOULDERS = 0.45  # in torsos, from the middle of the face down to that of the shoulders


class Figure:
    """A person or hand in an image: all joints (K, 2) in pixels, the unseen ones estimated, which
    were `seen` (K,), and the length of a torso or palm in pixels.
    """

    def __init__(self, keypoints_px: NDArray[np.float32], min_confidence: float) -> None:
        """`keypoints_px` is (K, 3); at least three must have `min_confidence`, or all joints are
        NaN.
        """
        self.seen: NDArray[np.bool_] = (keypoints_px[:, 2] >= min_confidence) & np.isfinite(
            keypoints_px
        ).all(axis=1)
        self.points = np.where(self.seen[:, None], keypoints_px[:, :2], np.nan).astype(np.float64)
        self.is_body = len(keypoints_px) == NUM_BODY_KEYPOINTS
        self.unit_px = np.nan
        if self.seen.sum() >= 3:
            self.unit_px = self._unit()
            (self._complete_trunk if self.is_body else self._complete_palm)()

    @property
    def bones(self) -> tuple[Bone, ...]:
        """The capsules that make up the figure."""
        return BODY if self.is_body else HAND

    def ends(self) -> Array:
        """Both ends of every bone in pixels, (B, 2, 2)."""
        weights, beyond = _bone_weights(self.is_body)
        ends = np.einsum("bek,kd->bed", weights, self.points)
        down = self._down()
        for k, (bone, reach) in enumerate(zip(self.bones, beyond, strict=True)):
            if reach:
                way = ends[bone.parent, 1] - ends[bone.parent, 0] if bone.parent >= 0 else -down
                if bone.rest == AHEAD:  # a foot: where ahead is in the image is not known
                    way = down
                ends[k, 1] += reach * self.unit_px * _unit_vector(way, down)
        return ends

    def samples(self) -> tuple[Array, Array, Array]:
        """Points (B, ALONG, ACROSS, 2) within the capsules in pixels, the same drawn in to half the
        radius, and the area (B,) that each bone's samples stand for.
        """
        ends = self.ends()
        radii_px = np.array([bone.radius for bone in self.bones]) * self.unit_px
        way = ends[:, 1] - ends[:, 0]
        length_px = np.linalg.norm(way, axis=1)
        aside = np.stack([-way[:, 1], way[:, 0]], axis=1) / np.maximum(length_px, 1e-6)[:, None]
        share = (np.arange(ALONG) + 0.5) / ALONG
        middle = ends[:, None, 0] + share[:, None] * way[:, None]
        offsets = ACROSS[:, None] * (radii_px[:, None] * aside)[:, None, None]
        area = 2 * radii_px * (length_px + radii_px)
        return middle[:, :, None] + offsets, middle[:, :, None] + 0.5 * offsets, area

    def covers(self, points_px: Array) -> NDArray[np.bool_]:
        """Whether points (..., 2) lie within a capsule of the figure with a seen joint; (...)."""
        weights, _ = _bone_weights(self.is_body)
        shown = ((weights > 0).any(axis=1) & self.seen).any(axis=1)
        ends = self.ends()[shown]
        radii_px = np.array([bone.radius for bone in self.bones])[shown] * self.unit_px
        way = ends[:, 1] - ends[:, 0]
        off = points_px[..., None, :] - ends[:, 0]
        share = (off * way).sum(axis=-1) / np.maximum((way * way).sum(axis=-1), 1e-9)
        off = off - np.clip(share, 0, 1)[..., None] * way
        return ((off * off).sum(axis=-1) < radii_px**2).any(axis=-1)

    def is_before(self, other: "Figure") -> bool:
        """Whether this figure is the nearer one: the one whose feet are lower, for bodies whose
        feet are seen; else the larger one.
        """
        if self.is_body and other.is_body:
            feet = [figure.points[ANKLES][figure.seen[ANKLES], 1] for figure in (self, other)]
            if feet[0].size and feet[1].size:
                return bool(feet[0].max() > feet[1].max())
        sizes = [f.unit_px / (1.0 if f.is_body else PALM_SHARE) for f in (self, other)]
        return bool(sizes[0] > sizes[1])

    def _unit(self) -> float:
        spans = BODY_SPANS if self.is_body else HAND_SPANS
        lengths = [
            np.linalg.norm(self.points[a] - self.points[b]) / usual
            for a, b, usual in spans
            if self.seen[a] and self.seen[b]
        ]
        if not lengths:
            return float(np.nanmax(np.ptp(self.points[self.seen], axis=0)))
        return max(1e-4, float(np.quantile(lengths, 0.8)))

    def _down(self) -> Array:
        """The direction down the trunk (2,), or out of the palm's base: a unit vector."""
        if not self.is_body:
            palm = _middle(self.points, KNUCKLES)
            return _unit_vector(self.points[WRIST] - palm, np.array([0.0, 1.0]))
        return _unit_vector(
            _middle(self.points, HIPS) - _middle(self.points, SHOULDERS), np.array([0.0, 1.0])
        )

    def _complete_trunk(self) -> None:
        points, down = self.points, self._down() * self.unit_px
        self._complete_pair(SHOULDERS, HIPS, -down, TO_SHOULDERS * down)
        self._complete_pair(HIPS, SHOULDERS, down, (TO_SHOULDERS + 1) * down)
        face = _middle(points, FACE)
        if np.isnan(face[0]):
            face = _middle(points, SHOULDERS) - TO_SHOULDERS * down
        points[FACE] = np.where(np.isfinite(points[FACE]), points[FACE], face)
        self._complete_chains(BODY_CHAINS, down)

    def _complete_pair(
        self, pair: list[int], opposite: list[int], from_opposite: Array, from_face: Array
    ) -> None:
        """Put both shoulders, or hips, where one is not seen: beside the other one, as far as those
        `opposite` in the trunk are apart; else by a step (2,) from its own opposite, or the face.
        """
        points = self.points
        for side, joint in enumerate(pair):
            other = 1 - side
            if np.isfinite(points[joint, 0]):
                continue
            if np.isfinite(points[pair[other], 0]):
                across = points[opposite[side]] - points[opposite[other]]
                points[joint] = points[pair[other]] + np.nan_to_num(across)
            elif np.isfinite(points[opposite[side], 0]):
                points[joint] = points[opposite[side]] + from_opposite
            elif np.isfinite(points[FACE, 0]).any():
                points[joint] = _middle(points, FACE) + from_face
            else:
                points[joint] = np.nanmean(points, axis=0)

    def _complete_palm(self) -> None:
        points = self.points
        if np.isnan(points[WRIST, 0]):
            knuckles, next_joints = _middle(points, KNUCKLES), _middle(points, NEXT_TO_KNUCKLES)
            back = _unit_vector(knuckles - next_joints, np.array([0.0, 1.0]))
            start = knuckles if np.isfinite(knuckles[0]) else np.nanmean(points, axis=0)
            points[WRIST] = start + self.unit_px * back
        fingers = points[WRIST + 1 :]
        ahead = fingers[np.isfinite(fingers).all(axis=1)].mean(axis=0) - points[WRIST]
        self._complete_chains(HAND_CHAINS, _unit_vector(ahead, -self._down()) * self.unit_px)

    def _complete_chains(self, chains: Sequence[Link], default: Array) -> None:
        for joint, start, before, length in chains:
            if np.isfinite(self.points[joint, 0]):
                continue
            way = default / self.unit_px
            if before is not None and self.seen[start] and self.seen[before]:
                way = _unit_vector(self.points[start] - self.points[before], way)
            self.points[joint] = self.points[start] + length * self.unit_px * way


PALM_SHARE = 0.18  # a palm's length over a torso's


def truncation(figure: Figure, width_px: int, height_px: int) -> float | None:
    """Estimate the share (0 to 1) of a figure that lies outside the frame; None where too few
    keypoints were seen.
    """
    if np.isnan(figure.unit_px):
        return None
    points, _, area = figure.samples()
    return round(
        float(_outside(points, width_px, height_px).mean(axis=(1, 2)) @ area) / area.sum(), 4
    )


def occlusion(
    figure: Figure,
    others: Sequence[Figure],
    mask: NDArray[np.bool_] | None,
    width_px: int,
    height_px: int,
) -> float | None:
    """Estimate the share (0 to 1) of what lies inside the frame that others or things hide; None
    where nothing does, or too few keypoints were seen.

    With a `mask` (H, W) of the visible pixels: the share of samples that it does not show. Without
    one: those within the capsules of somebody nearer, and those about keypoints that were not seen
    though they should lie inside the frame.
    """
    if np.isnan(figure.unit_px):
        return None
    _, points, area = figure.samples()
    inside = ~_outside(points, width_px, height_px)
    weight = inside * area[:, None, None]
    if not weight.sum() > 0:
        return None
    covered = np.zeros(points.shape[:3], np.bool_)
    if mask is not None:
        hidden = _beyond(mask, points, 0.0)
        for other in others:
            if np.isfinite(other.unit_px):
                covered |= other.covers(points)
        # limbs are not quite where the skeleton has them: with nobody there, being near is enough
        hidden &= covered | _beyond(mask, points, NEAR * figure.unit_px)
    else:
        for other in others:
            if np.isfinite(other.unit_px) and other.is_before(figure):
                covered |= other.covers(points)
        hidden = covered | _unseen_samples(figure)[..., None]
    return round(float((weight * hidden).sum() / weight.sum()), 4)


def figures_of(people: Sequence[Detection], min_confidence: float) -> list[Figure]:
    """The figures of several detections."""
    return [Figure(person.keypoints_px, min_confidence) for person in people]


def _unseen_samples(figure: Figure) -> NDArray[np.bool_]:
    """Which samples along the bones (B, ALONG) are nearer to an end that was not seen."""
    weights, _ = _bone_weights(figure.is_body)
    seen = np.asarray(((weights > 0) & figure.seen).any(axis=2))  # (B, 2)
    first = np.arange(ALONG) < ALONG / 2
    return np.where(first, ~seen[:, :1], ~seen[:, 1:])


def _beyond(mask: NDArray[np.bool_], points_px: Array, distance_px: float) -> NDArray[np.bool_]:
    """Whether a mask (H, W) shows neither points (..., 2) nor those so far beside, above and below
    them; (...).
    """
    beyond = np.ones(points_px.shape[:-1], np.bool_)
    steps = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)] if distance_px else [(0, 0)]
    for x, y in distance_px * np.array(steps):
        columns = np.clip(points_px[..., 0] + x, 0, mask.shape[1] - 1).astype(int)
        rows = np.clip(points_px[..., 1] + y, 0, mask.shape[0] - 1).astype(int)
        beyond &= ~mask[rows, columns]
    return beyond


def _outside(points_px: Array, width_px: int, height_px: int) -> NDArray[np.bool_]:
    size_px = np.array([width_px, height_px])
    return np.asarray(((points_px < 0) | (points_px >= size_px)).any(axis=-1))


@cache
def _bone_weights(is_body: bool) -> tuple[Array, tuple[float, ...]]:
    """Weights (B, 2, K) of the joints in both ends of every bone, and how far each goes on."""
    bones = BODY if is_body else HAND
    weights = np.zeros((len(bones), 2, NUM_BODY_KEYPOINTS if is_body else NUM_HAND_KEYPOINTS))
    for k, bone in enumerate(bones):
        for end, where in enumerate((bone.start, bone.end)):
            for joint, weight in where.items():
                weights[k, end, joint] = weight
    return weights, tuple(bone.beyond for bone in bones)


def _middle(points: Array, joints: list[int]) -> Array:
    """The mean of those joints that are known, NaN without any."""
    chosen = points[joints]
    chosen = chosen[np.isfinite(chosen[:, 0])]
    return chosen.mean(axis=0) if len(chosen) else np.full(2, np.nan)


def _unit_vector(way: Array, default: Array) -> Array:
    length = np.linalg.norm(way)
    return way / length if length > 1e-6 else default
