"""How much arithmetic a training step is, and how much a GPU can do: their quotient with the rate
of pairs is the model FLOPs utilization (MFU), flops_per_pair * pairs_per_s / peak_flops.

Counted are matrix products and attention, a multiplication and an addition as two; norms,
activations and the optimizer are not, nor is what is computed again to save memory. So the figure
depends on the model alone, never on how it is run.
"""

import re

import torch

from training.keypoints import NUM_KEYPOINTS
from training.models.croco import CrocoConfig

# Dense peaks by the vendor's datasheets, in 1e12 FLOPs/s, at the boost clock: 16-bit products with
# 32-bit sums, TF32, and float32 without tensor cores. The first name that is found counts.
_SIXTEEN_BIT, _TF32, _FLOAT32 = range(3)
PEAKS: tuple[tuple[str, tuple[float, float | None, float]], ...] = (
    ("B200", (2250, 1125, 75)),
    ("H200 NVL", (835.5, 417.5, 60)),
    ("H200", (989.4, 494.7, 66.9)),
    ("GH200", (989.4, 494.7, 66.9)),
    ("H100 PCIe", (756, 378, 51.2)),
    ("H100 NVL", (835.5, 417.5, 60)),
    ("H100", (989.4, 494.7, 66.9)),
    ("A100", (312, 156, 19.5)),
    ("L40S", (362, 183, 91.6)),
    ("L4", (121, 60, 30.3)),
    ("A10", (125, 62.5, 31.2)),
    ("RTX 4090", (165.2, 82.6, 82.6)),
    ("RTX 3090", (71, 35.6, 35.6)),
    ("V100-PCIE", (112, None, 14)),
    ("V100", (125, None, 15.7)),
    ("T4", (65, None, 8.1)),
)
_WITHOUT_BFLOAT16 = ("V100-PCIE", "V100", "T4")
_ANOTHER_GPU = re.compile(r"Laptop|Max-Q|4090 D|\bMIG\b")  # the same name, but less of it


def flops_per_pair(config: CrocoConfig, num_masked: int) -> float:
    """Return the FLOPs of one training step per pair: forward, and twice that backward.

    `num_masked` patches of image a are hidden. The patch embedding has no gradient of its input.
    """
    patches, values = config.grid**2, 3 * config.patch_px**2
    visible = patches - num_masked
    encoder, decoder = config.encoder_width, config.decoder_width
    of_b = patches if config.second_image or config.keypoint_head else 0
    tokens = visible + of_b  # those of image a that are seen, and all of image b
    embedding = _product(tokens, values, encoder)
    encoding = config.encoder_depth * (
        _linear_layers(tokens, encoder, config.mlp_ratio)
        + _attention(visible, encoder)
        + _attention(of_b, encoder)
    )
    decoder_block = _linear_layers(patches, decoder, config.mlp_ratio)
    decoder_block += _attention(patches, decoder)
    if config.second_image:
        decoder_block += 4 * _product(patches, decoder, decoder) + _attention(patches, decoder)
    decoding = config.decoder_depth * decoder_block
    between = _product(tokens if config.second_image else visible, encoder, decoder)
    head = _product(num_masked, decoder, values)
    if config.keypoint_head:
        head += _product(patches, encoder, 3 * NUM_KEYPOINTS)
    return 2.0 * embedding + 3.0 * (encoding + between + decoding + head)


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the FLOPs a second that a device can do at most; None for one that is not known.

    `precision` is that of the matrix products: `bfloat16`, `float16`, `tfloat32` or `float32`.
    """
    if device.type != "cuda":
        return None
    return peak_of_gpu(torch.cuda.get_device_name(device), precision)


def peak_of_gpu(name: str, precision: str) -> float | None:
    """Return the peak of a GPU by the name its driver gives. Raises ValueError for an unknown
    precision.
    """
    columns = {
        "bfloat16": _SIXTEEN_BIT,
        "float16": _SIXTEEN_BIT,
        "tfloat32": _TF32,
        "float32": _FLOAT32,
    }
    if precision not in columns:
        raise ValueError(f"unknown precision {precision!r}; choose one of {', '.join(columns)}")
    if _ANOTHER_GPU.search(name):
        return None
    for gpu, peaks in PEAKS:
        if re.search(rf"\b{gpu}\b", name):
            peak = peaks[columns[precision]]
            if peak is None or (precision == "bfloat16" and gpu in _WITHOUT_BFLOAT16):
                return None
            return peak * 1e12
    return None


def _product(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def _linear_layers(tokens: int, width: int, mlp_ratio: float) -> int:
    """Of a block: queries, keys, values and their way back, and the MLP."""
    return _product(tokens, width, 4 * width) + 2 * _product(tokens, width, int(width * mlp_ratio))


def _attention(tokens: int, width: int) -> int:
    """Scores of all tokens with all, and the sums they weight."""
    return 2 * _product(tokens, width, tokens)
