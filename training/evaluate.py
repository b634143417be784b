"""Held-out loss with the true second image, with somebody else's, and with none: does the model use
the second image?

Only the difference counts. A model that copies the background of a fixed camera has a low loss with
any second image, so each loss is given over all masked patches and over the masked foreground
alone.

Shapes: B samples, M masked patches; H = W = image_px.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from shards.format import read_index
from training.keypoints import find_keypoints
from training.loading.filling import View
from training.loading.loader import LoaderConfig, PairLoader
from training.loading.pair_batch import PairBatch, person_of
from training.loading.reader import KINDS
from training.models.croco import Croco

SECOND_IMAGES = ("true", "wrong", "no")
UNIT = "squared error over each patch's variance"
KEYPOINT_PCK = 0.1  # of the image's side: how near a keypoint must be found


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How much is evaluated."""

    max_pairs: int = 512  # held-out pairs, drawn once with a fixed seed
    seed: int = 0  # of the draw and of the masks


def load_held_out(
    urls: Sequence[str], loader: LoaderConfig, view: View, max_pairs: int
) -> PairBatch | None:
    """Read up to `max_pairs` pairs of the sets' `val` split as one batch; None when there is none.

    Which pairs is decided by the view's seed alone.
    """
    if not any(read_index(url).of_split("val") for url in urls):
        return None
    config = replace(
        loader,
        batch_size=max_pairs,
        num_workers=0,
        sources=(),
        kinds=(),
        parts=(),
        roles="as_mined",
    )
    return next(iter(PairLoader(urls, config, view, split="val")))


def evaluate(
    model: Croco, held_out: PairBatch, foreground_share: float, batch_size: int = 64
) -> list[dict[str, Any]]:
    """Return one row for each second image, kind of pair and set of patches; and, for a model that
    finds keypoints, how well.

    `wrong` is the second image of another person, of the same kind and dataset where there is one;
    `no` is a plain image of ImageNet's mean colour. Patches count as foreground when
    `foreground_share` of them is person. A model without a second image has the rows of `no`.
    """
    partners = wrong_partners(held_out.metas)
    rows = []
    for second in SECOND_IMAGES if model.config.second_image else SECOND_IMAGES[-1:]:
        if second == "wrong" and partners is None:
            continue
        loss_BM = _patch_losses(model, held_out, second, partners, batch_size)
        is_foreground_BM = held_out.foreground.gather(1, held_out.masked) >= foreground_share
        for kind in ("all", *KINDS):
            of_kind_B = torch.tensor([kind in ("all", meta["kind"]) for meta in held_out.metas])
            for patches in ("all", "foreground"):
                chosen_BM = of_kind_B[:, None] & (is_foreground_BM | (patches == "all"))
                if chosen_BM.any():
                    rows.append(
                        {
                            "metric": f"loss_{second}_second",
                            "kind": kind,
                            "patches": patches,
                            "value": loss_BM[chosen_BM].mean().item(),
                            "unit": UNIT,
                            "pairs": int(of_kind_B.sum()),
                        }
                    )
    if model.config.keypoint_head:
        rows.append(_keypoint_row(model, held_out, batch_size))
    return rows


def wrong_partners(metas: Sequence[dict[str, Any]]) -> list[int] | None:
    """Choose for each pair another one whose second image shows somebody else: the next of the same
    kind and dataset.

    Where none is, dataset and then kind may differ. None when all pairs show one person.
    """
    people = [person_of(meta) for meta in metas]
    partners = []
    for number, meta in enumerate(metas):
        others = [*range(number + 1, len(metas)), *range(number)]
        others = [other for other in others if people[other] != people[number]]
        if not others:
            return None
        partners.append(
            min(others, key=lambda other: _unlikeness(metas[other], meta))
        )  # the first of the best
    return partners


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the rows out as a table for people: a line for each kind and set of patches, a column for
    each second image.
    """
    lines = [
        f"{'held-out loss':14}{'patches':12}{'pairs':>6}"
        + "".join(f"{name:>9}" for name in SECOND_IMAGES)
    ]
    values = {(row["kind"], row.get("patches"), row["metric"]): row for row in rows}
    for kind in ("all", *KINDS):
        for patches in ("all", "foreground"):
            cells = [
                values.get((kind, patches, f"loss_{second}_second")) for second in SECOND_IMAGES
            ]
            if any(cells):
                numbers = "".join(
                    f"{cell['value']:9.3f}" if cell else f"{'-':>9}" for cell in cells
                )
                pairs = next(cell["pairs"] for cell in cells if cell)
                lines.append(f"{kind:14}{patches:12}{pairs:6d}{numbers}")
    lines += [
        f"keypoints found within {KEYPOINT_PCK} of the image's side: {row['value']:.3f}"
        for row in rows
        if row["metric"] == "keypoint_pck" and row["value"] is not None
    ]
    return "\n".join(lines)


def _unlikeness(one: dict[str, Any], other: dict[str, Any]) -> tuple[bool, ...]:
    return tuple(one.get(name) != other.get(name) for name in ("part", "kind", "dataset"))


@torch.no_grad()
def _patch_losses(
    model: Croco, held_out: PairBatch, second: str, partners: list[int] | None, batch_size: int
) -> Tensor:
    device = next(model.parameters()).device
    losses = []
    helpers = held_out.choose(partners) if second == "wrong" and partners else held_out
    parts = zip(held_out.chunks(batch_size), helpers.chunks(batch_size), strict=True)
    for chunk, helper in parts:
        part = chunk.to(device)
        a_B3HW, b_B3HW = part.inputs()
        if helpers is not held_out:
            _, b_B3HW = helper.to(device).inputs()
        elif second == "no":
            b_B3HW = torch.zeros_like(b_B3HW)
        losses.append(model(a_B3HW, b_B3HW, part.visible, part.masked).loss_BM.cpu())
    return torch.cat(losses)


@torch.no_grad()
def _keypoint_row(model: Croco, held_out: PairBatch, batch_size: int) -> dict[str, Any]:
    device = next(model.parameters()).device
    right, seen = 0, 0
    for part in (chunk.to(device) for chunk in held_out.chunks(batch_size)):
        found_BNK3 = model(*part.inputs(), part.visible, part.masked).keypoints_BNK3
        distance_BK = (find_keypoints(found_BNK3) - part.keypoints_b[:, :, :2]).norm(dim=2)
        seen_BK = part.keypoints_b[:, :, 2] > 0
        right += int((seen_BK & (distance_BK < KEYPOINT_PCK)).sum())
        seen += int(seen_BK.sum())
    return {
        "metric": "keypoint_pck",
        "kind": "all",
        "patches": "all",
        "value": right / seen if seen else None,
        "unit": f"share within {KEYPOINT_PCK} of the image's side",
        "pairs": len(held_out),
    }
