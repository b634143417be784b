"""All settings of a mining run: one section for each module that has any, overridden by `--set
section.key=value`.
"""

from dataclasses import dataclass, field

from mining.candidates import CandidateConfig
from mining.crop import CropConfig
from mining.decoding.video import DecodeConfig
from mining.detect import DetectConfig
from mining.geometry.associate import AssociateConfig
from mining.geometry.track import TrackConfig
from mining.probe import SplitConfig
from mining.redundancy import RedundancyConfig
from mining.score import ScoreConfig
from mining.segment import SampleConfig


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """The sections, in the order in which footage meets them."""

    split: SplitConfig = field(default_factory=SplitConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    associate: AssociateConfig = field(default_factory=AssociateConfig)
    redundancy: RedundancyConfig = field(default_factory=RedundancyConfig)
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
