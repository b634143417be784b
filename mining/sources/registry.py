"""From what the user wrote after DATASET= to a dataset and the source that lists its captures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.names import dataset_name, read_dataset_file
from mining.labelling.source import labelled_adapters
from mining.plugins import find_plugin, plugin_names
from mining.sources.base import DatasetSpec, Source

BUILT_IN: Mapping[str, str] = {
    "demo": "a calibrated 4-view capture and an outdoor video, fetched from the package index",
    "synthetic": "scenes of rendered people with exact cameras, keypoints and identities",
    "synthetic-labelled": "labelled images of other rendered people and their hands, to fine-tune "
    "on",
}
BUILT_IN_OPTIONS: Mapping[str, dict[str, Any]] = {"synthetic": {"scenes": "training"}}
BUILT_IN_CONFIG: Mapping[str, dict[str, Any]] = {
    # the calibrated capture lasts 1.7 s; short segments give every worker something to do
    "demo": {"sample": {"fps": 20.0, "segment_s": 2.0}},
    "synthetic": {  # rendered small, for training: too small for hands
        "crop": {"size_px": 128, "min_person_px": 48},
        "detect": {"parts": ["body"]},
    },
}
GROUP = "crosspairs.sources"  # entry points of other packages
OURS = ("folder", "demo", "synthetic")  # beside the datasets' adapters
FILE_KEYS = {"name", "adapter", "root", "options", "config"}


def resolve_dataset(text: str) -> tuple[DatasetSpec, dict[str, Any]]:
    """Find the dataset that a name or path means, and the config table of its dataset file.

    A built-in name; a video; a folder; or a dataset file (TOML). Raises ValueError, in one
    sentence, for anything else.
    """
    if text in BUILT_IN:
        options = BUILT_IN_OPTIONS.get(text, {})
        spec = DatasetSpec(name=text, adapter=text, root=text, options=options)
        return spec, BUILT_IN_CONFIG.get(text, {})
    path = Path(text).expanduser().resolve()
    if not path.exists():
        raise ValueError(
            f"DATASET={text}: no such file or folder, and not one of {', '.join(BUILT_IN)}"
        )
    if path.suffix == ".toml":
        return _read_dataset_file(path)
    return DatasetSpec(name=dataset_name(text), adapter="folder", root=str(path)), {}


def make_source(adapter: str) -> Source:
    """The source behind an adapter's name.

    Raises ValueError, naming those there are, for an unknown one.
    """
    if adapter == "folder":
        from mining.sources.folder import FolderSource

        return FolderSource()
    if adapter == "demo":
        from mining.sources.demo import DemoSource

        return DemoSource()
    if adapter == "synthetic":
        from mining.sources.synthetic import SyntheticSource

        return SyntheticSource()
    from mining.sources.datasets.source import ADAPTERS, DatasetSource

    if adapter in ADAPTERS:
        return DatasetSource(adapter)
    ours = [*OURS, *ADAPTERS, *labelled_adapters()]
    source: Source = find_plugin(GROUP, adapter, f"unknown adapter {adapter!r}", ours)()
    return source


def paired_adapters() -> list[str]:
    """The names of all sources of captures: ours, and those that other packages make known."""
    from mining.sources.datasets.source import ADAPTERS

    return [*OURS, *ADAPTERS, *plugin_names(GROUP)]


def _read_dataset_file(path: Path) -> tuple[DatasetSpec, dict[str, Any]]:
    table = read_dataset_file(path)
    unknown = set(table) - FILE_KEYS
    if unknown:
        raise ValueError(
            f"dataset file {path.name}: unknown key {', '.join(sorted(unknown))}; "
            f"there are: {', '.join(sorted(FILE_KEYS))}"
        )
    options, config = table.get("options", {}), table.get("config", {})
    if not isinstance(options, dict) or not isinstance(config, dict):
        raise ValueError(f"dataset file {path.name}: options and config must be tables")
    adapter = str(table.get("adapter", "folder"))
    root = adapter
    if adapter not in BUILT_IN:
        found = (path.parent / str(table.get("root", "."))).resolve()
        if not found.exists():
            raise ValueError(f"dataset file {path.name}: its root {found} does not exist")
        root = str(found)
    return DatasetSpec(
        name=dataset_name(str(path)), adapter=adapter, root=root, options=options
    ), config
