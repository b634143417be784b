"""One synthetic capture with its bodies: images from every camera at every time, with exact
annotations.

`frame` counts a camera's frames from 0. Where all cameras share a clock, a frame is the same
instant for each of them, and `view` can be left out.
"""

from collections import OrderedDict
from functools import cache, lru_cache

import numpy as np
import warp as wp
from numpy.typing import NDArray

from mining.sources.base import Detection, Part
from mining.synthetic import appearance, truth
from mining.synthetic.bodies import JOINTS, NUM_JOINTS, PosedBodies, joint_depth_m, pose_bodies
from mining.synthetic.body_model import body_model
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.kernels import Look, Pattern
from mining.synthetic.plan import Plan
from mining.synthetic.poses import Pose
from mining.synthetic.render import (
    PosedMesh,
    Topology,
    device_name,
    draw,
    gaps_before,
    make_mesh,
    make_topology,
)
from mining.synthetic.surface import BODY_PARTS, surface

BLOCK = 8  # times posed together: one batch costs little more than one body
KEPT_BLOCKS = 16  # 4 MB each for three people
KEPT_MESHES = 24  # of this process, about 10 MB each for three people
FEWEST_PIXELS = 12  # a person or hand of whom less is seen is not annotated
PARTS: tuple[Part, ...] = ("body", "left_hand", "right_hand")


class Scene:
    """A capture of `config`, rendered on demand; `people` are identities that name the same person
    in all views.
    """

    def __init__(self, config: SyntheticConfig, index: int) -> None:
        """Set up capture `index`, from 0. Raises ValueError for an index that the config does not
        have.
        """
        self.config = config
        self._plan = Plan(config, index)
        self.cameras = self._plan.cameras
        self.clocks = self._plan.clocks
        self.times_s = tuple(self.clocks[0].times_s.tolist())
        self.people = self._plan.people
        self.shapes = self._plan.shapes
        self._block = lru_cache(maxsize=KEPT_BLOCKS)(self._pose_block)
        self._background = lru_cache(maxsize=config.num_views)(self._draw_background)
        self.visible_faces = lru_cache(maxsize=64)(self._visible_faces)
        wardrobe = self.people if config.wardrobe == "varied" else [""] * len(self.people)
        drawn = [appearance.random_look(self._plan.rng("look", name)) for name in wardrobe]
        device = device_name()
        self._looks = wp.array([look for look, _ in drawn], dtype=Look, device=device)
        self._patterns = wp.array(
            [pattern for _, patterns in drawn for pattern in patterns], dtype=Pattern, device=device
        )
        self._light = appearance.random_light(self._plan.rng("light"))

    def render(self, view: int, frame: int) -> tuple[NDArray[np.uint8], tuple[Detection, ...]]:
        """Render one frame of one camera: RGB uint8 (H, W, 3), the people of whom something is seen
        and, after them, their hands.

        A detection's box is the tight box around its visible pixels (its mask), with edges on pixel
        borders. A keypoint's confidence is 1 when visible, 0.5 when hidden by a body, 0 when
        outside the image.
        """
        wall, floor, floor_share = self._background(
            view, frame if self.config.background == "per_image" else 0
        )
        drawn = draw(
            _topology(), self.mesh(view, frame), self.cameras[view], self._light,
            self._looks, self._patterns, floor, floor_share, wall,
        )  # fmt: skip
        keypoints_px = self._keypoints_px(view, frame)
        faces_each = len(body_model().faces)
        person_at = np.where(drawn.face >= 0, drawn.face // faces_each, -1)
        people: list[Detection] = []
        hands: list[Detection] = []
        for person, name in enumerate(self.people):
            mask = person_at == person
            if mask.sum() < FEWEST_PIXELS:
                continue
            place = len(people)
            for part in PARTS:
                if part != "body":
                    mask = _only(mask, drawn.face, part)
                if mask.sum() < FEWEST_PIXELS:
                    continue
                (people if part == "body" else hands).append(
                    Detection(
                        box_px=_bounds_px(mask),
                        keypoints_px=keypoints_px[person, JOINTS[part]],
                        score=1.0,
                        part=part,
                        body=None if part == "body" else place,
                        identity=name,
                        mask=mask,
                        joints_world=self.joints_world(person, frame, part, view),
                    )
                )
                mask = person_at == person
        return drawn.image, (*people, *hands)

    def joints_world(
        self, person: int, frame: int, part: Part = "body", view: int = 0
    ) -> NDArray[np.float64]:
        """The keypoints of a person (by position in `people`) at a frame, (17, 3) of the body or
        (21, 3) of a hand, in metres.
        """
        bodies, at = self._bodies(view, frame)
        return bodies.joints[at + person, JOINTS[part]]

    def vertices_world(self, person: int, frame: int, view: int = 0) -> NDArray[np.float32]:
        """The body's surface, (V, 3) in metres; its faces are `body_model().faces`."""
        bodies, at = self._bodies(view, frame)
        return bodies.vertices[at + person]

    def bone_heads_world(self, person: int, frame: int, view: int = 0) -> NDArray[np.float64]:
        """Where the bones of the body model begin, (B, 3) in metres."""
        bodies, at = self._bodies(view, frame)
        return bodies.bone_heads[at + person]

    def state(self, person: int, frame: int, view: int = 0) -> tuple[Pose, NDArray[np.float64]]:
        """A person's joint angles and `world_from_body` (4, 4), but for its height."""
        return self._plan.state(person, float(self.clocks[self._clock_of(view)].times_s[frame]))

    def truth(self, view: int, frame: int) -> truth.PixelTruth:
        """Who, which body part, where in the texture and how far each pixel of an image shows."""
        return truth.pixel_truth(
            self.mesh(view, frame), self.cameras[view], self.config.width_px, self.config.height_px
        )

    def covisibility(
        self, person: int, part: str, view_a: int, frame_a: int, view_b: int, frame_b: int
    ) -> float:
        """The area of a part's surface that is seen in both images, as a share of what is seen in
        either, from 0 to 1 (0 where neither sees any).

        The surface is made of triangles, the same at all times. A triangle is seen in an image when
        it faces the camera, its middle lies within the image, and no person (nor another part of
        its own) is on the ray to its middle; image resolution plays no part. Its area is the mean
        of its areas at the two times. `part` is `body` or one of `surface.BODY_PARTS`.
        """
        vertices = [
            self.vertices_world(person, frame, view)
            for view, frame in ((view_a, frame_a), (view_b, frame_b))
        ]
        return truth.shared_share(
            self.visible_faces(view_a, frame_a, person),
            self.visible_faces(view_b, frame_b, person),
            (truth.areas_m2(vertices[0]) + truth.areas_m2(vertices[1])) / 2,
            part,
        )

    def visibility(self, person: int, part: str, view: int, frame: int) -> tuple[float, float]:
        """How much of a part an image lacks, both from 0 to 1: the share of its silhouette within
        the image that something else covers (other people; for a hand its own body too), and the
        share of its whole silhouette that lies outside the image.

        Where nothing lies within the image, 0 and 1. A part behind the camera counts as outside.
        """
        return truth.hidden_and_outside(
            self.mesh(view, frame),
            self.vertices_world(person, frame, view),
            person,
            part,
            self.cameras[view],
            (self.config.width_px, self.config.height_px),
        )

    def mesh(self, view: int, frame: int) -> PosedMesh:
        """Everybody at a frame, for casting rays; good until other meshes are asked for."""
        bodies, at = self._bodies(view, frame)
        key = (self.config, self._plan.index, self._clock_of(view), frame)
        return _mesh(key, bodies.vertices[at : at + len(self.people)])

    def _visible_faces(self, view: int, frame: int, person: int) -> NDArray[np.bool_]:
        return truth.visible_faces(
            self.mesh(view, frame),
            self.vertices_world(person, frame, view),
            person,
            self.cameras[view],
            (self.config.width_px, self.config.height_px),
        )

    def _clock_of(self, view: int) -> int:
        return view if self.config.clock == "skewed" else 0

    def _bodies(self, view: int, frame: int) -> tuple[PosedBodies, int]:
        """A block of bodies that holds a frame's, and where the first of them is."""
        block = self._block(self._clock_of(view), frame // BLOCK)
        return block, frame % BLOCK * len(self.people)

    def _pose_block(self, clock: int, block: int) -> PosedBodies:
        """Everybody at `BLOCK` times in the world frame, (times x P) bodies."""
        times_s = self.clocks[clock].times_s[block * BLOCK : (block + 1) * BLOCK].tolist()
        states = [
            self._plan.state(person, time_s)
            for time_s in times_s
            for person in range(len(self.people))
        ]
        bodies = pose_bodies(list(self._plan.shapes) * len(times_s), [pose for pose, _ in states])
        world_from_body = np.stack([placed for _, placed in states])
        rotations = world_from_body[:, :3, :3].transpose(0, 2, 1)
        positions = world_from_body[:, None, :3, 3]
        return PosedBodies(
            bodies.vertices @ rotations.astype(np.float32) + positions.astype(np.float32),
            bodies.joints @ rotations + positions,
            bodies.bone_heads @ rotations + positions,
        )

    def _draw_background(self, view: int, frame: int) -> tuple[NDArray[np.float32], Pattern, float]:
        per_image = self.config.background == "per_image"
        rng = self._plan.rng("background", view, *([frame] if per_image else []))
        wall = appearance.random_wall(rng, self.config.width_px, self.config.height_px)
        return wall, *appearance.random_floor(rng)

    def _keypoints_px(self, view: int, frame: int) -> NDArray[np.float32]:
        """The keypoints of all people in one image, (P, 59, 3): x, y, confidence."""
        bodies, at = self._bodies(view, frame)
        num_people = len(self.people)
        joints = bodies.joints[at : at + num_people].reshape(-1, 3)
        camera = self.cameras[view]
        pixels = camera.project(joints)
        gap_m, face = gaps_before(self.mesh(view, frame), camera, joints)
        # A joint lies under the skin: it is visible where the first thing hit is its own person's
        # skin close before it. Fingers lie close together, so what is allowed there is less.
        allowed_m = 1.7 * joint_depth_m() + np.where(np.arange(NUM_JOINTS) < 17, 0.02, 0.006)
        own = np.repeat(np.arange(num_people), NUM_JOINTS)
        near_skin = gap_m <= np.tile(allowed_m, num_people)
        visible = (face < 0) | ((face // len(body_model().faces) == own) & near_skin)
        inside = ((pixels >= 0) & (pixels < [self.config.width_px, self.config.height_px])).all(
            axis=1
        )
        confidence = np.where(inside, np.where(visible, 1.0, 0.5), 0.0)
        return (
            np.column_stack([np.nan_to_num(pixels), confidence])
            .reshape(num_people, NUM_JOINTS, 3)
            .astype(np.float32)
        )


def _only(mask: NDArray[np.bool_], face: NDArray[np.int32], part: Part) -> NDArray[np.bool_]:
    """The pixels of a person's mask that show one part, given the face at each pixel."""
    shown = np.zeros_like(mask)
    of_part = surface().part[face[mask] % len(surface().part)]
    shown[mask] = of_part == BODY_PARTS.index(part)
    return shown


def _bounds_px(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


@cache
def _topology() -> Topology:
    model = body_model()
    return make_topology(model.faces, model.reference_vertices, appearance.vertex_attributes(model))


_kept: OrderedDict[tuple[object, ...], PosedMesh] = OrderedDict()


def _mesh(key: tuple[object, ...], vertices_world: NDArray[np.float32]) -> PosedMesh:
    """The mesh of people (P, V, 3), kept for the other cameras; the oldest of as many people gives
    up its BVH when there are enough.
    """
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    reused = None
    if len(_kept) >= KEPT_MESHES:
        same = (old for old in _kept if len(_kept[old].boxes_world) == len(vertices_world))
        reused = _kept.pop(next(same, next(iter(_kept))))
        if len(reused.boxes_world) != len(vertices_world):
            reused = None
    _kept[key] = make_mesh(_topology(), vertices_world, reused.mesh if reused else None)
    return _kept[key]
