"""One synthetic capture with its bodies: images from every camera at every time, with exact
annotations.
"""

from functools import cache, lru_cache

import numpy as np
import warp as wp
from numpy.typing import NDArray

from mining.sources.base import Detection
from mining.synthetic import appearance
from mining.synthetic.bodies import pose_bodies
from mining.synthetic.body_model import body_model
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.kernels import Look, Pattern
from mining.synthetic.plan import Plan
from mining.synthetic.render import (
    PosedMesh,
    Topology,
    device_name,
    draw,
    gaps_before,
    make_mesh,
    make_topology,
)

BLOCK = 8  # times posed together: one batch costs little more than one body
KEPT_MESHES = 24  # BVHs kept, about 3 MB each: enough for the views of a segment to share them
FEWEST_PIXELS = 12  # a person of whom less is seen is not annotated


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
        self.times_s = self._plan.times_s
        self.people = self._plan.people
        self._block = lru_cache(maxsize=4)(self._pose_block)
        self._mesh = lru_cache(maxsize=KEPT_MESHES)(self._make_mesh)
        drawn = [appearance.random_look(self._plan.rng("look", name)) for name in self.people]
        device = device_name()
        self._looks = wp.array([look for look, _ in drawn], dtype=Look, device=device)
        self._patterns = wp.array(
            [pattern for _, patterns in drawn for pattern in patterns], dtype=Pattern, device=device
        )
        self._light = appearance.random_light(self._plan.rng("light"))

    def render(self, view: int, time_index: int) -> tuple[NDArray[np.uint8], tuple[Detection, ...]]:
        """Render one camera at one time: RGB uint8 (H, W, 3), and the people of whom something is
        seen.

        A detection's box is the tight box around the person's visible pixels (its mask), with edges
        on pixel borders. A keypoint's confidence is 1 when visible, 0.5 when hidden by a body, 0
        when outside the image.
        """
        config = self.config
        rng = self._plan.rng(
            "background", view, *([time_index] if config.background == "per_image" else [])
        )
        wall = appearance.random_wall(rng, config.width_px, config.height_px)
        floor, floor_share = appearance.random_floor(rng)
        image, person_at = draw(
            _topology(), self._mesh(time_index), self.cameras[view], self._light,
            self._looks, self._patterns, floor, floor_share, wall,
        )  # fmt: skip
        keypoints_px = self._keypoints_px(view, time_index)
        people = []
        for person, name in enumerate(self.people):
            mask = person_at == person
            if mask.sum() < FEWEST_PIXELS:
                continue
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box_px = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
            people.append(
                Detection(
                    box_px=box_px,
                    keypoints_px=keypoints_px[person],
                    score=1.0,
                    identity=name,
                    mask=mask,
                    joints_world=self.joints_world(person, time_index),
                )
            )
        return image, tuple(people)

    def joints_world(self, person: int, time_index: int) -> NDArray[np.float64]:
        """The COCO keypoints of a person (by position in `people`) at a time, (17, 3) in metres."""
        return self._bodies(time_index)[1][person]

    def vertices_world(self, person: int, time_index: int) -> NDArray[np.float32]:
        """The body's surface, (V, 3) in metres; its faces are `body_model().faces`."""
        return self._bodies(time_index)[0][person]

    def _bodies(self, time_index: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """All people at a time: vertices (P, V, 3) and COCO keypoints (P, 17, 3)."""
        vertices, joints = self._block(time_index // BLOCK)
        return vertices[time_index % BLOCK], joints[time_index % BLOCK]

    def _pose_block(self, block: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        times = range(block * BLOCK, min((block + 1) * BLOCK, self.config.num_frames))
        states = [
            self._plan.state(person, time) for time in times for person in range(len(self.people))
        ]
        vertices, joints = pose_bodies(
            list(self._plan.shapes) * len(times), [pose for pose, _ in states]
        )
        world_from_body = np.stack([placed for _, placed in states])
        rotations, positions = (
            world_from_body[:, :3, :3].transpose(0, 2, 1),
            world_from_body[:, None, :3, 3],
        )
        vertices = vertices @ rotations.astype(np.float32) + positions.astype(np.float32)
        joints = joints @ rotations + positions
        grouped = (len(times), len(self.people))
        return vertices.reshape(*grouped, -1, 3), joints.reshape(*grouped, 17, 3)

    def _make_mesh(self, time_index: int) -> PosedMesh:
        return make_mesh(_topology(), self._bodies(time_index)[0])

    def _keypoints_px(self, view: int, time_index: int) -> NDArray[np.float32]:
        """The keypoints of all people in one image, (P, 17, 3): x, y, confidence."""
        camera, joints = self.cameras[view], self._bodies(time_index)[1].reshape(-1, 3)
        pixels = camera.project(joints)
        gap_m, whose = gaps_before(_topology(), self._mesh(time_index), camera, joints)
        # A joint lies under the skin: it is visible where the first thing hit is its own person's
        # skin close before it.
        allowed_m = np.tile(1.7 * body_model().keypoint_depth_m + 0.02, len(self.people))
        own = np.repeat(np.arange(len(self.people)), 17)
        visible = (whose < 0) | ((whose == own) & (gap_m <= allowed_m))
        inside = ((pixels >= 0) & (pixels < [self.config.width_px, self.config.height_px])).all(
            axis=1
        )
        confidence = np.where(inside, np.where(visible, 1.0, 0.5), 0.0)
        return (
            np.column_stack([np.nan_to_num(pixels), confidence])
            .reshape(-1, 17, 3)
            .astype(np.float32)
        )


@cache
def _topology() -> Topology:
    model = body_model()
    return make_topology(model.faces, model.reference_vertices, appearance.vertex_attributes(model))
