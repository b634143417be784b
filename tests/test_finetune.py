"""Fine-tuning: it learns, goes on exactly, starts from any encoder, and is judged and drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from catalog.commands import main
from catalog.config import override, to_dict
from tests.toy_labels import write_toy_labels
from tests.toy_shards import write_toy_shards
from training.__main__ import build_parser
from training.checkpoint import find_checkpoint
from training.distributed import Ranks
from training.finetuning.config import (
    PRESETS,
    choose_preset,
    config_from_dict,
    make_config,
    start_from,
)
from training.finetuning.evaluate import held_out_batches
from training.finetuning.finetune import FinetuneJob, finetune
from training.finetuning.model import FinetunedModel, load_finetuned
from training.finetuning.objective import TaskObjective
from training.initialize import InitConfig
from training.loop import stepping_of
from training.models.croco import Croco, CrocoConfig
from training.models.encoders import EncoderConfig, make_encoder, resolve_encoder
from training.presets import compose
from training.pretrain import pretrain
from training.step import Stepper
from training.tasks.registry import TASKS, make_task

MICRO_MODEL = [
    "image_px=32", "patch_px=8", "encoder_depth=4", "encoder_width=32", "encoder_heads=2",
    "decoder_depth=2", "decoder_width=48", "decoder_heads=2",
]  # fmt: skip
RUN = [
    "run.minutes=none", "run.log_every=5", "run.evaluate_every=1000", "run.pictures_every=1000",
    "run.checkpoint_every=4", "loader.batch_size=8", "loader.window_shards=2",
    "run.tensorboard=false",
]  # fmt: skip


def micro(steps: int, *settings: str, task: str = "keypoints"):
    config = make_config(task, "tiny")
    sizes = [f"encoder.model.{size}" for size in MICRO_MODEL]
    return override(config, [*sizes, *RUN, f"run.num_steps={steps}", *settings])


def run(config, url: str, folder):
    return finetune(config, [url], str(folder), lambda share, text: None)


def weights_of(folder) -> dict[str, torch.Tensor]:
    model, _, _ = load_finetuned(str(folder), torch.device("cpu"))
    return model.state_dict()


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> str:
    return write_toy_labels(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pretrained")
    url = write_toy_shards(folder / "set", (16, 16), crop_px=40)
    sizes = [f"model.{size}" for size in MICRO_MODEL]
    length = ["run.minutes=none", "run.num_steps=2", "loader.batch_size=8"]
    config = override(compose("tiny"), [*sizes, *length])
    return pretrain(config, [url], str(folder / "run"), lambda share, text: None).checkpoint


def test_it_learns_to_find_the_dot(tmp_path):
    url = write_toy_labels(tmp_path / "set", (64, 64), val_size=32)
    settings = ("optimizer.base_lr=3e-2", "augment.turn_deg=0", "augment.zoom=0")
    result = run(micro(150, *settings), url, tmp_path / "run")
    figures = {row["metric"]: row["value"] for row in result.rows}
    untrained = run(micro(1, *settings), url, tmp_path / "untrained")
    before = {row["metric"]: row["value"] for row in untrained.rows}
    assert figures["distance_share_of_box"] < 0.5 * before["distance_share_of_box"]


@pytest.mark.parametrize("task", ["keypoints", "body_mesh"])  # the mesh's head has dropout
def test_a_killed_run_repeats_bit_for_bit(labels, tmp_path, monkeypatch, task):
    config = micro(12, task=task)
    run(config, labels, tmp_path / "whole")
    original, steps = Stepper.step, []

    def dying(self, batch):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Stepper, "step", dying)
    with pytest.raises(KeyboardInterrupt):
        run(config, labels, tmp_path / "killed")
    monkeypatch.undo()
    assert find_checkpoint(str(tmp_path / "killed")).endswith("step-00000004")
    run(config, labels, tmp_path / "killed")
    whole, again = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("setting", ["encoder.frozen=true", "task.head_kind=dense"])
def test_a_run_with_weights_that_are_not_trained_goes_on(labels, tmp_path, setting):
    run(micro(4, setting), labels, tmp_path / "run")
    result = run(micro(8, setting), labels, tmp_path / "run")
    assert result.step == 8


@pytest.mark.parametrize("head", ["light", "dense"])
@pytest.mark.parametrize("timm_name", ["", "vit_wee_patch16_reg1_gap_256"])
def test_every_trained_weight_has_a_gradient(labels, head, timm_name):
    sizes = ["encoder.model.image_px=32"] if timm_name else []
    config = micro(1, f"task.head_kind={head}", f"encoder.timm={timm_name}", *sizes)
    task = make_task(config.task_name, config.task)
    model = FinetuneJob(config=config, shards=[labels], task=task).make_model()
    model(torch.randn(2, 1, 3, 32, 32))["heatmaps"].square().mean().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert len(trained) >= len(list(model.parameters())) - 4


def test_images_that_cut_a_patch_of_timm_are_refused():
    sizes = CrocoConfig(image_px=40, patch_px=8)
    config = EncoderConfig(timm="vit_wee_patch16_reg1_gap_256", model=sizes)
    with pytest.raises(
        ValueError, match=r"40 px .* 16 px patches: set encoder\.model\.image_px=32"
    ):
        make_encoder(config, num_images=1)


def test_parts_of_a_batch_give_the_gradients_of_the_whole(labels):
    config = micro(1)
    task = make_task(config.task_name, config.task)
    batch = next(held_out_batches([labels], task, config, 8))
    batch.targets["keypoints"][1, :, 2] = 0  # a sample without its label
    gradients = []
    for accumulate in (1, 4):
        torch.manual_seed(0)
        model = FinetunedModel(config, task)
        stepping = stepping_of(replace(config, run=replace(config.run, accumulate=accumulate)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        Stepper(model, optimizer, None, TaskObjective(task), stepping, Ranks()).backward(batch)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, rtol=1e-4, atol=1e-6)


def test_another_start_does_not_go_on_with_a_run(pretrained, labels, tmp_path):
    run(start_from(micro(1), pretrained), labels, tmp_path)
    with pytest.raises(ValueError, match=r"init\.checkpoint"):
        run(micro(1), labels, tmp_path)


def test_the_encoder_starts_as_it_was_pre_trained(pretrained, labels, tmp_path):
    config = start_from(micro(1), pretrained)
    assert config.encoder.model.encoder_depth == 4 and config.encoder.model.image_px == 32
    task = make_task(config.task_name, config.task)
    model = FinetunedModel(config, task)
    said = model.encoder.load(config.init)
    assert "encoder starts as" in said
    croco = Croco(config.encoder.model)
    from training.checkpoint import load_weights

    load_weights(pretrained, croco)
    images = torch.randn(2, 1, 3, 32, 32)
    torch.testing.assert_close(model.encoder(images).tokens_BNC, croco.encode(images[:, 0]))


def test_a_task_starts_from_the_encoder_of_another_task(labels, tmp_path):
    first = run(micro(2), labels, tmp_path / "first").checkpoint
    config = start_from(micro(1), first)
    model = FinetunedModel(config, make_task(config.task_name, config.task))
    model.encoder.load(config.init)
    trained = weights_of(tmp_path / "first")
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(weight, trained[f"encoder.{name}"])


def test_two_views_reach_the_decoder_and_its_weights_are_taken(pretrained):
    config = resolve_encoder(EncoderConfig(), InitConfig(checkpoint=pretrained))
    encoder = make_encoder(config, num_images=2)
    encoder.load(InitConfig(checkpoint=pretrained))
    croco = Croco(config.model)
    from training.checkpoint import load_weights

    load_weights(pretrained, croco)
    for name in ("dec_blocks.0.attn.qkv.weight", "dec_norm.weight", "decoder_embed.weight"):
        assert torch.equal(encoder.croco.state_dict()[name], croco.state_dict()[name])
    assert encoder.size.width == 48
    images = torch.randn(3, 2, 3, 32, 32)
    other = images.clone()
    other[:, 1] = torch.randn(3, 3, 32, 32)
    first, second = encoder(images), encoder(other)
    assert len(first.stages) == 4 and first.tokens_BNC.shape == (3, 16, 48)
    assert not torch.allclose(first.tokens_BNC, second.tokens_BNC)


@pytest.mark.parametrize("num_images", [1, 2])
def test_a_vit_of_timm_is_an_encoder(num_images, tmp_path):
    name = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    source = timm.create_model(name, pretrained=False, num_classes=0, img_size=64)
    file = tmp_path / "weights.pth"
    torch.save(source.state_dict(), file)
    init = InitConfig(timm=name, timm_weights=str(file))
    config = resolve_encoder(EncoderConfig(), init, image_px=64)
    encoder = make_encoder(config, num_images).eval()
    encoder.load(init)
    images = torch.randn(2, num_images, 3, 64, 64)
    features = encoder(images)
    assert features.tokens_BNC.shape == (2, 16, 192) and len(features.stages) == 4
    if num_images == 1:
        own = images[:, 0] * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        own = own + torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        expected = source.eval().forward_features((own - 0.5) / 0.5)
        torch.testing.assert_close(features.tokens_BNC, expected[:, 1:], rtol=1e-4, atol=1e-4)


def test_the_last_tokens_are_normed_where_a_vit_of_timm_norms_behind_its_pooling():
    config = EncoderConfig(timm="vit_wee_patch16_reg1_gap_256")
    encoder = make_encoder(resolve_encoder(config, InitConfig(), image_px=64), num_images=1)
    tokens = encoder(10 * torch.randn(2, 1, 3, 64, 64)).tokens_BNC
    torch.testing.assert_close(tokens.mean(dim=2), torch.zeros(2, 16), atol=1e-4, rtol=0)
    torch.testing.assert_close(tokens.std(dim=2), torch.ones(2, 16), atol=1e-2, rtol=0)


def test_a_frozen_encoder_stays_and_a_decayed_one_moves_less_at_its_start(labels, tmp_path):
    config = micro(3, "encoder.frozen=true")
    torch.manual_seed(config.run.seed)
    fresh = FinetunedModel(config, make_task(config.task_name, config.task)).state_dict()
    run(config, labels, tmp_path / "frozen")
    trained = weights_of(tmp_path / "frozen")
    same = {name for name in fresh if torch.equal(fresh[name], trained[name])}
    assert {name for name in fresh if name.startswith("encoder.")} <= same
    assert any(name.startswith("head.") and name not in same for name in fresh)
    job = FinetuneJob(
        config=micro(3, "encoder.layer_decay=0.5"), shards=[labels],
        task=make_task(config.task_name, config.task),
    )  # fmt: skip
    model = job.make_model()
    scales = {
        id(parameter): group["scale"]
        for group in job.make_optimizer(model).param_groups
        for parameter in group["params"]
    }
    first, last = model.encoder.croco.enc_blocks[0], model.encoder.croco.enc_blocks[3]
    assert scales[id(model.encoder.croco.patch_embed.proj.weight)] == 0.5**6
    assert scales[id(first.mlp.fc1.weight)] == 0.5**5 and scales[id(last.mlp.fc1.weight)] == 0.25
    assert scales[id(next(model.head.parameters()))] == 1.0


def test_the_preset_is_that_of_encoders_as_wide(pretrained):
    def chosen(source, wanted=None):
        return choose_preset(wanted, "keypoints", source)

    assert chosen("random") == ("tiny", "preset tiny")
    assert chosen("random", "base") == ("base", "preset base")
    assert chosen(pretrained) == ("tiny", "preset tiny, as suits an encoder of 32 channels")
    assert chosen(pretrained, "tiny") == ("tiny", "preset tiny")
    wee, base = "timm:vit_wee_patch16_reg1_gap_256", "timm:vit_base_patch14_dinov2.lvd142m"
    assert chosen(wee) == ("small", "preset small, as suits an encoder of 256 channels")
    assert chosen(base)[0] == "base"
    said = "preset tiny, though base suits an encoder of 768 channels"
    assert chosen(base, "tiny") == ("tiny", said)
    with pytest.raises(ValueError, match="is not a plain vision transformer"):
        chosen("timm:resnet18")


def test_the_command_line_says_which_preset_it_takes(
    labels, pretrained, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = [part for setting in RUN for part in ("--set", setting)]
    arguments = ["finetune", "--task", "keypoints", "--shards", labels, "--steps", "1"]
    assert main(build_parser(), [*arguments, "--init", pretrained, *asked]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "preset tiny, as suits an encoder of 32 channels"
    assert "finetuning/keypoints-tiny/checkpoints" in said[-1] + said[-2]


def test_the_command_line_trains_judges_and_writes_a_row_for_each_sample(
    labels, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = [f"encoder.model.{size}" for size in MICRO_MODEL] + RUN
    asked = [part for setting in settings for part in ("--set", setting)]
    arguments = ["finetune", "--task", "keypoints", "--shards", labels, "--steps", "4"]
    assert main(build_parser(), [*arguments, *asked, "--out", "run"]) == 0
    assert "pck_0.1" in capsys.readouterr().out
    judged = ["evaluate", "--checkpoint", "run", "--shards", labels, "--rows", "rows.parquet"]
    assert main(build_parser(), [*judged, "--picture", "some.png", "--format", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    import pyarrow.parquet as pq

    table = pq.read_table("rows.parquet").to_pylist()
    assert len(table) == 8 and {"label_id", "subject", "pck_0.1"} <= set(table[0])
    mean = np.nanmean([row["pck_0.1"] for row in table])
    assert next(row["value"] for row in rows if row["metric"] == "pck_0.1") == pytest.approx(mean)
    assert (tmp_path / "some.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--task", "handstand"], "unknown task 'handstand'; there are: body_mesh"),
        (["finetune", "--task", "keypoints", "--preset", "huge"], "unknown preset 'huge'"),
        (["finetune", "--task", "keypoints", "--init", "nowhere"], "no checkpoint in nowhere"),
        (["finetune", "--task", "keypoints", "--init", "timm:vit_nope"], "has no model 'vit_nope'"),
        (["evaluate", "--checkpoint", "nowhere"], "no checkpoint in nowhere"),
    ],
)
def test_a_users_mistake_is_one_sentence(arguments, message, labels, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(build_parser(), [*arguments, "--shards", labels]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_those_of_the_page(preset):
    page = Path("docs/fine-tuning.md").read_text().splitlines()
    row = next(line for line in page if line.startswith(f"| `{preset}` |"))
    _, _, _, image_px, _, batch, rate, head, _ = (cell.strip() for cell in row.split("|"))
    config = make_config("body_mesh", preset)
    assert (int(image_px), int(batch)) == (config.encoder.model.image_px, config.loader.batch_size)
    assert float(rate.split(",")[0]) == config.optimizer.base_lr
    assert int(head.split("; ")[2].replace(",", "")) == config.task.num_vertices


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", TASKS)
def test_configs_survive_the_checkpoint(task, preset):
    config = make_config(task, preset)
    assert config_from_dict(json.loads(json.dumps(to_dict(config)))) == config
