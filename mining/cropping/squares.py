"""How squares are cut and stored, of crops and of labelled images alike."""

from dataclasses import dataclass

from catalog.squares import HAND_MARGIN, MARGIN, STORED_PX


@dataclass(frozen=True, kw_only=True)
class SquareConfig:
    """The stored image of a person or hand."""

    size_px: int = STORED_PX  # side of the stored image
    margin: float = MARGIN  # side of the square over the longer side of the person
    hand_margin: float = HAND_MARGIN  # the same of a hand
    jpeg_quality: int = 92  # of the stored image, 1 to 100

    def __post_init__(self) -> None:
        """Raise ValueError for squares that cannot be cut."""
        margins = (self.margin, self.hand_margin)
        if self.size_px < 16 or min(margins) <= 0 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                "stored images need size_px of 16 or more, margins above 0 and jpeg_quality of 1 "
                f"to 100, got {self.size_px}, {margins} and {self.jpeg_quality}"
            )
