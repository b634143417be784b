"""What mesh tasks take from a sample's label. Vertices are not among it: on the training device the
body model makes them from pose and shape.

Shapes: J joints of the body model, S shape values, K keypoints.
"""

import numpy as np
import numpy.typing as npt

from catalog.model_files import GENDERS
from shards.labels import Body
from training.bodies.model import BodyModel
from training.bodies.registry import absent_genders
from training.loading.placed import Placed

Arrays = dict[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.floating]


class MeshSizes:
    """The sizes of a body model's arrays, and which genders of it are there; unlike the model
    itself, loader processes can have it.
    """

    def __init__(self, body: BodyModel, folder: str) -> None:
        self.body_name = body.name
        self.absent_genders = absent_genders(body.name, folder)
        self.num_joints, self.num_shape = body.num_joints, body.num_shape
        self.num_keypoints = body.num_keypoints


def mesh_target(
    label_id: str, image: Placed, sizes: MeshSizes, assumed_focal: float, other_bodies: bool
) -> Arrays:
    """A sample's targets, 0 where the label has none:

    rotations (J, 3, 3), shape (S,), root_m (3,), has_body (), has_place (): root_m is known, too
    gender (), int64: whose model the shape is of, its place in `GENDERS`; 0, neutral, where no body
    joints_m (K, 4): in the image's camera, with confidence
    keypoints (K, 3): shares of the image's side, with confidence
    shares_from_cam (3, 3): the image's camera; where unknown one of `assumed_focal` sides

    Raises ValueError for a body of another model, or of a gender whose model is not there, unless
    `other_bodies` are passed over, for another number of keypoints, and when there is neither body
    nor joint nor keypoint.
    """
    side = image.image_px
    camera = image.camera()
    if camera is None:
        shares_from_cam = np.array([[assumed_focal, 0, 0.5], [0, assumed_focal, 0.5], [0, 0, 1.0]])
    else:
        shares_from_cam = np.diag([1 / side, 1 / side, 1.0]) @ camera.pixels_from_cam

    joints_m = image.joints_cam_m()
    keypoints = image.keypoints_px()
    if len(keypoints) != sizes.num_keypoints:
        raise ValueError(
            f"sample {label_id} has {len(keypoints)} keypoints, but {sizes.body_name} has "
            f"{sizes.num_keypoints}: choose samples of another part or set task.body"
        )
    keypoints[:, :2] /= side
    rotations, shape, root_m, gender, has_body = _body(label_id, image, sizes, other_bodies)
    has_place = has_body and camera is not None
    if joints_m is None:
        joints_m = np.zeros((sizes.num_keypoints, 4))
    if not (has_body or joints_m[:, 3].any() or keypoints[:, 2].any()):
        raise ValueError(f"sample {label_id} has neither a body nor joints nor keypoints")
    values = {
        "rotations": rotations,
        "shape": shape,
        "root_m": root_m if has_place else np.array([0.0, 0.0, 1.0]),
        "has_body": np.array(has_body),
        "has_place": np.array(has_place),
        "joints_m": joints_m,
        "keypoints": keypoints,
        "shares_from_cam": shares_from_cam,
    }
    floats = {name: value.astype(np.float32) for name, value in values.items()}
    return {**floats, "gender": np.array(GENDERS.index(gender), np.int64)}


def _body(
    label_id: str, image: Placed, sizes: MeshSizes, other_bodies: bool
) -> tuple[Floats, Floats, Floats, str, bool]:
    identity = np.tile(np.eye(3), (sizes.num_joints, 1, 1))
    nothing = identity, np.zeros(sizes.num_shape), np.array([0.0, 0.0, 1.0]), "neutral", False
    body, pose = image.label.body, image.body_pose()
    if body is None or pose is None:
        return nothing
    absent = _absent(body, sizes)
    if absent is not None:
        if other_bodies:
            return nothing
        raise ValueError(
            f"sample {label_id} has a body of {body.model}, {body.gender}, and {absent}, or set "
            "task.other_bodies=true to learn from its keypoints alone"
        )
    rotations, shape, root_m = pose
    if len(rotations) != sizes.num_joints or len(shape) != sizes.num_shape:
        raise ValueError(
            f"sample {label_id} has {len(rotations)} rotations and {len(shape)} shape values, but "
            f"{sizes.body_name} has {sizes.num_joints} and {sizes.num_shape}: label it anew"
        )
    return rotations, shape, root_m, body.gender, True


def _absent(body: Body, sizes: MeshSizes) -> str | None:
    """Why a label's body cannot be made; None where it can."""
    if body.model != sizes.body_name:
        return f"this task makes {sizes.body_name}: set task.body where that helps"
    if body.gender not in GENDERS:
        return f"the genders are {', '.join(GENDERS)}: label it anew"
    return sizes.absent_genders.get(body.gender)
