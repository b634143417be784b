"""A step's losses against sums written out, and what must not change them: parts, ranks, and how
the step is computed.
"""

import copy
from dataclasses import replace

import pytest
import torch

from catalog.config import override
from tests.pair_batches import random_batch
from training.distributed import Ranks
from training.ema import WeightAverage
from training.keypoints import find_keypoints, keypoint_losses
from training.loop import stepping_of
from training.loss import of_kinds, patch_weights
from training.models.croco import Croco
from training.optimizer import make_optimizer, set_learning_rate
from training.presets import compose
from training.pretrain import objective_of
from training.run_config import PretrainConfig
from training.step import FiniteCheck, Stepper

MICRO = [
    "model.image_px=32", "model.patch_px=8", "model.encoder_depth=2", "model.encoder_width=32",
    "model.encoder_heads=2", "model.decoder_depth=2", "model.decoder_width=32",
    "model.decoder_heads=2", "loss.background_weight=0.5", "loss.pose_weight=2",
]  # fmt: skip


def micro(*settings: str, method: str = "both", keypoints: bool = False) -> PretrainConfig:
    return override(compose("tiny", method, keypoints), [*MICRO, *settings])


def make_stepper(config: PretrainConfig, model: Croco | None = None, rate: float = 1e-3) -> Stepper:
    if model is None:
        torch.manual_seed(0)
        model = Croco(config.model)
    optimizer = make_optimizer(model, config.optimizer)
    set_learning_rate(optimizer, rate)
    average = WeightAverage(model, config.optimizer.ema) if config.optimizer.ema else None
    stepper = Stepper(model, optimizer, average, objective_of(config), stepping_of(config), Ranks())
    stepper.model, stepper.average = model, average
    return stepper


def gradients(stepper: Stepper) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in stepper.model.named_parameters()}


def test_losses_are_weighted_by_patch_and_kind():
    loss = torch.tensor([[1.0, 3.0], [5.0, 7.0], [2.0, 4.0]])
    foreground = torch.tensor([[0.9, 0.0, 0.1], [0.6, 0.5, 0.9], [0.0, 0.0, 0.0]])
    masked = torch.tensor([[0, 2], [0, 1], [1, 2]])
    kinds = ["cross_view", "cross_pose", "cross_view"]
    weight = patch_weights(foreground, masked, 0.5, 0.0)
    assert weight.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert of_kinds(kinds, (weight * loss).sum(1)).tolist() == [1.0, 12.0]
    assert of_kinds(kinds, weight.sum(1)).tolist() == [1.0, 2.0]
    everywhere = patch_weights(foreground, masked, 0.5, 1.0)
    assert of_kinds(kinds, (everywhere * loss).sum(1)).tolist() == [10.0, 12.0]


def test_the_loss_is_one_mean_over_patches_and_kinds():
    config, batch = micro(), random_batch(6)
    stepper = make_stepper(config)
    loss_BM = stepper.model(*batch.inputs(), batch.visible, batch.masked).loss_BM
    slow, weights = 0.0, 0.0
    for i, kind in enumerate(batch.kinds):
        for j, patch in enumerate(batch.masked[i].tolist()):
            person = batch.foreground[i, patch] >= config.masking.foreground_share
            weight = 1.0 if person else 0.5
            slow += weight * (2.0 if kind == "cross_pose" else 1.0) * loss_BM[i, j].item()
            weights += weight
    assert stepper.backward(batch).loss.item() == pytest.approx(slow / weights, rel=1e-5)


@pytest.mark.parametrize("keypoints", [False, True])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(keypoints):
    batch = random_batch(8)
    whole = make_stepper(micro(keypoints=keypoints))
    parts = make_stepper(micro("run.accumulate=4", keypoints=keypoints))
    expected, found = whole.backward(batch), parts.backward(batch)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)
    for name, gradient in gradients(parts).items():
        torch.testing.assert_close(gradient, gradients(whole)[name], rtol=1e-4, atol=1e-7)


def test_blocks_that_compute_again_give_the_same_gradients():
    batch = random_batch()
    kept, again = make_stepper(micro()), make_stepper(micro())
    again.model.checkpoint_blocks = True
    assert torch.equal(kept.backward(batch).loss, again.backward(batch).loss)
    for name, gradient in gradients(again).items():
        torch.testing.assert_close(gradient, gradients(kept)[name])


def test_gradients_are_clipped_to_their_norm():
    batch = random_batch()
    free = make_stepper(micro())
    free.backward(batch)
    norm = torch.stack([g.square().sum() for g in gradients(free).values()]).sum().sqrt().item()
    clipped = make_stepper(micro(f"optimizer.clip_grad_norm={norm / 2}"))
    assert clipped.step(batch).grad_norm.item() == pytest.approx(norm, rel=1e-4)
    for name, gradient in gradients(clipped).items():
        torch.testing.assert_close(gradient, gradients(free)[name] / 2, rtol=1e-3, atol=1e-7)


def test_the_running_mean_follows_the_weights():
    stepper = make_stepper(micro("optimizer.ema=0.25"), rate=1e-2)
    mean = copy.deepcopy(stepper.model.state_dict())
    for seed, decay in enumerate((2 / 11, 3 / 12, 0.25)):  # (1 + n) / (10 + n) at first
        stepper.step(random_batch(seed=seed))
        for name, weight in stepper.model.named_parameters():
            mean[name] = decay * mean[name] + (1 - decay) * weight.detach()
    for name, found in stepper.average.means.items():
        torch.testing.assert_close(found, mean[name])


def test_mae_never_looks_at_the_second_image():
    batch = random_batch()
    other = replace(batch, images_b=255 - batch.images_b)
    one, two = (make_stepper(micro(method="mae")) for _ in range(2))
    assert torch.equal(one.step(batch).loss, two.step(other).loss)
    weights = two.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.model.state_dict().items())
    assert not any("cross_attn" in name for name in weights)


@pytest.mark.parametrize("method", ["both", "mae"])
def test_keypoints_are_learned_by_every_method(method):
    batch = random_batch(8)
    stepper = make_stepper(
        micro("loss.keypoint_weight=1", method=method, keypoints=True), rate=3e-3
    )
    losses = [stepper.step(batch) for _ in range(120)]
    first, last = (float(s.losses_T[2] / s.weights_T[2]) for s in (losses[0], losses[-1]))
    assert last < first / 4
    found = stepper.model(*batch.inputs(), batch.visible, batch.masked).keypoints_BNK3
    error = (find_keypoints(found) - batch.keypoints_b[:, :, :2]).norm(dim=2)
    assert (error[batch.keypoints_b[:, :, 2] > 0.5] < 0.1).float().mean() > 0.9


def test_the_keypoint_loss_of_the_truth_is_nearly_zero():
    truth = torch.tensor([[[0.3, 0.8, 1.0], [0.99, 0.0, 0.5]]])
    head = torch.zeros(1, 16, 2, 3)
    for k, (patch, x, y) in enumerate([(3 * 4 + 1, 0.2, 0.2), (3, 0.96, 0.0)]):
        head[0, patch, k] = torch.tensor([30.0, x, y])
    loss, weight = keypoint_losses(head, truth)
    assert loss.max() < 1e-4 and weight.tolist() == [[1.0, 0.5]]
    torch.testing.assert_close(find_keypoints(head), truth[:, :, :2], atol=1e-5, rtol=0)
    guessing, _ = keypoint_losses(torch.zeros(1, 16, 2, 3), truth)
    assert guessing[0, 0].item() == pytest.approx(1 + 0.2 + 0.2, abs=1e-4)


def test_a_loss_that_is_not_finite_names_step_and_samples():
    stepper = make_stepper(micro())
    batch = random_batch()
    sums = stepper.step(batch)
    check = FiniteCheck()
    check.add(sums, 3, batch)
    with pytest.raises(ValueError, match=r"step 4 has a loss of nan.* 2 in made"):
        check.add(sums._replace(loss=sums.loss * torch.nan), 4, batch)
