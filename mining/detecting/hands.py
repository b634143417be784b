"""Hands in one frame, each with 21 keypoints and its side: at the wrists of bodies, or anywhere.

The default finder uses Google's hand networks (Apache-2.0). One from another package is named by
its entry point in the group `crosspairs.hand_finders`: a callable that takes a DetectConfig and
returns a HandFinder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mining.detecting.config import DetectConfig
from mining.plugins import find_plugin, plugin_names
from mining.sources.base import Detection, Part

GROUP = "crosspairs.hand_finders"  # entry points of other packages
OURS = ("default", "the path of a .task file on this machine")


@dataclass(frozen=True, kw_only=True)
class HandReject:
    """A wrist at which no hand was confirmed: the body's place in the bodies given, which hand.

    `reason` is `small_hand` (too few pixels to look at), `no_hand`, `other_hand` (one that is not
    at this wrist), `handedness` (one of the other side) or `same_hand` (one that fits another wrist
    better); `detail` is the figure that decided.
    """

    body: int
    part: Part
    reason: str
    detail: str


class HandFinder(Protocol):
    """Finds hands in RGB images (H, W, 3)."""

    def at_wrists(
        self, image: NDArray[np.uint8], bodies: Sequence[Detection]
    ) -> tuple[list[Detection], list[HandReject]]:
        """Find the hands of bodies: at most one `left_hand` and one `right_hand` each, whose `body`
        is the place in `bodies`, and why there is none at the other wrists that were seen.
        """

    def everywhere(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Find hands whose bodies are not known, most confident first."""


def make_hand_finder(config: DetectConfig) -> HandFinder:
    """Build the configured hand finder; its model is loaded when the first frame comes.

    Raises ValueError, naming those there are, for an unknown one.
    """
    is_google = config.hand_model == "default" or Path(config.hand_model).expanduser().is_file()
    if config.hand_model in plugin_names(GROUP) or not is_google:
        unknown = f"detect.hand_model={config.hand_model}: unknown"
        make = find_plugin(GROUP, config.hand_model, unknown, OURS)
        finder: HandFinder = make(config)
        return finder
    from mining.detecting.google_hands import GoogleHandFinder

    return GoogleHandFinder(config)
