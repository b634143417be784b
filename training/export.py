"""Export a checkpoint for others: the encoder as a ViT of timm, the published layout of CroCo, the
whole model, and a model card.

A folder appears whole or not at all on a local disk; elsewhere the card comes last, so that what
has a README.md is whole. Nothing in it names the folders or hosts of the machine that trained.
"""

import json
import os
import posixpath
import shutil
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import timm
from torch import Tensor

from catalog import storage
from training.checkpoint import FORMAT, Progress, find_checkpoint, read_progress
from training.loading.colour import IMAGENET_MEAN, IMAGENET_STD
from training.model_card import CardFacts, last_name, strip_places, write_card
from training.models.croco import CrocoConfig
from training.models.published import save_published
from training.models.timm_vit import describe_timm, to_timm
from training.run_config import config_from_dict

LAYOUTS = ("timm", "published", "all")
WEIGHTS = "encoder.safetensors"
FILES = {
    WEIGHTS: "the encoder, under the names of a timm ViT",
    "encoder.json": "which timm ViT, how its images are normalized, the line that loads it",
    "croco.pth": "the whole model in the layout of CroCo's releases",
    "model.safetensors": "the whole model, under crosspairs' names",
    "checkpoint.json": "its config, so that the folder is a checkpoint of crosspairs",
}
FILES_OF = {"timm": list(FILES)[:2], "published": list(FILES)[2:3], "all": list(FILES)}


def export(checkpoint: str, out: str, layout: str = "all", average: bool = False) -> list[str]:
    """Write a run's newest checkpoint, or one checkpoint, into the new folder `out`; return the
    files' names.

    `average` takes the running mean of the weights. Raises ValueError for an unknown layout, a
    checkpoint without a mean, and a folder that is not empty.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    out = storage.absolute(out)
    if storage.list_files(out) or storage.list_folders(out):
        raise ValueError(f"{out} is not empty: name a new folder, or delete it first")
    checkpoint = find_checkpoint(checkpoint)
    progress = read_progress(checkpoint)
    if task := progress.config.get("task_name"):
        raise ValueError(
            f"{checkpoint} is a model for the task {task}: export the pre-training run it started "
            "from; `python -m training predict` uses this one"
        )
    weights = _read_weights(checkpoint, average)
    is_local = "://" not in out
    parent, name = posixpath.split(out)
    target = storage.join(parent, storage.TEMPORARY_PREFIX + name) if is_local else out
    if is_local:
        shutil.rmtree(target, ignore_errors=True)
    try:
        names = _write(
            target,
            layout,
            average,
            progress,
            weights,
            _read_held_out(checkpoint, progress, average),
        )
        if is_local:
            os.makedirs(out, exist_ok=True)  # an empty folder is replaced
            os.replace(target, out)
    finally:
        if is_local:
            shutil.rmtree(target, ignore_errors=True)
    return names


def timm_line(config: CrocoConfig) -> str:
    """The line of Python that loads the exported encoder, run in its folder."""
    name, kwargs = describe_timm(config)
    spelled = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
    return f"timm.create_model({name!r}, pretrained=False, checkpoint_path={WEIGHTS!r}, {spelled})"


def _write(
    target: str,
    layout: str,
    average: bool,
    progress: Progress,
    weights: dict[str, Tensor],
    held_out: list[dict[str, Any]],
) -> list[str]:
    config = config_from_dict(progress.config).model
    shards = [{**entry, "url": last_name(entry["url"])} for entry in progress.shards]
    names = FILES_OF[layout]
    if layout == "all" and not config.second_image:  # CroCo's layout has no place for MAE's decoder
        names = [name for name in names if name != "croco.pth"]
    if "encoder.json" in names:
        described = json.dumps(_describe_encoder(config), indent=1) + "\n"
        storage.write_bytes(storage.join(target, WEIGHTS), _pack(to_timm(config, weights)))
        storage.write_text(storage.join(target, "encoder.json"), described)
    if "croco.pth" in names:
        save_published(storage.join(target, "croco.pth"), config, weights)
    if "model.safetensors" in names:
        kept = {**progress.__dict__, "loader": {}, "config": strip_places(progress.config)}
        if shards:
            kept["shards"] = shards
        text = json.dumps({"format": FORMAT, **kept}, indent=1) + "\n"
        storage.write_bytes(storage.join(target, "model.safetensors"), _pack(weights))
        storage.write_text(storage.join(target, "checkpoint.json"), text)
    facts = CardFacts(
        model=config,
        config=progress.config,
        step=progress.step,
        world_size=progress.world_size,
        elapsed_s=progress.elapsed_s,
        is_average=average,
        shards=shards,
        held_out=held_out,
        files={name: FILES[name] for name in names},
        timm_line=timm_line(config) if WEIGHTS in names else "",
    )
    storage.write_text(storage.join(target, "README.md"), write_card(facts))
    return [*names, "README.md"]


def _describe_encoder(config: CrocoConfig) -> dict[str, Any]:
    name, kwargs = describe_timm(config)
    return {
        "model": name,
        "kwargs": kwargs,
        "image_px": config.image_px,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "load": timm_line(config),
        "checked_with_timm": timm.__version__,
    }


def _read_weights(checkpoint: str, average: bool) -> dict[str, Tensor]:
    """The weights; with `average` the mean of those that have one (buffers have none)."""
    names = ["model.safetensors", "average.safetensors"][: 1 + average]
    weights: dict[str, Tensor] = {}
    for name in names:
        url = storage.join(checkpoint, name)
        if not storage.exists(url):
            raise ValueError(
                f"{checkpoint} has no average of weights: export without --average"
                if name.startswith("average")
                else f"{checkpoint} has no {name}: the checkpoint is not whole"
            )
        try:
            weights |= safetensors.torch.load(storage.read_bytes(url))
        except safetensors.SafetensorError as error:
            raise ValueError(f"{url} is damaged: {error}") from None
    return weights


def _read_held_out(checkpoint: str, progress: Progress, is_average: bool) -> list[dict[str, Any]]:
    """The rows of the run that a checkpoint belongs to, if it has some of just these weights."""
    folder = posixpath.dirname(checkpoint.rstrip("/"))
    if last_name(folder) != "checkpoints":
        return []
    url = storage.join(posixpath.dirname(folder), "held_out.jsonl")
    if not storage.exists(url):
        return []
    rows = [json.loads(line) for line in storage.read_text(url).splitlines() if line]
    step, average = progress.step, bool(progress.config["optimizer"]["ema"])
    return [row for row in rows if (row["step"], average) == (step, is_average)]


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, metadata={"format": "pt"})
