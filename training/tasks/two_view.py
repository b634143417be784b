"""Recover the body in the first of two images of one instant: the task `body_mesh` on features that
encoder and decoder make of both. All targets and answers are in the first image's camera.
"""

from training.tasks import body_mesh
from training.tasks.body_mesh import BodyMesh, BodyMeshConfig
from training.tasks.mesh_config import Size


def config_for(size: Size) -> BodyMeshConfig:
    """A head that suits encoders of a size."""
    return body_mesh.config_for(size)


class TwoView(BodyMesh):
    """The task `two_view`."""

    name = "two_view"
    num_images = 2
