"""Does pre-training on pairs learn to use the second image? The study that shows it.

Every cell is a pre-training run of its own, with the same shards, seed and number of pairs, judged
on the same held-out people with the same masks. A model may copy what both images share: the
background of a fixed camera. So completion is judged on patches of the person, and one cell is
trained the naive way (uniform masks, background kept, loss over all patches) to show what that
shortcut does. MAE has the same masks here, so that its loss can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog import storage
from catalog.measurements import Measurement
from training.checkpoint import find_checkpoint, load_weights
from training.correspondence import correspondence_rows, format_correspondence
from training.distributed import choose_device
from training.evaluate import evaluate, format_rows, load_held_out
from training.loading.masking import MaskingConfig
from training.loop import Show
from training.models.croco import Croco
from training.presets import compose
from training.pretrain import pretrain
from training.run_config import PretrainConfig, held_out_view

MAX_PAIRS = 1024  # held-out pairs


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Which cells are run, and how long each."""

    preset: str
    num_steps: int
    cells: tuple[str, ...]
    seed: int = 0


def cpu_study() -> StudyConfig:
    """The tiny preset on two cores: three cells of 35,200 pairs; sized for 20 minutes."""
    return StudyConfig(preset="tiny", num_steps=1100, cells=("both", "mae", "naive"))


def gpu_study() -> StudyConfig:
    """The small preset on one large GPU: six cells of 900,000 pairs; sized for 20 minutes."""
    return StudyConfig(
        preset="small",
        num_steps=3500,
        cells=("both", "mae", "naive", "cross_view", "cross_pose", "siammae"),
    )


STUDIES: dict[str, Callable[[], StudyConfig]] = {"cpu": cpu_study, "gpu": gpu_study}


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell came to."""

    name: str
    losses: list[dict[str, Any]]  # rows of `evaluate`, backgrounds grey
    losses_kept: list[dict[str, Any]]  # the same pairs with their backgrounds
    matches: list[dict[str, Any]]  # rows of `correspondence_rows`


def run_study(
    shards: Sequence[str], out: str, study: StudyConfig, show: Show
) -> tuple[list[CellResult], list[Measurement]]:
    """Train every cell in a folder below `out`, going on where an earlier study stopped.

    Returns each cell's results, and the figures for the report. Raises ValueError for shards
    without held-out pairs or that cannot be used.
    """
    results = []
    for number, name in enumerate(study.cells):
        config = cell_config(study, name)

        def show_cell(share: float, text: str, number: int = number, name: str = name) -> None:
            show((number + share) / len(study.cells), f"{name}: {text}")

        folder = storage.join(out, name)
        pretrain(config, shards, folder, show_cell)
        results.append(judge(name, folder, config, compose(study.preset).masking, shards))
    return results, summarize(study, results)


def cell_config(study: StudyConfig, name: str) -> PretrainConfig:
    """The config of a cell: a method's, but for the masks of MAE; or `naive`."""
    preset = compose(study.preset)
    config = preset if name == "naive" else compose(study.preset, name)
    if name == "naive":
        config = replace(
            config,
            augment=replace(config.augment, background="keep"),
            masking=replace(config.masking, focus=0.0),
            loss=replace(config.loss, background_weight=1.0),
        )
    if name == "mae":
        config = replace(config, masking=preset.masking)
    run = replace(
        config.run,
        num_steps=study.num_steps, minutes=None, epochs=None, seed=study.seed,
        evaluate_every=study.num_steps, pictures_every=study.num_steps,
        checkpoint_every=max(1, study.num_steps // 4), keep_last=1,
    )  # fmt: skip
    return replace(config, run=run)


def judge(
    name: str, folder: str, config: PretrainConfig, masking: MaskingConfig, shards: Sequence[str]
) -> CellResult:
    """Hold a cell's model against the held-out pairs, whose masks are the same for all cells."""
    model = Croco(config.model).to(choose_device(config.run.device)).eval()
    load_weights(find_checkpoint(folder), model)
    losses = {}
    for background in ("grey", "keep"):
        view = held_out_view(config)
        augment = replace(view.augment, background=background)
        view = replace(view, augment=augment, masking=masking)
        held_out = load_held_out(shards, config.loader, view, MAX_PAIRS)
        if held_out is None:
            raise ValueError(
                f"no held-out pairs in {', '.join(shards)}: a study needs people the model has "
                "never seen; mine more captures"
            )
        losses[background] = evaluate(model, held_out, masking.foreground_share)
        if background == "grey":
            matches = []
            if config.model.second_image:
                matches = correspondence_rows(model, held_out, config.run.seed)
    return CellResult(name=name, losses=losses["grey"], losses_kept=losses["keep"], matches=matches)


def summarize(study: StudyConfig, results: Sequence[CellResult]) -> list[Measurement]:
    """The figures of the report: the headline's of the cell `both`, and every cell's own."""
    what = f"preset {study.preset}, {study.num_steps} steps"
    by_name = {result.name: result for result in results}
    rows = []
    for result in results:
        for row in (*result.losses, *result.losses_kept):
            kept = ", backgrounds kept" if row in result.losses_kept else ""
            of_mae = result.name == "mae" and not kept and _is_headline(row)
            headline = result.name == "both" and not kept and _is_headline(row)
            of_cell = f"{row['patches']} patches, pairs: {row['kind']}{kept}"
            rows.append(
                Measurement(
                    metric="loss_mae" if of_mae else row["metric"],
                    value=row["value"], unit="loss", count=row["pairs"],
                    compared_with=f"cell {result.name}: {of_cell}; held-out people; {what}",
                    goal=_goal(row, by_name) if headline else "",
                )
            )  # fmt: skip
        rows += [
            Measurement(
                metric=row["metric"], value=row["value"], unit="share", count=row["matches"],
                compared_with=f"cell {result.name}: keypoints within {row['threshold']} of the "
                f"image's side, pairs: {row['kind']}; {what}",
            )
            for row in result.matches
        ]  # fmt: skip
    return rows


def format_study(results: Sequence[CellResult]) -> str:
    """Lay out what came of each cell for people."""
    parts = []
    for result in results:
        parts.append(f"{result.name}, backgrounds grey\n{format_rows(result.losses)}")
        parts.append(f"{result.name}, backgrounds kept\n{format_rows(result.losses_kept)}")
        if result.matches:
            parts.append(f"{result.name}, matches\n{format_correspondence(result.matches)}")
    return "\n\n".join(parts)


def _is_headline(row: dict[str, Any]) -> bool:
    return row["kind"] == "all" and row["patches"] == "foreground"


def _goal(row: dict[str, Any], by_name: dict[str, CellResult]) -> str:
    """The true second image must beat everything else."""
    if row["metric"] != "loss_true_second" or "mae" not in by_name:
        return ""
    others = [*by_name["both"].losses, *by_name["mae"].losses]
    best = min(
        other["value"]
        for other in others
        if _is_headline(other) and other["metric"] != "loss_true_second"
    )
    return f"<= {best:.4f}"
