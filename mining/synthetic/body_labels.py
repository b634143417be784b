"""What a body model must be given to be a synthetic person: pose, shape and place, in a camera's
axes.

    vertices_cam = model(rotations of pose_J3, shape_S).vertices + translation_3

holds for the body model `anny`, with joints `POSED_BONES`, and for the right hand with the model
`anny_hand`, with joints `HAND_BONES`. A left hand's label is its own truth: it is the mirrored
right hand, so mirror the label (x of points turns around; of axis-angles y and z), apply the model
and mirror the result.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from catalog.anny_bones import HAND_BONES, PHENOTYPES, POSED_BONES
from mining.synthetic.bodies import bone_rotations
from mining.synthetic.body_model import body_model
from mining.synthetic.scene import Scene

Side = Literal["left", "right"]


@dataclass(frozen=True)
class BodyLabel:
    """`pose_J3` are axis-angles in radians, each relative to the joint above, the first in the
    camera's axes; `shape_S` the values of `PHENOTYPES`, 0 to 1; `translation_3` the root joint in
    the camera's axes, in metres.
    """

    pose_J3: NDArray[np.float64]
    shape_S: NDArray[np.float64]
    translation_3: NDArray[np.float64]


def body_label(scene: Scene, person: int, view: int, frame: int) -> BodyLabel:
    """The label of a person, by position in `scene.people`."""
    pose, cam_from_body = _state(scene, person, view, frame)
    return BodyLabel(
        _axis_angles([cam_from_body * pose["root"], *(pose[bone] for bone in POSED_BONES[1:])]),
        _shape(scene, person),
        _head_cam(scene, person, view, frame, "root"),
    )


def hand_label(scene: Scene, person: int, side: Side, view: int, frame: int) -> BodyLabel:
    """The label of a person's hand; the root is the wrist."""
    pose, cam_from_body = _state(scene, person, view, frame)
    letter = {"left": "L", "right": "R"}[side]
    bones = [f"{bone}.{letter}" for bone in HAND_BONES]
    model = body_model()
    cam_from_hand = Rotation.identity()
    bone = model.bones.index(bones[0])
    while bone >= 0:
        cam_from_hand = pose.get(model.bones[bone], Rotation.identity()) * cam_from_hand
        bone = model.anny.bone_parents[bone]
    return BodyLabel(
        _axis_angles([cam_from_body * cam_from_hand, *(pose[bone] for bone in bones[1:])]),
        _shape(scene, person),
        _head_cam(scene, person, view, frame, bones[0]),
    )


def _state(
    scene: Scene, person: int, view: int, frame: int
) -> tuple[dict[str, Rotation], Rotation]:
    """The rotations of a person's bones, and that of the body in the camera's axes."""
    angles, world_from_body = scene.state(person, frame, view)
    world_from_cam = scene.cameras[view].world_from_cam
    cam_from_body = world_from_cam[:3, :3].T @ world_from_body[:3, :3]
    return bone_rotations(angles), Rotation.from_matrix(cam_from_body)


def _shape(scene: Scene, person: int) -> NDArray[np.float64]:
    shape = scene.shapes[person]
    return np.array([shape[name] for name in PHENOTYPES])


def _head_cam(scene: Scene, person: int, view: int, frame: int, bone: str) -> NDArray[np.float64]:
    head_world = scene.bone_heads_world(person, frame, view)[body_model().bones.index(bone)]
    world_from_cam = scene.cameras[view].world_from_cam
    head_cam: NDArray[np.float64] = world_from_cam[:3, :3].T @ (head_world - world_from_cam[:3, 3])
    return head_cam


def _axis_angles(rotations: list[Rotation]) -> NDArray[np.float64]:
    axis_angles: NDArray[np.float64] = Rotation.concatenate(rotations).as_rotvec()
    return axis_angles
