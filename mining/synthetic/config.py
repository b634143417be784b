"""Settings of synthetic captures; every field is part of what is rendered, so it is part of a
view's uri.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What to render. The same config and capture index give the same pixels in any process of one
    machine.

    `motion`: `random` gives every time independent poses, places and headings (for cross-pose
    pairs), `smooth` lets people walk in circles around the scene's centre while their poses change
    slowly (for tracking), `crossing` lets them walk through the middle, so that they pass close by
    each other. `background`: `per_image` draws a new one for every image, because a fixed one is a
    shortcut for training; `static` keeps one for each camera. `wardrobe`: `uniform` gives everybody
    in a capture the same clothes, skin and hair. `clock`: `skewed` gives each camera a frame rate
    of its own (0.8 to 1.25 times `fps`), a start up to `max_offset_s` after the first camera's, and
    lets it lose `dropped_share` of its frames.
    """

    seed: int = 0
    people_per_capture: int = 1
    num_views: int = 3
    num_frames: int = 3  # times in each capture
    fps: float = 2.0
    motion: Literal["random", "smooth", "crossing"] = "random"
    background: Literal["per_image", "static"] = "per_image"
    wardrobe: Literal["varied", "uniform"] = "varied"
    clock: Literal["shared", "skewed"] = "shared"
    max_offset_s: float = 0.5
    dropped_share: float = 0.0
    image_px: tuple[int, ...] = (192,)  # one number for a square, or width and height
    min_spread_deg: float = 20.0  # azimuth between neighbouring cameras of the ring
    max_spread_deg: float = 60.0
    min_fov_deg: float = 28.0  # field of view across the image's shorter side
    max_fov_deg: float = 55.0
    max_camera_height_m: float = 2.4
    min_fill: float = 0.8  # how much of the image the scene's extent takes: 1 touches the edges
    max_fill: float = 1.0

    def check(self) -> None:
        """Raise ValueError, naming the field, for values that nothing can be rendered from.

        Not done on construction: overrides come one field at a time, and some fields bound others.
        """
        for name in ("people_per_capture", "num_views", "num_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.fps <= 0:
            raise ValueError(f"fps must be more than 0, got {self.fps}")
        if len(self.image_px) not in (1, 2) or min(self.image_px) < 16:
            raise ValueError(
                f"image_px must be one size or width and height, at least 16, got {self.image_px}"
            )
        for low, high in (
            ("min_spread_deg", "max_spread_deg"),
            ("min_fov_deg", "max_fov_deg"),
            ("min_fill", "max_fill"),
        ):
            least, most = getattr(self, low), getattr(self, high)
            if not 0 < least <= most:
                raise ValueError(
                    f"{low} must be more than 0 and at most {high}, got {least} and {most}"
                )
        if self.clock == "skewed" and self.motion == "random":
            raise ValueError("clock=skewed needs a motion that goes on between frames, not random")
        if self.max_offset_s < 0 or not 0 <= self.dropped_share < 1:
            raise ValueError(
                "max_offset_s must be at least 0 and dropped_share from 0 to below 1, got "
                f"{self.max_offset_s} and {self.dropped_share}"
            )
        if self.max_fov_deg >= 150:
            raise ValueError(f"max_fov_deg must be less than 150, got {self.max_fov_deg}")
        if self.max_camera_height_m < 0.7:
            raise ValueError(
                f"max_camera_height_m must be at least 0.7, got {self.max_camera_height_m}"
            )

    @property
    def width_px(self) -> int:
        """Width of every image in pixels."""
        return self.image_px[0]

    @property
    def height_px(self) -> int:
        """Height of every image in pixels."""
        return self.image_px[-1]


def training_scenes() -> SyntheticConfig:
    """What `DATASET=synthetic` renders: three people in many stances, seen by four cameras at four
    moments.
    """
    return SyntheticConfig(
        people_per_capture=3, num_views=4, num_frames=4, image_px=(384,), max_spread_deg=70.0
    )


def quality_scenes() -> SyntheticConfig:
    """The test bed of the whole of mining: three people who walk past each other for 6 s, seen by
    six cameras all around that do not move, with room enough to see hands.
    """
    return SyntheticConfig(
        seed=59,
        people_per_capture=3,
        num_views=6,
        num_frames=60,
        fps=10.0,
        motion="crossing",
        background="static",
        image_px=(720,),
        min_spread_deg=50.0,
        max_spread_deg=70.0,
        min_fill=0.95,
        max_fill=1.1,
    )


SCENES = {"single": SyntheticConfig, "training": training_scenes, "quality": quality_scenes}
