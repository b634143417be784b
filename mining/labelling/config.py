"""How the images of labelled samples are cut, and which are good enough."""

from dataclasses import dataclass

from catalog.squares import HAND_MARGIN, MARGIN, STORED_PX


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """Settings of stage `label`."""

    size_px: int = STORED_PX  # side of the stored image
    margin: float = MARGIN  # side of the square over the longer side of the person
    hand_margin: float = HAND_MARGIN  # the same of a hand
    jpeg_quality: int = 92  # of the stored image, 1 to 100
    min_person_px: int = 96  # longer side of the person in the full image
    min_hand_px: int = 64  # the same of a hand
    min_inside: float = 0.4  # share of the square that lies within the image

    def __post_init__(self) -> None:
        """Raise ValueError for crops that cannot be made."""
        margins = (self.margin, self.hand_margin)
        if self.size_px < 16 or min(margins) <= 0 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                "labelled images need size_px of 16 or more, margins above 0 and jpeg_quality of "
                f"1 to 100, got {self.size_px}, {margins} and {self.jpeg_quality}"
            )
