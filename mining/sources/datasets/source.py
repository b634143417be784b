"""What all dataset adapters share of being a source: options, what is left out, and that a broken
sequence costs only itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from catalog import storage
from mining.sources.base import (
    Capture,
    DatasetSpec,
    Listing,
    PartGroup,
    SourceProblem,
    Sync,
    View,
)
from mining.sources.datasets.evaluation import EVALUATION
from mining.sources.datasets.parsing import file_name, forget_kept
from mining.sources.datasets.view import AnnotatedView

# Adapter to its class; a new dataset is one line here and one in `evaluation.py`.
ADAPTERS: Mapping[str, str] = {
    "aistpp": "aistpp:AistPlusPlus",
    "humbi": "humbi:Humbi",
    "interhand": "interhand:InterHand",
    "3dpw": "threedpw:ThreeDPW",
    "posetrack18": "posetrack18:PoseTrack18",
    "pennaction": "pennaction:PennAction",
    "human36m": "human36m:Human36M",
    "panoptic": "panoptic:Panoptic",
    "coco": "coco:Coco",
}

EVERYWHERE = {"include_evaluation": False}  # an option of every adapter
MAX_NAMED = 5  # files and folders, of a root that is not the dataset's

LeftOut = tuple[str, str, str]  # name, reason, detail, as a Listing has them


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One sequence of a dataset, not opened yet. `views` yields its views, problems that cost one
    view each, and what is left out on purpose. All of it is left out where `excluded` has a reason
    and a detail.
    """

    name: str
    uri: str
    views: Callable[[], Iterable[View | SourceProblem | LeftOut]]
    annotated: tuple[PartGroup, ...] = ("body",)
    excluded: tuple[str, str] | None = None
    sync: Sync = "given"
    subject: str | None = None
    split: str | None = None


class Adapter(Protocol):
    """Reads one dataset from its own files."""

    licence: str
    known_by: str  # the files by which the dataset is known, below its root
    options: Mapping[str, Any]  # what a dataset file may set, with the defaults

    def recordings(self, root: str, options: Mapping[str, Any]) -> Iterator[Recording]:
        """Find the sequences below a root, none where it is not the dataset's. Raises ValueError
        when what all of them need is missing or broken.
        """

    def open_view(self, root: str, place: Mapping[str, str]) -> AnnotatedView:
        """Open a view by the place in its uri. Raises ValueError for broken annotations."""


class DatasetSource:
    """A dataset adapter as a Source."""

    def __init__(self, adapter: str) -> None:
        self.name, self.adapter = adapter, make_adapter(adapter)

    def captures(self, spec: DatasetSpec) -> Listing:
        """See Source. Options: the adapter's, `licence`, and `include_evaluation`, which mines what
        is meant for evaluation too.
        """
        options = checked_options(
            spec, {**self.adapter.options, "licence": self.adapter.licence, **EVERYWHERE}
        )
        forget_kept()
        captures: list[Capture] = []
        problems: list[SourceProblem] = []
        excluded: list[LeftOut] = []
        for recording in self.adapter.recordings(spec.root, options):
            reason, detail = recording.excluded or ("", "")
            if reason and not (reason == EVALUATION and options["include_evaluation"]):
                excluded.append((recording.name, reason, detail))
                continue
            try:
                found = list(recording.views())
            except (ValueError, OSError) as error:
                said = " ".join(str(error).split())
                problems.append(SourceProblem(unit=recording.name, error=said))
                continue
            views = tuple(view for view in found if isinstance(view, View))
            problems += [view for view in found if isinstance(view, SourceProblem)]
            excluded += [view for view in found if isinstance(view, tuple)]
            if views:
                captures.append(
                    Capture(
                        name=recording.name,
                        uri=recording.uri,
                        views=views,
                        annotated=recording.annotated,
                        sync=recording.sync,
                        subject=recording.subject,
                        split=recording.split,
                        licence=options["licence"],
                    )
                )
        if not captures:
            raise ValueError(_nothing(spec, self.adapter, problems, excluded))
        return Listing(captures=tuple(captures), problems=tuple(problems), excluded=tuple(excluded))


def make_adapter(name: str) -> Adapter:
    """The adapter of that name. Raises ValueError, naming those there are, for an unknown one."""
    if name not in ADAPTERS:
        raise ValueError(f"unknown dataset adapter {name!r}; there are: {', '.join(ADAPTERS)}")
    module, _, adapter = ADAPTERS[name].partition(":")
    made: Adapter = getattr(import_module(f"mining.sources.datasets.{module}"), adapter)()
    return made


def checked_options(spec: DatasetSpec, known: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a dataset file over the defaults in `known`, whose kinds they must have.

    Raises ValueError for an unknown option and for a value of another kind.
    """
    for key, value in spec.options.items():
        if key not in known:
            raise ValueError(
                f"dataset {spec.name}: unknown option {key}; there are: {', '.join(known)}"
            )
        kind = type(known[key])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(
                f"dataset {spec.name}: {key} must be of the kind of {known[key]!r}, got {value!r}"
            )
        if kind is float and not value > 0:
            raise ValueError(f"dataset {spec.name}: {key} must be above 0, got {value!r}")
    return {**known, **spec.options}


def _nothing(
    spec: DatasetSpec,
    adapter: Adapter,
    problems: list[SourceProblem],
    excluded: list[LeftOut],
) -> str:
    if problems:
        return f"{spec.root}: no sequence can be read; the first: {problems[0].error}"
    if excluded:
        return (
            f"{spec.root}: all {len(excluded)} sequences are left out ({excluded[0][2]}); "
            "evaluation data is mined with include_evaluation = true among the options"
        )
    return not_the_dataset(spec, adapter.known_by)


def not_the_dataset(spec: DatasetSpec, known_by: str) -> str:
    """What is said of a root without the files a dataset is known by: what is there instead."""
    names = [f"{file_name(folder)}/" for folder in storage.list_folders(spec.root)]
    names += [file_name(file) for file in storage.list_files(spec.root)]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (
        f"{spec.root} holds nothing of {spec.adapter}, which is known by {known_by}; there "
        f"is {', '.join(names[:MAX_NAMED]) or 'nothing at all'}{more}: give as root the folder "
        "that holds these files (docs/datasets.md lists them)"
    )
