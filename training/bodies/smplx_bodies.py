"""SMPL, SMPL-X and MANO as body models, for users who have their licensed files.

The skinning is that of the `smplx` package. Rotations are whole ones: a pose that is said relative
to MANO's mean hand has the mean added before it comes here. Shape values are the first ten betas;
SMPL-X's face keeps its neutral expression. Faces and vertex numbers are the files' own, and the
same for all genders of a model.

Shapes: as in `model`; C coordinates.
"""

import numpy as np
import torch
from torch import Tensor

from catalog.keypoints import COCO_KEYPOINTS, HAND_KEYPOINTS
from catalog.model_files import read_model_file
from training.bodies.model import BodyModel, BodyOutput
from training.bodies.rotations import axis_angle_to_matrix

NUM_BETAS = 10
_BODY = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar",
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist",
)  # fmt: skip
_FINGERS = tuple(
    f"{finger}{link}"
    for finger in ("index", "middle", "little", "ring", "thumb")
    for link in range(1, 3 + 1)
)
JOINT_NAMES = {
    "smpl": (*_BODY, "left_hand", "right_hand"),
    "smplx": (
        *_BODY, "jaw", "left_eye", "right_eye",
        *(f"{side}_{name}" for side in ("left", "right") for name in _FINGERS),
    ),
    "mano": ("wrist", *_FINGERS),
}  # fmt: skip
# What the package calls the vertices that are keypoints and no joints.
_FACE = ("nose", "leye", "reye", "lear", "rear")  # COCO's first five
_TIPS = ("thumb", "index", "middle", "ring", "pinky")


class SmplxBody(BodyModel):
    """One of the three; the root joint is the pelvis, or MANO's wrist."""

    template_M3: Tensor
    shapes_MC: Tensor  # (M, 3, S)
    pose_shapes: Tensor  # ((J - 1) * 9, M * 3)
    joints_JM: Tensor
    parents_J: Tensor
    skinning_MJ: Tensor
    keypoint_ids_K: Tensor  # of joints, and after those of vertices

    def __init__(self, name: str, folder: str, gender: str = "neutral") -> None:
        """Read a model's file from `folder`, or the folder of its name in there.

        Raises ValueError when the package or the file is absent.
        """
        super().__init__()
        try:
            import smplx  # noqa: F401
        except ImportError:
            raise ValueError(
                f"{name.upper()} needs the package smplx; install it with: pip install smplx"
            ) from None
        data = read_model_file(name, folder, gender)
        self.name, self.joint_names = name, JOINT_NAMES[name]
        self._check(data)
        template_M3 = _floats(data["v_template"])
        self.keep("template_M3", template_M3)
        self.keep("shapes_MC", _floats(data["shapedirs"][:, :, :NUM_BETAS]))
        pose_shapes = _floats(data["posedirs"])
        self.keep("pose_shapes", pose_shapes.flatten(0, 1).T.contiguous())
        self.keep("joints_JM", _floats(data["J_regressor"]))
        parents = np.array(data["kintree_table"][0], np.int64)
        parents[0] = -1  # the files have 2^32 - 1 there
        self.keep("parents_J", torch.from_numpy(parents))
        self.keep("skinning_MJ", _floats(data["weights"]))
        self.keep("faces_F3", torch.from_numpy(np.array(data["f"], np.int64)))
        self.keep("mean_shape_S", torch.zeros(NUM_BETAS))
        self.keep("vertex_ids_V", torch.arange(len(template_M3)))
        self._keep_keypoints()
        mean_J33 = torch.eye(3).repeat(len(self.joint_names), 1, 1)
        if name == "mano":
            mean_J33[1:] = axis_angle_to_matrix(_floats(data["hands_mean"]).reshape(15, 3))
        else:  # from y up, facing z, to a camera that is faced
            mean_J33[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        self.keep("mean_rotations_J33", mean_J33)

    def _check(self, data: dict[str, np.ndarray]) -> None:
        found, wanted = data["weights"].shape[1], len(self.joint_names)
        if found != wanted:
            raise ValueError(
                f"{self.name.upper()} has {wanted} joints and the file's model {found}; it may be "
                "another model under this name"
            )

    def _keep_keypoints(self) -> None:
        """COCO's joints and a hand's have the names of the model's; the others are vertices."""
        from smplx.vertex_ids import vertex_ids

        after = len(self.joint_names)
        if self.name == "mano":
            self.keypoint_names = HAND_KEYPOINTS
            names, ids = HAND_KEYPOINTS[4::4], [vertex_ids["mano"][name] for name in _TIPS]
        else:
            self.keypoint_names = COCO_KEYPOINTS
            of_model = vertex_ids["smplh" if self.name == "smpl" else "smplx"]
            names, ids = COCO_KEYPOINTS[:5], [of_model[name] for name in _FACE]
        vertices = dict(zip(names, ids, strict=True))
        places = [
            after + vertices[name] if name in vertices else self.joint_names.index(name)
            for name in self.keypoint_names
        ]
        self.keep("keypoint_ids_K", torch.tensor(places))

    def forward(self, rotations_BJ33: Tensor, shape_BS: Tensor) -> BodyOutput:
        """Pose bodies; in float32 also under autocast, which would cost millimetres."""
        from smplx.lbs import lbs

        with torch.autocast(rotations_BJ33.device.type, enabled=False):
            dtype = self.template_M3.dtype
            vertices_BM3, joints_BJ3 = lbs(
                shape_BS.to(dtype),
                rotations_BJ33.to(dtype),
                self.template_M3,
                self.shapes_MC,
                self.pose_shapes,
                self.joints_JM,
                self.parents_J,
                self.skinning_MJ,
                pose2rot=False,
            )
        root_B13 = joints_BJ3[:, :1]
        keypoints_BK3 = torch.cat([joints_BJ3, vertices_BM3], dim=1)[:, self.keypoint_ids_K]
        return BodyOutput(vertices_BM3[:, self.vertex_ids_V] - root_B13, keypoints_BK3 - root_B13)


def _floats(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
