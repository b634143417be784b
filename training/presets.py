"""Ready-made pre-training configs: a preset says how large the model is and how it is trained, a
method what it is asked to complete from what. `--set` changes single values.

`tiny`, `small`, `base` and `large` are made for people: what both images of a pair share besides
the person, as the background of a fixed camera, cannot be copied. `croco_*` are as published.

Each is one function; every method goes with every preset, with the same data and budget.
"""

from collections.abc import Callable
from dataclasses import replace

from training.loading.augment import AugmentConfig
from training.loading.loader import LoaderConfig
from training.loading.masking import MaskingConfig
from training.loss import LossConfig
from training.models.croco import CrocoConfig
from training.optimizer import OptimizerConfig
from training.run_config import PretrainConfig, RunConfig

KEYPOINT_WEIGHT = 0.1  # of the second loss, where keypoints are asked for
MAE_MASK_RATIO = 0.75  # MAE's own
SIAMMAE_MASK_RATIO = 0.95  # of the future frame


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
        run=RunConfig(
            minutes=8.0, log_every=100, evaluate_every=400, pictures_every=400, checkpoint_every=400
        ),
    )


def small() -> PretrainConfig:
    """A 26 M parameter model (ViT-S encoder) of 128 px images for an hour of one GPU."""
    config = PretrainConfig(
        model=CrocoConfig(
            image_px=128,
            patch_px=8,
            encoder_depth=12,
            encoder_width=384,
            encoder_heads=6,
            decoder_depth=4,
            decoder_width=256,
            decoder_heads=8,
        ),
        masking=MaskingConfig(ratio=0.9),
        augment=AugmentConfig(crop_share=0.75, jitter=0.3),
        loader=LoaderConfig(batch_size=256, num_workers=12),
        optimizer=OptimizerConfig(
            base_lr=6e-4, warmup_share=0.05, cosine_stretch=1.0, clip_grad_norm=1.0
        ),
        run=RunConfig(
            minutes=60.0, precision="bfloat16", evaluate_every=1000, pictures_every=2000
        ),
    )  # fmt: skip
    return _for_people(config)


def base() -> PretrainConfig:
    """`croco_v2_base` made for people, and compiled."""
    return _for_people(croco_v2_base())


def large() -> PretrainConfig:
    """`croco_v2_large` made for people, and compiled."""
    return _for_people(croco_v2_large())


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


def _for_people(config: PretrainConfig) -> PretrainConfig:
    """Masks lean to the person, backgrounds go, so does the loss there; either image is masked.

    The model is compiled, as for long runs.
    """
    return replace(
        config,
        masking=replace(config.masking, focus=0.5, foreground_share=0.5),
        augment=replace(config.augment, background="grey"),
        loss=replace(config.loss, background_weight=0.0),
        loader=replace(config.loader, roles="random"),
        run=replace(config.run, compile=True),
    )


def both(config: PretrainConfig) -> PretrainConfig:
    """Cross-view and cross-pose completion: the method this project is for."""
    return config


def cross_view(config: PretrainConfig) -> PretrainConfig:
    """Cross-view completion alone, as CroCo."""
    return replace(config, loader=replace(config.loader, kinds=("cross_view=1",)))


def cross_pose(config: PretrainConfig) -> PretrainConfig:
    """Cross-pose completion alone."""
    return replace(config, loader=replace(config.loader, kinds=("cross_pose=1",)))


def mae(config: PretrainConfig) -> PretrainConfig:
    """MAE: 75 % of one image is completed from the rest of it; the second image is not looked at.

    The decoder lacks its cross-attention and is otherwise as large.
    """
    return replace(
        config,
        model=replace(config.model, second_image=False),
        masking=replace(config.masking, ratio=MAE_MASK_RATIO),
    )


def siammae(config: PretrainConfig) -> PretrainConfig:
    """SiamMAE's task: 95 % of a later moment is completed with the help of an earlier one."""
    return replace(
        config,
        masking=replace(config.masking, ratio=SIAMMAE_MASK_RATIO),
        loader=replace(config.loader, kinds=("cross_pose=1",), roles="later_first"),
    )


def with_keypoints(config: PretrainConfig) -> PretrainConfig:
    """Find the mined 2D keypoints of the second image, too, as a second loss."""
    return replace(
        config,
        model=replace(config.model, keypoint_head=True),
        loss=replace(config.loss, keypoint_weight=KEYPOINT_WEIGHT),
    )


PRESETS: dict[str, Callable[[], PretrainConfig]] = {
    preset.__name__: preset
    for preset in (
        *(tiny, small, base, large),
        *(croco_v1_base, croco_v2_small, croco_v2_base, croco_v2_large),
    )
}
METHODS: dict[str, Callable[[PretrainConfig], PretrainConfig]] = {
    method.__name__: method for method in (both, cross_view, cross_pose, mae, siammae)
}


def compose(preset: str, method: str = "both", keypoints: bool = False) -> PretrainConfig:
    """Return the config of a preset and a method, by name. Raises ValueError, naming the valid
    ones.
    """
    for what, name, known in (("preset", preset, PRESETS), ("method", method, METHODS)):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; choose one of {', '.join(known)}")
    config = METHODS[method](PRESETS[preset]())
    return with_keypoints(config) if keypoints else config
