"""One run over a labelled dataset: list its units, and label those that are not done.

list -> label (unit: a piece of the dataset, such as a capture or some images)

The same machinery as for pairs (mining/run.py): a unit's key is the hash of all that goes into it.
"""

import itertools

from catalog import storage
from catalog.config import config_hash
from catalog.ids import content_id
from catalog.parts import PartName
from catalog.schemas import TABLES
from mining.config import MiningConfig
from mining.labelling import label as stage
from mining.labelling.label import LabelPiece
from mining.labelling.source import LabelledListing, LabelledUnit, make_labelled_source
from mining.notices import Say, silent
from mining.run import Run, RunOptions, RunReport, Watch, commit_listing, num_broken
from mining.sources.base import DatasetSpec
from mining.stage import WorkUnit


def label(
    spec: DatasetSpec,
    config: MiningConfig,
    options: RunOptions,
    watch: Watch,
    tell: Say = silent,
) -> RunReport:
    """Label a dataset into the catalog below `options.root`; as `mining.run.mine` for pairs.

    Raises ValueError when there is nothing to label or a setting is wrong.
    """
    root = storage.absolute(options.root)
    listing = make_labelled_source(spec.adapter).units(spec)
    _check_names(spec.name, listing)
    names = [unit.name for unit in listing.units]
    commit_listing(root, spec.name, names, listing.problems, listing.excluded)
    with Run(root, spec.name, config, options, watch, tell) as run:
        listed = {_scope(spec.name, unit): unit for unit in listing.units}
        run.remove_old_captures(listed, {name for name, _, _ in listing.excluded})
        wanted = dict(itertools.islice(listed.items(), options.limit))
        run.do("label", [_work(spec, scope, unit, config) for scope, unit in wanted.items()])
        run.sweep()
    run.report.num_captures, run.report.num_listed = len(wanted), len(listed)
    run.report.num_broken = num_broken(root, spec.name)
    return run.report


def _scope(dataset: str, unit: LabelledUnit) -> str:
    """The id of a unit: it changes with the images and annotations."""
    return content_id(dataset, unit.name, unit.fingerprint)


def _work(spec: DatasetSpec, scope: str, unit: LabelledUnit, config: MiningConfig) -> WorkUnit:
    key = content_id(
        "label",
        stage.VERSION,
        TABLES["labels"].schema.names,
        config_hash(config.label, config.split),
        spec.adapter,
        unit.fingerprint,
        dict(unit.payload),
        unit.licence,
    )
    return WorkUnit(
        stage="label",
        name=PartName(scope, "label", key),
        dataset=spec.name,
        payload=LabelPiece(adapter=spec.adapter, unit=unit),
        counted_stage="label",
        counted="samples",
        expected=unit.num_samples,
    )


def _check_names(dataset: str, listing: LabelledListing) -> None:
    names = [unit.name for unit in listing.units]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"dataset {dataset} has several units called {twice!r}: rename one")
