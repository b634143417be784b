"""The training step, plainly written: the yardstick of the speed benchmark, with the plain model.

Image bytes go to the device and are normalized there, AdamW runs without fused kernels, and every
step waits for its loss. The loss is the trainer's, and so is the precision.

Shapes: B samples, N patches of an image, M masked ones, P values of one patch, H = W = image_px.
"""

import torch
from torch import Tensor, nn

from training.loading.pair_batch import PairBatch
from training.loss import of_kinds, patch_weights, weigh_kinds
from training.models.croco import normalize_patches, patchify
from training.models.plain import PlainCroco
from training.optimizer import OptimizerConfig
from training.run_config import PretrainConfig


def plain_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW as the trainer's, less the fused kernel."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(config.beta1, config.beta2))


def plain_losses(model: PlainCroco, batch: PairBatch, config: PretrainConfig) -> Tensor:
    """Return the loss to minimize for a batch that is on its device."""
    is_bfloat16 = config.run.precision == "bfloat16"
    a_B3HW, b_B3HW = batch.inputs()
    with torch.autocast(a_B3HW.device.type, torch.bfloat16, enabled=is_bfloat16):
        prediction_BNP = model(a_B3HW, b_B3HW, batch.visible)
    target_BNP = normalize_patches(patchify(a_B3HW, model.config.patch_px))
    loss_BN = (prediction_BNP.float() - target_BNP).square().mean(dim=2)
    share, background = config.masking.foreground_share, config.loss.background_weight
    weight_BM = patch_weights(batch.foreground, batch.masked, share, background)
    loss_B = (weight_BM * loss_BN.gather(1, batch.masked)).sum(1)
    losses_2 = of_kinds(batch.kinds, loss_B)
    return weigh_kinds(losses_2, config.loss) / weight_BM.sum().clamp(min=1e-6)


def plain_step(
    model: PlainCroco, optimizer: torch.optim.Optimizer, batch: PairBatch, config: PretrainConfig
) -> float:
    """Take one step on a batch as the loader gives it; return its loss."""
    device = next(model.parameters()).device
    loss = plain_losses(model, batch.to(device), config)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
