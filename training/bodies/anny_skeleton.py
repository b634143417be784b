"""How Anny's bones follow a pose: from rotations and a shape's rest pose to what moves the skin.

Shapes: B samples, A blend shapes, C bones, J posed bones.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.bodies.anny_rig import Part, anny


class AnnySkeleton(nn.Module):
    """The bones of a part of the body, and which of its posed bones moves each."""

    head_C3: Tensor
    head_shapes: Tensor  # (A, C * 3)
    turn_C33: Tensor  # their nearest rotations are the bones' directions in the rest pose
    turn_shapes: Tensor  # (A, C * 9)
    reference_C33: Tensor  # the bones' directions in the reference pose
    parent_C: Tensor
    path_CC: Tensor  # 1 for each bone from the root to a bone, itself included
    mover_C: Tensor  # the nearest posed bone at or above a bone
    above_J: Tensor  # the nearest posed bone above a posed one; the root's is itself
    place_J: Tensor  # among the bones
    path_JJ: Tensor
    by_depth_J: Tensor
    rank_J: Tensor  # the place of a joint in that order
    follow_J: Tensor  # the place, among those one level up, of the joint above

    def __init__(self, part: Part) -> None:
        """Cut Anny's bones to the part's."""
        super().__init__()
        model = anny()
        bones, posed = part.bones, part.posed
        self.keep("head_C3", model.template_bone_heads[bones])
        self.keep("head_shapes", model.bone_heads_blendshapes[:, bones].flatten(1))
        self.keep("turn_C33", model.bone_template_orientation_matrices[bones])
        self.keep("turn_shapes", model.bone_orientation_blendshapes[:, bones].flatten(1))
        self.keep("reference_C33", model.reference_bone_orientations[bones])

        # Anny lists parents before their children, and the root of a part is its first bone.
        parents = [bones.index(model.bone_parents[bone]) for bone in bones[1:]]
        parents = [0, *parents]
        path_CC = torch.eye(len(bones))
        for bone, parent in enumerate(parents[1:], start=1):
            path_CC[bone] += path_CC[parent]
        joint_of = {bones.index(bone): joint for joint, bone in enumerate(posed)}
        movers: list[int] = []
        for bone, parent in enumerate(parents):
            movers.append(joint_of[bone] if bone in joint_of else movers[parent])
        places = [bones.index(bone) for bone in posed]
        above = [0 if place == 0 else movers[parents[place]] for place in places]
        self.keep("parent_C", torch.tensor(parents))
        self.keep("path_CC", path_CC)
        self.keep("mover_C", torch.tensor(movers))
        self.keep("place_J", torch.tensor(places))
        self.keep("above_J", torch.tensor(above))
        self.keep("path_JJ", path_CC[places][:, places])

        # Joints at the same depth turn together.
        depth_J = self.path_JJ.sum(1).long() - 1
        by_depth = depth_J.argsort(stable=True)
        self.ends = depth_J.bincount().cumsum(0).tolist()  # of each depth, in that order
        rank_J = by_depth.argsort()
        self.keep("by_depth_J", by_depth)
        self.keep("rank_J", rank_J)
        before = torch.tensor([0, 0, *self.ends])[depth_J]  # where the depth above begins
        self.keep("follow_J", (rank_J[self.above_J] - before)[by_depth])

    def keep(self, name: str, tensor: Tensor) -> None:
        """Hold a constant that follows the model to its device and stays out of checkpoints."""
        self.register_buffer(name, tensor, persistent=False)

    def forward(self, rotations_BJ33: Tensor, blend_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Each bone's rotation and shift of what it moves.

        Every shape's rest pose is first brought to the reference pose, bone by bone, where all
        bones have the directions that rotations are relative to.
        """
        import roma

        head_BC3 = self.head_C3 + (blend_BA @ self.head_shapes).unflatten(1, (-1, 3))
        turn_BC33 = self.turn_C33 + (blend_BA @ self.turn_shapes).unflatten(1, (-1, 3, 3))
        rest_BC33 = roma.special_procrustes(turn_BC33)
        align_BC33 = self.reference_C33 @ rest_BC33.transpose(2, 3)
        offset_BC3 = _turned(align_BC33[:, self.parent_C], head_BC3 - head_BC3[:, self.parent_C])
        reference_BC3 = self.path_CC @ offset_BC3  # heads in the reference pose, the root's is 0

        joint_BJ3 = reference_BC3[:, self.place_J]
        global_BJ33 = self.chain(rotations_BJ33)
        steps_BJ3 = _turned(global_BJ33[:, self.above_J], joint_BJ3 - joint_BJ3[:, self.above_J])
        posed_BJ3 = self.path_JJ @ steps_BJ3

        mover_BC33 = global_BJ33[:, self.mover_C]
        from_joint_BC3 = reference_BC3 - joint_BJ3[:, self.mover_C]
        posed_BC3 = posed_BJ3[:, self.mover_C] + _turned(mover_BC33, from_joint_BC3)
        whole_BC33 = mover_BC33 @ align_BC33
        return whole_BC33, posed_BC3 - _turned(whole_BC33, head_BC3)

    def chain(self, rotations_BJ33: Tensor) -> Tensor:
        """Rotations relative to the joint above, multiplied down the tree."""
        ordered_BJ33 = rotations_BJ33[:, self.by_depth_J]
        levels = [ordered_BJ33[:, :1]]
        for start, end in pairwise(self.ends):
            above_BJ33 = levels[-1][:, self.follow_J[start:end]]
            levels.append(above_BJ33 @ ordered_BJ33[:, start:end])
        return torch.cat(levels, dim=1)[:, self.rank_J]


def _turned(rotations: Tensor, vectors: Tensor) -> Tensor:
    return (rotations @ vectors[..., None])[..., 0]
