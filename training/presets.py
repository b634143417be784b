"""Ready-made pre-training configs: one function each, returning a typed config. `--set` changes
single values.
"""

from collections.abc import Callable

from training.loading.augment import AugmentConfig
from training.loading.loader import LoaderConfig
from training.loading.masking import MaskingConfig
from training.loss import LossConfig
from training.models.croco import CrocoConfig
from training.optimizer import OptimizerConfig
from training.run_config import PretrainConfig, RunConfig


def tiny() -> PretrainConfig:
    """A 2 M parameter model of 64 px images for two CPU cores; learns in minutes.

    Chosen on 2,000 synthetic identities (24,000 pairs): with small batches, few visible patches, a
    grey background and a loss on the person alone, the second image is used after 200 steps. After
    800, held-out foreground losses are 0.80 (true second image) and 0.88 (wrong one); with batches
    of 64, mask ratio 0.8 and as many pairs, 0.81 and 0.85.
    """
    return PretrainConfig(
        model=CrocoConfig(
            image_px=64,
            patch_px=8,
            encoder_depth=6,
            encoder_width=128,
            encoder_heads=4,
            decoder_depth=4,
            decoder_width=128,
            decoder_heads=4,
        ),
        masking=MaskingConfig(ratio=0.9, foreground_share=0.5),
        augment=AugmentConfig(crop_share=0.75, jitter=0.2, background="grey"),
        loss=LossConfig(background_weight=0.0),
        loader=LoaderConfig(batch_size=32, num_workers=0, roles="random"),
        optimizer=OptimizerConfig(base_lr=1.2e-2, cosine_stretch=1.0),
        run=RunConfig(minutes=8.0, log_every=100, evaluate_every=400, checkpoint_every=400),
    )


def croco_v1_base() -> PretrainConfig:
    """CroCo v1: ViT-B encoder, sine-cosine positions, 120 M parameters; 400 epochs of batch 256."""
    return PretrainConfig(
        model=CrocoConfig(positions="sincos"),
        loader=LoaderConfig(batch_size=256),
        optimizer=OptimizerConfig(warmup_share=40 / 400, cosine_stretch=800 / 400),
        run=RunConfig(epochs=400, precision="bfloat16"),
    )


def croco_v2_small() -> PretrainConfig:
    """CroCo v2: ViT-B encoder, small decoder, 120 M parameters; 125 epochs of batch 512."""
    return _croco_v2(CrocoConfig())


def croco_v2_base() -> PretrainConfig:
    """CroCo v2: ViT-B encoder, base decoder, 200 M parameters; 125 epochs of batch 512."""
    return _croco_v2(CrocoConfig(decoder_depth=12, decoder_width=768, decoder_heads=12))


def croco_v2_large() -> PretrainConfig:
    """CroCo v2: ViT-L encoder, base decoder, 418 M parameters; 125 epochs of batch 512."""
    return _croco_v2(
        CrocoConfig(
            encoder_depth=24,
            encoder_width=1024,
            encoder_heads=16,
            decoder_depth=12,
            decoder_width=768,
            decoder_heads=12,
        )
    )


def _croco_v2(model: CrocoConfig) -> PretrainConfig:
    return PretrainConfig(
        model=model,
        loader=LoaderConfig(batch_size=512),
        optimizer=OptimizerConfig(warmup_share=12 / 125, cosine_stretch=250 / 125),
        run=RunConfig(epochs=125, precision="bfloat16"),
    )


PRESETS: dict[str, Callable[[], PretrainConfig]] = {
    preset.__name__: preset
    for preset in (tiny, croco_v1_base, croco_v2_small, croco_v2_base, croco_v2_large)
}
