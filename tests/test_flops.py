"""The formula against torch's own count of what runs, and GPUs by the names drivers give them."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from training import presets
from training.flops import flops_per_pair, peak_flops, peak_of_gpu
from training.loading.masking import num_masked
from training.models.croco import Croco, CrocoConfig

SMALL = dict(
    image_px=48, patch_px=8, encoder_depth=2, encoder_width=48, encoder_heads=4,
    decoder_depth=3, decoder_width=32, decoder_heads=2,
)  # fmt: skip


def counted(config: CrocoConfig, masked: int) -> float:
    """Run one training step on a pair, the attention as plain products, and count."""
    with torch.device("meta"):
        model = Croco(config)
        a, b = torch.empty(2, 1, 3, config.image_px, config.image_px)
        visible = torch.empty(1, config.grid**2 - masked, dtype=torch.int64)
        hidden = torch.empty(1, masked, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        completion = model(a, b, visible, hidden)
        loss = completion.loss_BM.mean()
        if completion.keypoints_BNK3 is not None:
            loss = loss + completion.keypoints_BNK3.mean()
        loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("positions", ["rope", "sincos"])
@pytest.mark.parametrize("masked", [4, 30])
def test_the_formula_counts_what_runs(positions, masked):
    config = CrocoConfig(**SMALL, mlp_ratio=3.0, positions=positions)
    assert flops_per_pair(config, masked) == counted(config, masked)


@pytest.mark.parametrize("second_image", [False, True])
@pytest.mark.parametrize("keypoint_head", [False, True])
def test_the_formula_knows_the_variations(second_image, keypoint_head):
    config = CrocoConfig(**SMALL, second_image=second_image, keypoint_head=keypoint_head)
    assert flops_per_pair(config, 30) == counted(config, 30)


def test_the_formula_holds_at_full_size():
    config = presets.croco_v2_small().model
    masked = num_masked(config.grid**2, 0.9)
    assert flops_per_pair(config, masked) == counted(config, masked)


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4e12),
        ("NVIDIA H100 80GB HBM3", "tfloat32", 494.7e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H200", "bfloat16", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA A100-PCIE-40GB", "float32", 19.5e12),
        ("NVIDIA A10", "bfloat16", 125e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2e12),
        ("NVIDIA B200", "bfloat16", 2250e12),
        ("Tesla V100-SXM2-16GB", "float16", 125e12),
        ("Tesla V100-SXM2-16GB", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "tfloat32", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bfloat16", None),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA GeForce RTX 4090 D", "bfloat16", None),
        ("Some New GPU", "bfloat16", None),
    ],
)
def test_gpus_are_known_by_name(name, precision, peak):
    assert peak_of_gpu(name, precision) == peak


def test_a_cpu_has_no_known_peak():
    assert peak_flops(torch.device("cpu"), "bfloat16") is None


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="unknown precision 'int3'; choose one of bfloat16"):
        peak_of_gpu("NVIDIA H100 PCIe", "int3")
