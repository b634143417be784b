"""Labels of random bodies and hands in front of a camera, true by construction."""

from dataclasses import replace

import numpy as np
import torch

from shards.labels import Body, ImageLabel, Label
from training.bodies.model import BodyModel
from training.bodies.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from training.loading.placed import Placed, Placement
from training.tasks.mesh_task import MeshTask
from training.tasks.task import EncoderSize, Features, Targets

STORED_PX, IMAGE_PX = 128, 64
FOCAL_PX = 400.0
SIZE = EncoderSize(width=32, grid=4, image_px=IMAGE_PX)


def random_label(body: BodyModel, seed: int, part: str, depth_m: float) -> Label:
    """A body in a random pose whose root joint is near the middle of the image."""
    generator = torch.Generator().manual_seed(seed)
    turns_J3 = 0.4 * torch.randn(body.num_joints, 3, generator=generator)
    shape_S = body.mean_shape_S + 0.1 * torch.randn(body.num_shape, generator=generator)
    rotations_J33 = axis_angle_to_matrix(turns_J3) @ body.mean_rotations_J33
    root_m = np.array([0.03, -0.02, depth_m])
    keypoints_K3 = body(rotations_J33[None], shape_S[None]).keypoints_BK3[0].double().numpy()
    joints_m = np.column_stack([keypoints_K3 + root_m, np.ones(len(keypoints_K3))])
    camera = np.array([[FOCAL_PX, 0, 70.0], [0, FOCAL_PX, 60.0], [0, 0, 1]])
    seen = joints_m[:, :3] @ camera.T
    keypoints_px = np.column_stack([seen[:, :2] / seen[:, 2:], np.ones(len(seen))])
    return Label(
        label_id=f"sample{seed}",
        dataset="made",
        kind="single",
        part=part,
        split="train",
        images=(
            ImageLabel(
                source="made",
                box_px=np.array([0.0, 0, 128, 128]),
                person_box_px=np.array([10.0, 10, 118, 118]),
                keypoints_px=keypoints_px,
                joints_cam_m=joints_m,
                pixels_from_cam=camera,
                body=Body(
                    model=body.name,
                    pose_rad=matrix_to_axis_angle(rotations_J33).double().numpy(),
                    shape=shape_S.double().numpy(),
                    translation_m=root_m,
                ),
            ),
        ),
    )


def place(image: ImageLabel, **placement: float | bool) -> Placed:
    """Put a label's image into the model's."""
    return Placed(
        label=image,
        placement=Placement(**placement),
        stored_px=STORED_PX,
        image_px=IMAGE_PX,
    )


def without(label: Label, *names: str) -> Label:
    """The label, less some of what is known of its image."""
    image = replace(label.images[0], **dict.fromkeys(names))
    return replace(label, images=(image,))


def targets_of(task: MeshTask, labels: list[Label], **placement: float | bool) -> Targets:
    """The targets of a batch."""
    rows = [task.target(label, [place(label.images[0], **placement)]) for label in labels]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def random_features(count: int) -> Features:
    """Tokens that tell samples apart, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(count, SIZE.grid**2, SIZE.width, generator=generator)
    return Features(tokens, (tokens,) * 4)
