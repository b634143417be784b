"""Synthetic captures as a dataset: the options are the fields of SyntheticConfig, and what of the
truth is handed on.
"""

from dataclasses import dataclass
from typing import Any, Literal

from catalog.config import override_from_table, valid_keys
from catalog.ids import content_id
from mining.sources.base import Capture, DatasetSpec, Listing, PartGroup, Sync, View
from mining.synthetic.config import SCENES, SyntheticConfig
from mining.synthetic.plan import Plan
from mining.synthetic.reader import capture_uri, view_uri

RENDER_VERSION = 3  # raise it when the same config gives other pixels or annotations

_GROUPS: dict[str, tuple[PartGroup, ...]] = {
    "given": ("body", "hands"),
    "body": ("body",),
    "hands": ("hands",),
    "none": (),
}


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions:
    """How many captures, of which `scenes` the other options are changes, and what is told of them.

    `annotations`: `given` hands on exact boxes, keypoints and masks of bodies and hands, `body` and
    `hands` only of these, `none` leaves the people to be detected. `calibration` and `sync`:
    anything but `given` withholds the cameras, or when each one's recording began.
    """

    num_captures: int = 400
    scenes: Literal["single", "training", "quality"] = "single"
    annotations: Literal["given", "body", "hands", "none"] = "given"
    calibration: Literal["given", "none"] = "given"
    sync: Sync = "given"


class SyntheticSource:
    """Lists captures of a SyntheticConfig, some ms each: nothing is posed or rendered for that.

    Options are those of SyntheticOptions and the fields of the config: more captures leave the
    first ones as they are. The spec's root is not used.
    """

    def captures(self, spec: DatasetSpec) -> Listing:
        """List the captures, `synthetic-00000` and so on. Raises ValueError for an unknown option
        or a bad value.
        """
        own, fields = valid_keys(SyntheticOptions()), valid_keys(SyntheticConfig())
        if unknown := set(spec.options) - {*own, *fields}:
            raise ValueError(
                f"unknown option {', '.join(sorted(unknown))}; "
                f"there are: {', '.join([*own, *fields])}"
            )
        options = override_from_table(SyntheticOptions(), _among(spec.options, own))
        if options.num_captures < 1:
            raise ValueError(f"num_captures must be at least 1, got {options.num_captures}")
        config = override_from_table(SCENES[options.scenes](), _among(spec.options, fields))
        config.check()
        return Listing(
            captures=tuple(
                _capture(config, index, options) for index in range(options.num_captures)
            )
        )


def _among(options: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}


def _capture(config: SyntheticConfig, index: int, options: SyntheticOptions) -> Capture:
    plan = Plan(config, index)
    annotated = _GROUPS[options.annotations]
    uris = [view_uri(config, index, view, annotated) for view in range(config.num_views)]
    return Capture(
        name=f"synthetic-{index:05d}",
        uri=capture_uri(config, index),
        views=tuple(
            View(
                name=f"cam{view}",
                uri=uri,
                reader="synthetic",
                fingerprint=content_id(uri, RENDER_VERSION),
                camera=plan.cameras[view] if options.calibration == "given" else None,
                offset_s=plan.clocks[view].offset_s if options.sync == "given" else 0.0,
            )
            for view, uri in enumerate(uris)
        ),
        annotated=annotated,
        sync=options.sync,
        subject="+".join(plan.people),
        licence="CC0-1.0",
    )
