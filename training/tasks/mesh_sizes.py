"""Sizes of mesh tasks that suit sizes of encoders."""

from training.heads.query_decoder import QueryDecoderConfig

DECODERS = {
    "tiny": QueryDecoderConfig(width=128, depth=2, heads=4),
    "small": QueryDecoderConfig(width=256, depth=3, heads=4),
    "base": QueryDecoderConfig(width=512, depth=4, heads=8),
}
VERTICES = {"tiny": 431, "small": 1024, "base": 2048}  # in the losses
