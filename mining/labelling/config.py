"""How the images of labelled samples are cut, and which are good enough."""

from dataclasses import dataclass

from mining.cropping.squares import SquareConfig


@dataclass(frozen=True, kw_only=True)
class LabelConfig(SquareConfig):
    """Settings of stage `label`."""

    min_person_px: int = 96  # longer side of the person in the full image
    min_hand_px: int = 64  # the same of a hand
    min_inside: float = 0.4  # share of the square that lies within the image
