"""What is looked for in the frames, and by which models."""

from dataclasses import dataclass

from mining.sources.base import PartGroup


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Which models look at the frames, and what they keep."""

    parts: tuple[PartGroup, ...] = ("body", "hands")  # `hands` alone: no bodies are in the frames
    detector: str = "ultralytics"  # or the name of an entry point in `crosspairs.detectors`
    weights: str = "default"  # `default`, or the path of a weights file
    confidence: float = 0.4  # people below it are not reported
    input_px: int = 640  # longer side of the network's input
    device: str = "auto"  # `auto`, `cpu`, `cuda` or `cuda:N`
    hand_model: str = "default"  # or a .task file, or an entry point in `crosspairs.hand_finders`
    hand_confidence: float = 0.8  # hands below it are rejected, or not reported without bodies
    min_hand_px: int = 40  # side of the square to look at around a wrist: about twice the hand
    # `none`, a segmentation model's file, or an entry point in `crosspairs.segmenters`
    masks: str = "none"

    def __post_init__(self) -> None:
        """Raise ValueError for parts that are no parts, and for limits that cannot be met."""
        if not self.parts or set(self.parts) - {"body", "hands"}:
            raise ValueError(
                f"detect.parts is body, hands or both, got {', '.join(self.parts) or 'none'}"
            )
        if not 0 < self.hand_confidence < 1 or self.min_hand_px < 1:
            raise ValueError(
                "detect needs a hand_confidence between 0 and 1 and a min_hand_px of 1 or more, "
                f"got {self.hand_confidence} and {self.min_hand_px}"
            )
