"""All settings of a mining run: one section for each module that has any, overridden by `--set
section.key=value`.
"""

from dataclasses import dataclass, field

from mining.calibration.complete import CalibrateConfig
from mining.cropping.crop import CropConfig
from mining.decoding.video import DecodeConfig
from mining.detecting.config import DetectConfig
from mining.identity.fits import AssociateConfig
from mining.identity.track import TrackConfig
from mining.labelling.config import LabelConfig
from mining.pairing.candidates import CandidateConfig
from mining.pairing.redundancy import RedundancyConfig
from mining.pairing.score import ScoreConfig
from mining.segment import SampleConfig
from mining.sync import SyncConfig


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How captures without a given split are divided."""

    val_share: float = 0.1  # of subjects (or captures, where no subject is named), by hash

    def __post_init__(self) -> None:
        """Raise ValueError for what is no share."""
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"split.val_share is a share from 0 to 1, got {self.val_share}")


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """The sections, in the order in which footage meets them."""

    split: SplitConfig = field(default_factory=SplitConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    detect: DetectConfig = field(default_factory=DetectConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    associate: AssociateConfig = field(default_factory=AssociateConfig)
    redundancy: RedundancyConfig = field(default_factory=RedundancyConfig)
    candidates: CandidateConfig = field(default_factory=CandidateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
