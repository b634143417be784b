"""The Anny body and its right hand as body models: linear blend skinning in plain torch.

It computes what the package's own forward does, for the bones, vertices and keypoints that are
asked for: a thousand vertices of a body cost a fraction of all 13,718, and keypoints need none.
Shape values are Anny's phenotypes, from 0 to 1; beyond those they are held, and have no gradient.

Shapes: as in `anny_rig`; B samples, S shape values.
"""

import torch
from torch import Tensor

from catalog.anny_bones import HAND_BONES, PHENOTYPES, POSED_BONES
from catalog.keypoints import COCO_KEYPOINTS, HAND_KEYPOINTS
from training.bodies.anny_rig import Part, anny, keypoint_pieces, right_hand, whole_body
from training.bodies.anny_skeleton import AnnySkeleton
from training.bodies.model import BodyModel, BodyOutput

# In the order of PHENOTYPES: a middling adult.
MEAN_SHAPE = (0.5, 0.75, 0.53, 0.48, 0.42, 0.6)
# From Anny's axes (x to the person's left, z up, facing -y) to those of a camera that is faced.
FACING = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


class AnnyBody(BodyModel):
    """A part of the Anny body. The root joint is the part's first posed bone, at its head."""

    template_V3: Tensor
    vertex_shapes: Tensor  # (A, V * 3)
    skinning_VC: Tensor
    piece_bone_P: Tensor
    piece_mass_P: Tensor
    piece_place_P3: Tensor
    piece_shapes: Tensor  # (A, P * 3)
    collect_KP: Tensor
    phenotype_mask: Tensor
    phenotype_basis: Tensor

    def __init__(self, name: str, part: Part) -> None:
        """Cut the model to a part.

        Raises ValueError for a version of Anny with other shape values.
        """
        super().__init__()
        model = anny()
        if tuple(model.phenotype_labels) != PHENOTYPES:
            raise ValueError(
                f"this version of Anny has the shape values {', '.join(model.phenotype_labels)}, "
                f"and {', '.join(PHENOTYPES)} are needed: install the version that is pinned"
            )
        self.name = name
        self.keep("faces_F3", torch.from_numpy(part.faces))
        self.keep("vertex_ids_V", torch.arange(len(part.vertices)))
        self.keep("template_V3", model.template_vertices[part.vertices])
        self.keep("vertex_shapes", model.blendshapes[:, part.vertices].flatten(1))
        weights = model.dense_vertex_bone_weights[:, part.bones]
        self.keep("skinning_VC", weights[part.vertices])
        self.skeleton = AnnySkeleton(part)
        keypoint_P, bone_P, mass_P, place_P3, moved_AP3 = keypoint_pieces(part)
        self.keep("piece_bone_P", bone_P)
        self.keep("piece_mass_P", mass_P)
        self.keep("piece_place_P3", place_P3)
        self.keep("piece_shapes", moved_AP3.flatten(1))
        collect_KP = torch.arange(len(part.keypoint_bones))[:, None] == keypoint_P
        self.keep("collect_KP", collect_KP.float())
        self.keep("phenotype_mask", model.stacked_phenotype_blend_shapes_mask)
        self.keep("phenotype_basis", model.phenotype_blendshape_projection)
        self.keep("mean_shape_S", torch.tensor(MEAN_SHAPE))

    def keep_vertices(self, vertex_ids_V: Tensor) -> None:
        """Give these vertices of the mesh alone, and compute no others."""
        super().keep_vertices(vertex_ids_V)
        shapes = self.vertex_shapes.unflatten(1, (-1, 3))[:, vertex_ids_V]
        self.keep("template_V3", self.template_V3[vertex_ids_V])
        self.keep("vertex_shapes", shapes.flatten(1))
        self.keep("skinning_VC", self.skinning_VC[vertex_ids_V])

    def forward(self, rotations_BJ33: Tensor, shape_BS: Tensor) -> BodyOutput:
        """Pose bodies; in float32 also under autocast, which would cost millimetres."""
        with torch.autocast(rotations_BJ33.device.type, enabled=False):
            dtype = self.template_V3.dtype
            return self._pose(rotations_BJ33.to(dtype), shape_BS.to(dtype))

    def _pose(self, rotations_BJ33: Tensor, shape_BS: Tensor) -> BodyOutput:
        blend_BA = self._blend(shape_BS)
        turn_BC33, shift_BC3 = self.skeleton(rotations_BJ33, blend_BA)
        rest_BV3 = self.template_V3 + (blend_BA @ self.vertex_shapes).unflatten(1, (-1, 3))
        transform_BC12 = torch.cat([turn_BC33.flatten(2), shift_BC3], dim=2)
        transform_BV12 = self.skinning_VC @ transform_BC12
        turn_BV33 = transform_BV12[..., :9].unflatten(2, (3, 3))
        vertices_BV3 = (turn_BV33 * rest_BV3[:, :, None]).sum(3) + transform_BV12[..., 9:]
        moment_BP3 = self.piece_place_P3 + (blend_BA @ self.piece_shapes).unflatten(1, (-1, 3))
        turn_BP33, shift_BP3 = turn_BC33[:, self.piece_bone_P], shift_BC3[:, self.piece_bone_P]
        pieces_BP3 = (turn_BP33 * moment_BP3[:, :, None]).sum(3)
        pieces_BP3 = pieces_BP3 + self.piece_mass_P[:, None] * shift_BP3
        return BodyOutput(vertices_BV3, self.collect_KP @ pieces_BP3)

    def _blend(self, shape_BS: Tensor) -> Tensor:
        """How much of each blend shape makes the shapes."""
        from anny.models.phenotype import make_phenotype_anchors, phenotype_blendshape_weights

        anchors = make_phenotype_anchors(shape_BS.dtype, shape_BS.device)
        weights = phenotype_blendshape_weights(
            shape_BS, list(PHENOTYPES), anchors, self.phenotype_mask, extrapolate=False
        )
        return weights @ self.phenotype_basis


def make_anny() -> AnnyBody:
    """The whole body with its fingers; 58 joints. Raises ValueError when Anny is not installed."""
    body = AnnyBody("anny", whole_body())
    body.joint_names, body.keypoint_names = POSED_BONES, COCO_KEYPOINTS
    facing = torch.eye(3).repeat(len(POSED_BONES), 1, 1)
    facing[0] = torch.tensor(FACING)
    body.keep("mean_rotations_J33", facing)
    return body


def make_anny_hand() -> AnnyBody:
    """The right hand; 16 joints. Left hands are right hands mirrored (`loading/placed.py`)."""
    hand = AnnyBody("anny_hand", right_hand())
    hand.joint_names, hand.keypoint_names = HAND_BONES, HAND_KEYPOINTS
    hand.keep("mean_rotations_J33", torch.eye(3).repeat(len(HAND_BONES), 1, 1))
    return hand
