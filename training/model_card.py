"""The model card beside exported weights: what they are, what made them, how to load them.

It says what the checkpoint records and nothing else; what is not recorded is named as such. Folders
and hosts are left out: of a path or an address only the last name is shown.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from training.models.croco import CrocoConfig

UNKNOWN = "not recorded"


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a card says of one export."""

    model: CrocoConfig
    config: dict[str, Any]  # resolved config of the run
    step: int
    elapsed_s: float
    is_average: bool  # the weights are the running mean
    shards: Sequence[dict[str, Any]] = ()  # what each shard set's index says
    held_out: Sequence[dict[str, Any]] = ()  # rows of `evaluate`
    world_size: int = 1  # ranks that trained together, each with its batch
    files: dict[str, str] = field(default_factory=dict)  # name -> what it is
    timm_line: str = ""  # of Python, loads the encoder


def write_card(facts: CardFacts) -> str:
    """Return the card as Markdown."""
    sections = {
        "": _describe(facts),
        "Files": _table(("file", "what it is"), facts.files.items()),
        "Data": _describe_data(facts.shards),
        "Training": _describe_training(facts),
        "Held-out results": _describe_held_out(facts.held_out),
        "Loading": _describe_loading(facts),
        "Licence": LICENCE + _describe_start(facts.config),
        "Limits": LIMITS,
    }
    parts = [f"## {title}\n\n{text}" if title else text for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def strip_places(value: Any) -> Any:
    """Replace every path and address among nested plain values by its last name."""
    if isinstance(value, dict):
        return {key: strip_places(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [strip_places(inner) for inner in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return last_name(value)
    return value


def last_name(url: str) -> str:
    """The last name of a path or address, without what a query may carry."""
    return url.split("?")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]


def _describe(facts: CardFacts) -> str:
    model = facts.model
    version, positions = {
        "sincos": ("v1", "added sine-cosine positions"),
        "rope": ("v2", "rotary positions"),
    }[model.positions]
    task = (
        "completing the hidden patches of one image of a person with the help of a second image of "
        "the same person, seen from another camera or at another moment"
    )
    title = f"CroCo {version} on pairs of people"
    has_second = facts.config.get("model", {}).get("second_image", True)
    if not has_second:
        title = "MAE on images of people"
        task = "completing the hidden patches of one image of a person"
    if facts.config.get("model", {}).get("keypoint_head", False):
        task += ", and finding the person's 2D keypoints, which a detector or the source gave"
    average = " These are the running mean of the weights." if facts.is_average else ""
    return (
        f"# {title}, {model.encoder_depth} x {model.encoder_width}\n\n"
        f"A vision transformer pre-trained by {task}. "
        f"Encoder: {model.encoder_depth} blocks of width {model.encoder_width} "
        f"with {model.encoder_heads} heads; decoder: {model.decoder_depth} blocks of width "
        f"{model.decoder_width} with {model.decoder_heads} heads; images of {model.image_px} px, "
        f"patches of {model.patch_px} px, {positions}, no class token.{average}"
    )


def _describe_data(shards: Sequence[dict[str, Any]]) -> str:
    if not shards:
        return f"The shard sets: {UNKNOWN}."
    rows = []
    for entry in shards:
        kinds = ", ".join(
            f"{kind} {count:,}" for kind, count in (entry.get("samples_by_kind") or {}).items()
        )
        rows.append(
            (
                entry.get("name") or last_name(str(entry.get("url", UNKNOWN))),
                f"{entry['num_samples']:,}" if "num_samples" in entry else UNKNOWN,
                kinds or UNKNOWN,
                _listed(entry.get("splits")),
                _listed(entry.get("licences")),
                f"`{entry['plan']}`" if entry.get("plan") else UNKNOWN,
                f"`{entry['query']}`" if entry.get("query") else UNKNOWN,
            )
        )
    header = ("shard set", "pairs", "by kind", "splits", "licences", "plan", "pairs where")
    note = "The plan is the hash of all that went into a set: pairs, crops and settings."
    return f"{_table(header, rows)}\n\n{note}"


def _describe_training(facts: CardFacts) -> str:
    batch_size = facts.config.get("loader", {}).get("batch_size")
    num_pairs = facts.step * facts.world_size * (batch_size or 0)
    seen = f"{num_pairs:,} pairs seen" if batch_size else f"pairs seen {UNKNOWN}"
    settings = [
        (f"{section}.{key}", f"`{value}`")
        for section, values in strip_places(facts.config).items()
        for key, value in values.items()
    ]
    return (
        f"{facts.step:,} steps, {seen} (repeats counted), {facts.elapsed_s / 3600:.2f} hours in "
        "steps. The loss is the squared error of the hidden patches' pixels, each patch "
        "normalized. Every setting:\n\n" + _table(("setting", "value"), settings)
    )


def _describe_held_out(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return f"{UNKNOWN.capitalize()}."
    columns = ("metric", "kind", "patches", "value", "unit", "pairs")
    cells = [
        [f"{v:.4g}" if isinstance(v := row.get(name, ""), float) else v for name in columns]
        for row in rows
    ]
    note = "On held-out pairs, at the end of the run."
    if any(row.get("metric") == "loss_true_second" for row in rows):
        note += (
            " A second image that helps makes the loss with the true one lower than with a wrong "
            "one or none."
        )
    return f"{note}\n\n{_table(columns, cells)}"


def _describe_loading(facts: CardFacts) -> str:
    parts = []
    if facts.timm_line:
        parts.append(
            "The encoder, with timm; `forward_features` gives one normed token for each patch, row "
            f"by row:\n\n```python\nimport timm\n\nencoder = {facts.timm_line}\n```"
        )
    if "model.safetensors" in facts.files:
        parts.append(
            "The whole model, with crosspairs: `--set init.checkpoint=FOLDER` starts a run from "
            "it, `python -m training evaluate --checkpoint FOLDER` evaluates it."
        )
    if "croco.pth" in facts.files:
        parts.append(
            "`croco.pth` has the layout of CroCo's own releases: "
            '`torch.load("croco.pth", weights_only=True)` gives `model` and `croco_kwargs`.'
        )
    return "\n\n".join(parts)


def _describe_start(config: dict[str, Any]) -> str:
    init = config.get("init", {})
    source = init.get("timm_weights") or init.get("timm") or init.get("checkpoint")
    if not source:
        return ""
    return (
        f"\n\nThe run started from `{last_name(source)}`: the licence of those weights counts, too "
        "(CroCo's own releases are for non-commercial use)."
    )


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items()) or UNKNOWN
    return ", ".join(map(str, value)) if value else UNKNOWN


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split()).replace("|", "\\|")


LICENCE = """\
The code that trained this model is under the Apache License 2.0. What may be done with the weights
depends on the footage: the licences of its captures, and the consent of the people in it, decide.
Whether the detector that made the pairs adds terms of its own (ultralytics' models are under
AGPL-3.0) is not settled here: check before you pass the weights on."""

LIMITS = """\
- Trained on crops of people; what it makes of other images is not known.
- Poses, views, clothes and body shapes that the footage lacks are likely served worse.
- Features, not answers: a task needs a head and labels, and a check of its own for bias."""
