"""Left hands as right hands: an image flipped left to right, and what its labels become.

The flip turns x of the camera's axes around. A left hand seen in a flipped image is a right hand,
with rotations and points that are mirrored in x; its shape values stay. The same functions turn a
prediction for the flipped image back into one of the left hand.
"""

from torch import Tensor


def mirror_points(points: Tensor) -> Tensor:
    """Points, vertices or translations (..., 3) mirrored in x."""
    return points * points.new_tensor([-1.0, 1.0, 1.0])


def mirror_axis_angles(axis_angles: Tensor) -> Tensor:
    """Axis-angles (..., 3), in radians, of the mirrored body: M R M, where M turns x around."""
    return axis_angles * axis_angles.new_tensor([1.0, -1.0, -1.0])
